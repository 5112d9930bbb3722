"""Calls of git whose result neither the caller's environment nor a crafted name can change."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from headrace.core import processes
from headrace.core.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

# Names are always given as refs/tags/<name> or as object ids, so none is read as an option; paths are taken literally;
# monitor and hooks that a repository's configuration names are not started. Its filters are started by questions for which
# git reads files of the working tree, and only by these: they are asked through `ask_of_files`.
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
EMPTY = "HEADRACE_EMPTY"  # a variable without a value, which is also git's word for false
LFS = {"filter.lfs.clean": "git-lfs clean -- %f", "filter.lfs.process": "git-lfs filter-process"}


def environment() -> dict[str, str]:
    """Without `GIT_*` of ours: in a hook these point at another index or repository. English, because answers are read."""
    return processes.environment(LC_ALL="C", GIT_TERMINAL_PROMPT="0", **{EMPTY: ""})


def ask(folder: Path, *arguments: str, given: bytes = b"", fine: Container[int] = (0,)) -> bytes:
    """What git answers in this folder; `fine` are the exit codes of an answer.

    Raises:
        RefusedError: git failed; its own words are in the message.
        FileNotFoundError: git is not installed.
    """
    done = processes.run([*COMMAND, *arguments], folder=folder, env=environment(), given=given)
    if done.returncode not in fine:
        said = done.stderr.decode(errors="replace").strip()
        raise RefusedError(f"git {' '.join(arguments[:2])} failed in {str(folder)!r}.", findings=said.splitlines())
    return done.stdout


def ask_of_files(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    """What git answers where it reads files of the working tree: no filter is started for them but Git LFS's own.

    A file that another filter (`git-crypt`, say) made, and that was touched since, is told as changed.
    """
    found = ask(folder, "config", "--includes", "-z", "--get-regexp", r"^(filter|lfs\.extension)\.", fine=(0, 1))
    said = [entry.partition("\n")[::2] for entry in entries(found)]
    drivers = dict.fromkeys(key.rpartition(".")[0] for key, _ in said if key.startswith("filter."))
    if all(value == LFS.get(key, value) for key, value in said) and not any(key.startswith("lfs.") for key, _ in said):
        drivers.pop("filter.lfs", None)
    nothing = [f"--config-env={driver}.{key}={EMPTY}" for driver in drivers for key in ("clean", "process", "required")]
    return ask(folder, *nothing, *arguments, given=given)


def lines(folder: Path, *arguments: str, given: bytes = b"") -> list[str]:
    """The answer of a command that ends each entry with a zero byte (`-z`)."""
    return entries(ask(folder, *arguments, given=given))


def entries(answer: bytes) -> list[str]:
    """An answer whose entries each end with a zero byte."""
    return [os.fsdecode(entry) for entry in answer.split(b"\0") if entry]


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
