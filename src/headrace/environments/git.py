"""Asking git, in a way that neither the caller's environment nor a name chosen by somebody else can turn around."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from headrace.core import processes
from headrace.core.errors import RefusedError

if TYPE_CHECKING:
    from pathlib import Path

# Names are always given as refs/tags/<name> or as object ids, so none is read as an option; paths are taken literally;
# nothing that a repository's configuration names (monitor, hooks) is started.
COMMAND = (
    "git",
    "--no-pager",
    "--no-optional-locks",
    "--no-replace-objects",
    "--literal-pathspecs",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.quotePath=false",
)


def environment() -> dict[str, str]:
    """Without `GIT_*` of ours: in a hook these point at another index or repository. English, because answers are read."""
    return processes.environment(LC_ALL="C", GIT_TERMINAL_PROMPT="0")


def ask(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    """What git answers in this folder.

    Raises:
        RefusedError: git failed; its own words are in the message.
        FileNotFoundError: git is not installed.
    """
    done = processes.run([*COMMAND, *arguments], folder=folder, env=environment(), given=given)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise RefusedError(f"git {' '.join(arguments[:2])} failed in {str(folder)!r}.", findings=said.splitlines())
    return done.stdout


def lines(folder: Path, *arguments: str, given: bytes = b"") -> list[str]:
    """The answer of a command that ends each entry with a zero byte (`-z`)."""
    return [os.fsdecode(entry) for entry in ask(folder, *arguments, given=given).split(b"\0") if entry]


def revision(folder: Path, name: str) -> str | None:
    """The object id that a full name stands for, such as `HEAD^{commit}`; None if there is none."""
    try:
        return ask(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", name).decode().strip()
    except RefusedError:
        return None


def inside(folder: Path) -> bool:
    """Whether the folder belongs to a repository's working tree.

    Raises:
        RefusedError: it does, and git refuses to work there (another owner, for example).
    """
    try:
        return ask(folder, "rev-parse", "--is-inside-work-tree").strip() == b"true"
    except FileNotFoundError:
        return False
    except RefusedError as refused:
        if any("not a git repository" in line for line in refused.findings):
            return False
        raise
