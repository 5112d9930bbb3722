import shutil

import pytest
from tests.operations import kpi_project, loop_project, monitored_project


@pytest.fixture(scope="session")
def deployed(headrace, tmp_path_factory):
    """A project with a version in Production, to be read."""
    return loop_project.build(headrace, tmp_path_factory.mktemp("deployed") / "mini")


@pytest.fixture
def project(deployed, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(deployed, tmp_path / "mini", symlinks=True)


@pytest.fixture(scope="session")
def monitored(headrace, tmp_path_factory):
    """A project with two versions that were compared, scored and monitored, to be read."""
    return monitored_project.build(headrace, tmp_path_factory.mktemp("monitored") / "mini")


@pytest.fixture(scope="session")
def figured(headrace, tmp_path_factory):
    """A project with a business figure of two versions, to be read."""
    return kpi_project.build(headrace, tmp_path_factory.mktemp("figured") / "mini")
