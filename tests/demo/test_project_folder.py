"""The folder of a demo is there whole or not at all, and a release is made once, wherever the process before died."""

import os
import subprocess

import pytest

from headrace.demo import project_folder
from headrace.demo.project_folder import MARK, lay_out, release

CHANGES = {"a.py": ("x = 1", "x = 2"), "b.md": (None, "new")}


class Died(BaseException):
    """In place of the end of the process."""


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def dead():
    """The number of a process that is gone."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.fixture
def example(tmp_path):
    folder = tmp_path / "example"
    folder.mkdir()
    (folder / "a.py").write_text("x = 1\n")
    (folder / "b.md").write_text("old")
    return folder


@pytest.fixture
def project(example, tmp_path):
    lay_out(example, tmp_path / "demos" / "it", fresh=False)
    return tmp_path / "demos" / "it"


def beside(project):
    return sorted(each.name for each in project.parent.iterdir())


def test_what_a_dead_process_was_making_is_removed(example, tmp_path):
    demos = tmp_path / "demos"
    left = demos / f".it.headrace-demo-{dead()}"
    alive = demos / f".it.headrace-demo-{os.getppid()}"
    others = demos / f".other.headrace-demo-{dead()}"
    for each in (left, alive, others):
        (each / ".git").mkdir(parents=True)
    lay_out(example, demos / "it", fresh=False)
    assert beside(demos / "it") == sorted([alive.name, others.name, "it"])


def test_a_removal_that_was_cut_off_is_finished(example, project, monkeypatch):
    (project / "old").touch()

    def die(_):
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(project_folder, "_remove", die)
        with pytest.raises(Died):
            lay_out(example, project, fresh=True)
    (gone,) = project.parent.iterdir()
    gone.rename(gone.with_name(f".it.headrace-demo-{dead()}"))
    lay_out(example, project, fresh=True)
    assert beside(project) == ["it"]
    assert (project / MARK).exists()
    assert not (project / "old").exists()


@pytest.mark.parametrize("died", ["in a file", "before the commit", "in the commit", "before the tag", "after all"])
def test_a_release_that_was_cut_off_is_made_once(project, died):
    if died == "in a file":
        (project / "a.py").write_text("x =")
    elif died == "in the commit":
        (project / ".git" / "index.lock").touch()
        (project / ".git" / "refs" / "heads" / "main.lock").touch()
    if died != "in a file":
        (project / "a.py").write_text("x = 2\n")
        (project / "b.md").write_text("new")
    if died in ("before the tag", "after all"):
        git(
            project, "-c", "user.name=x", "-c", "user.email=x@x.invalid", "commit", "--quiet", "--all", "--message", "x"
        )
    if died == "after all":
        git(project, "tag", "v2")
    for _ in range(2):
        release(project, "v2", CHANGES)
    assert git(project, "show", "v2:a.py") == "x = 2\n"
    assert git(project, "show", "v2:b.md") == "new"
    assert git(project, "rev-list", "--count", "v2").strip() == "2"
    assert git(project, "status", "--porcelain") == "?? .headrace/\n"
