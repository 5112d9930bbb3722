import os
import sys
import tempfile

import pytest

from . import flights_project

MONTHS = (("2013-01-01", "2013-04-30"), ("2013-05-01", "2013-05-31"), ("2013-06-01", "2013-06-30"))


@pytest.fixture(scope="module")
def flights(headrace, tmp_path_factory):
    """The folder of a project whose second version is in Production in prod, scored and monitored; dev is empty."""
    folder = flights_project.write(tmp_path_factory.mktemp("flights") / "flights")

    def run(*arguments):
        done = headrace.run(folder, "run", *arguments, "--env", "prod")
        assert done.code == 0, done.stderr

    for number, month in enumerate(MONTHS):
        flights_project.arrive(folder, *month)
        run("refresh")
        if number:
            run("train", "--as-of", month[0])
            run("deploy", "--as-of", month[0])
    run("score", "--since", "2013-05-01")
    run("monitor")
    return folder


@pytest.fixture
def environment_as_before():
    """What a page sets in the environment of its process, and modules that it writes and imports, are not there for the next one."""
    before, known = dict(os.environ), set(sys.modules)
    yield
    os.environ.clear()
    os.environ.update(before)
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(tempfile.gettempdir()):
            del sys.modules[name]
