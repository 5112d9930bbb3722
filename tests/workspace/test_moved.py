"""A project in another folder: it works by itself, and leaves the one that it is a copy of alone."""

import hashlib
import shutil

import pytest
from tests.cli import mini

from headrace.workspace.workspace import open_workspace


def tree(folder):
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_a_copy_trains_and_deploys_with_its_original_there_and_moved_it_rolls_back(headrace, tmp_path):
    project = mini.write(tmp_path / "project")
    for command in (("run", "refresh"), ("run", "train"), ("run", "deploy")):
        done = headrace.run(project, *command)
        assert done.code == 0, done.stderr
    copy = tmp_path / "a copy"
    shutil.copytree(project, copy)
    before = tree(project)
    (copy / "mini.py").write_text((copy / "mini.py").read_text().replace("y.mean()", "y.median()"))
    assert headrace.run(copy, "run", "train", "--json").code == 0
    assert headrace.run(copy, "run", "deploy").code == 0
    assert tree(project) == before
    shutil.rmtree(project)
    moved = tmp_path / "moved"
    copy.rename(moved)
    assert headrace.run(moved, "model", "rollback", "days", "--reason", "it was better").code == 0
    steps = headrace.run(moved, "run", "deploy", "--version", "1", "--json").json()["steps"]
    assert {step["status"] for step in steps if step["name"].startswith("copy")} <= {"unchanged"}
    with open_workspace(folder=moved) as workspace:
        runs = workspace.tracking.runs("days")
        assert len(runs) == 2
        for version in workspace.registry.versions("days"):
            with workspace.tracking.download(version.model_uri) as logged:
                assert logged.is_relative_to(moved)


@pytest.mark.parametrize(("toml", "where"), [("[env.dev]", ".headrace"), ('[env.dev]\nroot = "kept/dev"', "kept/dev")])
def test_what_is_kept_in_the_project_is_no_business_of_git(tmp_path, toml, where):
    (tmp_path / "headrace.toml").write_text(f'[project]\nname = "p"\nmodule = "p"\n{toml}\n')
    for _ in range(2):
        open_workspace(folder=tmp_path).close()
        assert (tmp_path / where / ".gitignore").read_text() == "*\n"
    (tmp_path / where / ".gitignore").write_text("")  # somebody who wants to commit it
    open_workspace(folder=tmp_path).close()
    assert (tmp_path / where / ".gitignore").read_text() == ""


def test_an_environment_whose_root_is_the_project_does_not_hide_the_project(tmp_path):
    (tmp_path / "headrace.toml").write_text('[project]\nname = "p"\nmodule = "p"\n[env.dev]\nroot = "."\n')
    open_workspace(folder=tmp_path).close()
    assert not (tmp_path / ".gitignore").exists()
