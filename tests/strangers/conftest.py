import shutil
from pathlib import Path

import pytest

from . import data, facts

HERE = Path(__file__).parent
IGNORE = shutil.ignore_patterns("__pycache__")


@pytest.fixture(scope="session")
def shop_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop_files") / "data"
    data.write_shop(folder)
    return folder


@pytest.fixture(scope="session")
def machines_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machines_files") / "data"
    data.write_machines(folder)
    return folder


@pytest.fixture(scope="session")
def shop_facts(shop_files):
    return facts.shop(shop_files)


@pytest.fixture(scope="session")
def machines_facts(machines_files):
    return facts.machines(machines_files)


@pytest.fixture
def shop(tmp_path, shop_files):
    """The shop's project folder as its owner has it, with its data files."""
    return project("shop", shop_files, tmp_path)


@pytest.fixture
def machines(tmp_path, machines_files):
    """The plant's project folder as its owner has it, with its data files."""
    return project("machines", machines_files, tmp_path)


def project(name, files, parent):
    folder = shutil.copytree(HERE / name, parent / name, ignore=IGNORE)
    shutil.copytree(files, folder / "data")
    return folder
