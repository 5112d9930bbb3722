import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before anything loads OpenMP: two workers share two cores

import pytest
from hypothesis import settings
from tests.support.zygote import Zygote

from headrace.core.system import let_spark_be_imported

let_spark_be_imported()  # by MLflow, which tests import too
settings.register_profile("headrace", deadline=None)  # no test asserts a time
settings.load_profile("headrace")


@pytest.fixture(scope="session")
def headrace(tmp_path_factory):
    """Runs `headrace` commands: `headrace.run(folder, "run", "refresh")`."""
    zygote = Zygote(tmp_path_factory.mktemp("commands"))
    yield zygote
    zygote.close()
