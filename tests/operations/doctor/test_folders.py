"""Folders that cannot be written, that others could write, and a file system without room."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from headrace.environments import config
from headrace.operations.doctor.folders import folders

NOBODY, SOMEBODY = 65_534, 65_533


@pytest.fixture
def place():
    """A folder that every user reaches."""
    made = Path(tempfile.mkdtemp(prefix="headrace-doctor-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@contextmanager
def acting_as(user):
    if os.geteuid() != 0:
        pytest.skip("only root acts as another user")
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)


def load(place, dev="", prod=""):
    text = f'[project]\nname = "shop"\nmodule = "shop"\n[env.dev]\n{dev}\n[env.prod]\n{prod}\n'
    (place / "headrace.toml").write_text(text)
    return config.load(place)


def check(found, user=NOBODY, env="dev"):
    with acting_as(user):
        return {finding.check: finding for finding in folders(found, found.environment(env))}


@pytest.mark.parametrize("mode", [0o555, 0o500], ids=["may be entered", "may not be entered"])
def test_a_folder_that_cannot_be_written_is_named(place, mode):
    (place / "locked").mkdir()
    (place / "locked").chmod(mode)
    found = check(load(place, 'root = "locked/dev"'))

    assert found["state folder"].result == "failed"
    assert f"{place}/locked cannot be written by user {NOBODY}" in found["state folder"].found
    assert "writable" in found["state folder"].way


def test_folders_that_can_be_written_are_silent_and_left_empty(place):
    for name in ("dev", "tables"):
        (place / name).mkdir()
        os.chown(place / name, NOBODY, -1)
    found = check(load(place, 'root = "dev"\nlakehouse = "tables"'))

    assert {finding.result for finding in found.values()} == {"ok"}
    assert [*(place / "dev").iterdir(), *(place / "tables").iterdir()] == []


def test_a_user_of_dev_who_may_write_prod_is_a_warning(place):
    for name, mode in (("dev", 0o755), ("prod", 0o777)):
        (place / name).mkdir()
        (place / name).chmod(mode)
    os.chown(place / "dev", NOBODY, -1)
    os.chown(place / "prod", SOMEBODY, -1)
    project = load(place, 'root = "dev"', 'root = "prod"')
    found = check(project)["write to prod"]
    (place / "prod").chmod(0o755)
    well = check(project)["write to prod"]

    assert (found.result, found.way.split(":")[0]) == ("warning", f"chmod go-w {place}/prod")
    assert "works in dev and may write" in found.found
    assert well.result == "ok"


def test_one_user_for_both_is_said_and_no_warning(place):
    for name in ("dev", "prod"):
        (place / name).mkdir()
        os.chown(place / name, NOBODY, -1)
    found = check(load(place, 'root = "dev"', 'root = "prod"'))["write to prod"]

    assert (found.result, found.found) == ("ok", "one user of this machine runs dev and prod")


def test_a_file_system_without_room_is_a_warning(place, monkeypatch):
    """The limit is moved instead of a disk filled: what is free is asked of the real one."""
    from headrace.operations.doctor import folders as module

    monkeypatch.setattr(module, "LITTLE", shutil.disk_usage(place).free * 2)
    project = load(place)
    found = {finding.check: finding for finding in folders(project, project.environment("dev"))}["disk"]
    assert found.result == "warning"
    assert "GiB free at" in found.found
