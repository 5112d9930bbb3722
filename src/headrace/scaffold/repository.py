"""The git repository of a new project, with its first commit."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError, RefusedError
from headrace.environments import git

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = "A new Headrace project"
IDENTITY = ("user.name", "user.email")


@dataclass(frozen=True, kw_only=True)
class Committed:
    """What became of the first commit.

    Attributes:
        commit: its short id; empty where there is none.
        reason: why there is none; else empty.
        fix: the commands that make it; else empty.
    """

    commit: str = ""
    reason: str = ""
    fix: str = ""


def is_inside(folder: Path) -> bool:
    """Whether the folder belongs to a repository already.

    Raises:
        ConfigError: git is not installed, or refuses to say it.
    """
    if shutil.which("git") is None:
        raise ConfigError(
            "git is not installed: staging and prod run committed code.",
            hint="Install git, or make the project without a repository: headrace init NAME --no-git",
        )
    try:
        return git.inside(folder)
    except RefusedError as error:
        raise ConfigError(
            error.what, hint="Or without a repository: headrace init NAME --no-git", findings=error.findings
        ) from error


def commit_first(folder: Path) -> Committed:
    """Makes a repository of the folder, and commits its files where git knows who does it.

    Returns:
        The commit, or why there is none; the repository is there in both cases.

    Raises:
        RefusedError: git cannot make a repository there.
    """
    git.ask(folder, "init", "--quiet", "--initial-branch=main")
    git.ask_of_files(folder, "add", "--all")
    if unknown := [each for each in IDENTITY if not _configured(folder, each)]:
        commands = [f'git config --global {each} "{_example(each)}"' for each in unknown]
        return Committed(
            reason=f"git does not know {' and '.join(unknown)}", fix=" && ".join([*commands, _commit_command()])
        )
    try:
        git.ask_of_files(folder, "commit", "--quiet", "--message", MESSAGE)
    except RefusedError as error:
        return Committed(reason=" ".join((error.what, *error.findings)), fix=_commit_command())
    return Committed(commit=git.ask(folder, "rev-parse", "--short", "HEAD").decode().strip())


def _configured(folder: Path, key: str) -> bool:
    return bool(git.ask(folder, "config", "--get", key, fine=(0, 1)).strip())


def _example(key: str) -> str:
    return "Your Name" if key == "user.name" else "you@example.org"


def _commit_command() -> str:
    return f'git commit --message "{MESSAGE}"'
