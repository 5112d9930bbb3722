"""What was approved is what is served: no other file of a copy, no link, no other folder, no other way of serving."""

import json
import shutil

import pytest

from headrace.core.errors import DataError
from headrace.serving.loading import load
from headrace.serving.manifest import beside_digest

EVIL = "from pathlib import Path\nPath({!r}).touch()\n"


@pytest.fixture
def home(world):
    return world.folder / ".headrace" / "prod" / "serving" / "late"


def copy(home):
    return home / json.loads((home / "serving.json").read_text())["versions"][0]["folder"]


def change(file, **values):
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({**stored, **values}))


def refused(home, told):
    """The server does not load it."""
    with pytest.raises(DataError, match=told):
        load(home / "serving.json")


def test_a_linked_folder_with_other_code(world, home, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "late.py").write_text(EVIL.format(str(tmp_path / "ran")))
    (copy(home) / "data" / "package" / "lib").symlink_to(tmp_path / "lib", target_is_directory=True)
    refused(home, "is a link")
    assert not (tmp_path / "ran").exists()
    assert "cannot be served" in world.run("status", "--env", "prod", by="eng").stdout


def test_the_estimator_behind_a_link(home, tmp_path):
    estimator = copy(home) / "data" / "package" / "estimator"
    shutil.copytree(estimator, tmp_path / "estimator")
    shutil.rmtree(estimator)
    estimator.symlink_to(tmp_path / "estimator", target_is_directory=True)
    refused(home, "is a link")


def test_compiled_python_beside_the_code(home):
    cache = copy(home) / "data" / "package" / "__pycache__"
    cache.mkdir()
    (cache / "shop.cpython-311.pyc").write_bytes(b"\0" * 16)
    refused(home, "changed after it was promoted")


def test_other_samples_so_that_another_tier_is_taken(home):
    change(copy(home) / "parity.json", rows=[], outputs=[], alone=[])
    refused(home, "changed after it was copied")


def test_served_otherwise_by_hand(world, home):
    change(copy(home) / "serve.json", log="none")
    refused(home, "changed after it was copied")
    world.ok("run", "deploy", "--version", "1", "--env", "prod", by="eng")
    assert json.loads((copy(home) / "serve.json").read_text())["log"] != "none"
    load(home / "serving.json")


def test_served_otherwise_by_hand_with_its_hash(world, home):
    """Also who writes both files is found out: the hash is kept with the version."""
    change(copy(home) / "serve.json", log="none")
    stored = json.loads((home / "serving.json").read_text())
    stored["serve"]["log"] = "none"
    stored["versions"][0]["copy_hash"] = beside_digest(copy(home))
    (home / "serving.json").write_text(json.dumps(stored))
    world.ok("run", "deploy", "--version", "1", "--env", "prod", by="eng")
    assert json.loads((home / "serving.json").read_text())["serve"]["log"] != "none"


def test_a_log_that_is_switched_off_in_serving_json(home):
    stored = json.loads((home / "serving.json").read_text())
    stored["serve"]["log"] = "none"
    (home / "serving.json").write_text(json.dumps(stored))
    with pytest.raises(DataError, match="otherwise than its copy says"):
        load(home / "serving.json")


@pytest.mark.parametrize("how", ["absolute", "up", "link"])
def test_a_version_of_another_place(home, tmp_path, how):
    other = tmp_path / "elsewhere"
    shutil.copytree(copy(home), other)
    (home / "aside").symlink_to(other, target_is_directory=True)
    stored = json.loads((home / "serving.json").read_text())
    stored["versions"][0]["folder"] = {"absolute": str(other), "up": "versions/../../late/aside", "link": "aside"}[how]
    (home / "serving.json").write_text(json.dumps(stored))
    with pytest.raises(DataError, match="leads out of"):
        load(home / "serving.json")


@pytest.mark.parametrize("place", ["/elsewhere/log", "../../../../data", "../../spool/other", "../../spool/late/.."])
def test_a_log_of_another_place(home, place):
    change(home / "serving.json", spool=place)
    with pytest.raises(DataError, match="is not one of its environment"):
        load(home / "serving.json")


def test_an_artifact_that_is_linked_after_training(world, tmp_path):
    """A decision is not spent on an artifact of which a folder leads elsewhere."""
    (artifact,) = [
        each.parent
        for each in (world.folder / ".headrace" / "prod").rglob("MLmodel")
        if "serving" not in each.parts
        and each.stat().st_mtime
        == max(
            one.stat().st_mtime
            for one in (world.folder / ".headrace" / "prod").rglob("MLmodel")
            if "serving" not in one.parts
        )
    ]
    estimator = artifact / "data" / "package" / "estimator"
    shutil.copytree(estimator, tmp_path / "estimator")
    shutil.rmtree(estimator)
    estimator.symlink_to(tmp_path / "estimator", target_is_directory=True)
    done = world.run("run", "deploy", "--version", "2", "--env", "prod", by="eng")
    assert done.code != 0
    assert "is a link" in done.stderr
    assert "Traceback" not in done.stderr
    assert world.stages()[2] == "None"
