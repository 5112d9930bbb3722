import os
import subprocess
from pathlib import Path

import pytest

TOML = '[project]\nname = "shop"\nmodule = "shop.project"\n'
PROJECT = """\
import headrace as hr

orders = hr.Source("bronze.orders", files="data/*.csv")
"""


class Repository:
    """A real git repository with a project in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def git(self, *arguments: str, given: str | None = None) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments],
            cwd=self.folder,
            env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            input=given,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "change")
        return self.git("rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def _no_overrides(monkeypatch):
    for name in list(os.environ):
        if name.startswith("HEADRACE_ENV__"):
            monkeypatch.delenv(name)


@pytest.fixture
def folder(tmp_path):
    """A project that is in no repository."""
    made = Repository(tmp_path / "shop")
    made.write("headrace.toml", TOML)
    made.write("shop/__init__.py", "")
    made.write("shop/project.py", PROJECT)
    return made


@pytest.fixture
def repository(folder):
    """The same project in a repository, without a commit."""
    folder.git("init", "-q", "-b", "main")
    return folder


@pytest.fixture
def committed(repository):
    """The same with one commit, and no tag."""
    repository.commit()
    return repository
