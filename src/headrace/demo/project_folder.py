"""The folder of the demo: the example's files in a git repository with one commit and one release tag."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from headrace.core import processes
from headrace.core.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

RELEASE = "v0.1.0"
MARK = ".headrace/demo"  # this folder was made by the demo, so the demo may remove it
UNFINISHED = ".headrace-demo-"  # and the process that makes or removes a folder: its name meanwhile
AUTHOR = ("-c", "user.name=Headrace demo", "-c", "user.email=demo@headrace.invalid", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false")  # fmt: skip


def lay_out(example: Path, folder: Path, *, fresh: bool, change: Callable[[Path], None] = lambda _: None) -> None:
    """Makes the project folder: the example's files in a git repository with one commit and one release tag.

    The folder appears whole or not at all, and it is gone whole. What a process that died on the way left beside it is removed.

    Args:
        example: the files.
        folder: what is made.
        fresh: whether a folder of an earlier demo is removed first.
        change: is called with the files before they are committed. Defaults to nothing.

    Raises:
        RefusedError: something else is there.
    """
    _remove_leftovers(folder)
    if folder.exists() and fresh:
        if not (folder / MARK).exists() and any(folder.iterdir()):
            raise RefusedError(
                f"{str(folder)!r} was not made by the demo; it is left alone.",
                hint="Choose another folder: headrace demo --dir DIR.",
            )
        gone = _beside(folder)
        folder.rename(gone)
        _remove(gone)
    if (folder / MARK).exists():
        return
    if folder.exists() and any(folder.iterdir()):
        raise RefusedError(
            f"{str(folder)!r} is there already and is not a demo.",
            hint="Choose another folder: headrace demo --dir DIR.",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = _beside(folder)
    shutil.copytree(example, made, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    change(made)
    _git(made, "init", "--quiet", "--initial-branch=main")
    _git(made, "add", "--all")
    _git(made, "commit", "--quiet", "--no-verify", "--message", f"{example.name.capitalize()}: the whole loop")
    _git(made, "tag", RELEASE)
    (made / MARK).parent.mkdir(exist_ok=True)
    (made / MARK).touch()
    if folder.exists():
        folder.rmdir()
    made.rename(folder)


def release(folder: Path, tag: str, changes: Mapping[str, tuple[str | None, str]]) -> None:
    """Commits changes of files, and tags them as a release; nothing where the tag is there.

    It can be called again after a death in it: what git had locked is unlocked, and a commit without its tag gets it.

    Args:
        folder: of the project.
        tag: of the release.
        changes: file → a text in it, and what takes its place; None for all of the file.
    """
    if processes.run(["git", "rev-parse", "--verify", "--quiet", tag], folder=folder).returncode == 0:
        return
    for lock in (folder / ".git").rglob("*.lock"):
        lock.unlink()
    _git(folder, "checkout", "--quiet", "HEAD", "--", *changes, keep=True)  # a file that was cut off is whole again
    for name, (before, after) in changes.items():
        file = folder / name
        text = file.read_text(encoding="utf-8")
        file.write_text(after if before is None else text.replace(before, after), encoding="utf-8")
    if processes.run(["git", "diff", "--quiet", "HEAD"], folder=folder).returncode:
        _git(folder, "commit", "--quiet", "--no-verify", "--all", "--message", f"Release {tag}", keep=True)
    _git(folder, "tag", tag, keep=True)


def _git(folder: Path, *arguments: str, keep: bool = False) -> None:
    done = processes.run(["git", *AUTHOR, *arguments], folder=folder)
    if done.returncode:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
        raise ConfigError(
            f"git {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}",
            hint="The demo needs a working git.",
        )


def _beside(folder: Path) -> Path:
    """The folder's place while this process makes or removes it."""
    return folder.parent / f".{folder.name}{UNFINISHED}{os.getpid()}"


def _remove_leftovers(folder: Path) -> None:
    """What processes that are gone were making or removing."""
    if not folder.parent.exists():
        return
    for each in folder.parent.iterdir():
        _, found, process = each.name.partition(f".{folder.name}{UNFINISHED}")
        if found and process.isdecimal() and not _runs(int(process)):
            _remove(each)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(folder: Path) -> None:
    for each in (folder / ".headrace" / "code").rglob("*"):  # archived code is read-only
        if each.is_dir() and not each.is_symlink():
            each.chmod(0o700)
    shutil.rmtree(folder)
