import logging
import os
import signal

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before anything loads OpenMP: two workers share two cores

import pytest
from hypothesis import settings
from tests.support.servers import postgres, without_fsync
from tests.support.states import new_state
from tests.support.zygote import Zygote

from headrace.core.system import let_spark_be_imported

let_spark_be_imported()  # by MLflow, which tests import too
settings.register_profile("headrace", deadline=None)  # no test asserts a time
settings.load_profile("headrace")


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory):
    """The URL of a PostgreSQL that runs for the whole session."""
    with postgres(tmp_path_factory.mktemp("pg")) as url:
        without_fsync(url)
        yield url


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def state_server(request):
    """Where state databases are: None for files of SQLite, or the URL of a PostgreSQL."""
    return request.getfixturevalue("postgres_server") if request.param == "postgresql" else None


@pytest.fixture
def state_url(state_server, tmp_path):
    """An empty state database: the test runs on SQLite and on PostgreSQL."""
    return new_state(state_server, tmp_path)


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """An object store that speaks S3."""
    from tests.support.s3 import S3

    server = S3(tmp_path_factory.mktemp("s3"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def headrace(tmp_path_factory):
    """Runs `headrace` commands: `headrace.run(folder, "run", "refresh")`."""
    zygote = Zygote(tmp_path_factory.mktemp("commands"))
    yield zygote
    zygote.close()


@pytest.fixture(autouse=True)
def signals_as_before():
    """A command that runs until it is stopped ignores signals at its end; run in this process, its successors would too."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def logging_as_before():
    """A command that logs, run in this process, leaves the loggers of other tests as they were."""
    yield
    logger = logging.getLogger("headrace")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


@pytest.fixture(scope="session")
def answering():
    """An endpoint of a language model, for the projects of `tests.support.assistant`."""
    from tests.support import assistant

    with assistant.endpoint() as made:
        yield made


@pytest.fixture(scope="session")
def assistant_project(headrace, answering, tmp_path_factory):
    """A project that answers questions, with its index and one version; to be copied."""
    from tests.support import assistant

    folder = assistant.write(tmp_path_factory.mktemp("assistant") / "mini", answering.url)
    assistant.ok(headrace, folder, "run", "refresh")
    assistant.ok(headrace, folder, "run", "train", "--as-of", "2030-01-01")
    return folder
