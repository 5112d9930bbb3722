"""The folder of the demo: the example's files in a git repository with one commit and one release tag."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from headrace.core import processes
from headrace.core.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from pathlib import Path

RELEASE = "v0.1.0"
MARK = ".headrace/demo"  # this folder was made by the demo, so the demo may remove it
AUTHOR = ("-c", "user.name=Headrace demo", "-c", "user.email=demo@headrace.invalid", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false")  # fmt: skip


def lay_out(example: Path, folder: Path, *, fresh: bool) -> None:
    """Makes the project folder: the example's files in a git repository with one commit and one release tag.

    The folder appears whole or not at all.

    Raises:
        RefusedError: something else is there.
    """
    if folder.exists() and fresh:
        if not (folder / MARK).exists() and any(folder.iterdir()):
            raise RefusedError(
                f"{str(folder)!r} was not made by the demo; it is left alone.",
                hint="Choose another folder: headrace demo --dir DIR.",
            )
        _remove(folder)
    if (folder / MARK).exists():
        return
    if folder.exists() and any(folder.iterdir()):
        raise RefusedError(
            f"{str(folder)!r} is there already and is not a demo.",
            hint="Choose another folder: headrace demo --dir DIR.",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = folder.parent / f".{folder.name}.{os.getpid()}"
    shutil.copytree(example, made, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    _git(made, "init", "--quiet", "--initial-branch=main")
    _git(made, "add", "--all")
    _git(made, "commit", "--quiet", "--no-verify", "--message", "Flights: the whole loop")
    _git(made, "tag", RELEASE)
    (made / MARK).parent.mkdir(exist_ok=True)
    (made / MARK).touch()
    if folder.exists():
        folder.rmdir()
    made.rename(folder)


def _git(folder: Path, *arguments: str) -> None:
    done = processes.run(["git", *AUTHOR, *arguments], folder=folder)
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        raise ConfigError(
            f"git {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}",
            hint="The demo needs a working git.",
        )


def _remove(folder: Path) -> None:
    for each in (folder / ".headrace" / "code").rglob("*"):  # archived code is read-only
        if each.is_dir() and not each.is_symlink():
            each.chmod(0o700)
    shutil.rmtree(folder)
