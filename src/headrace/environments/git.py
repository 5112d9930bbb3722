"""Calls of git whose result neither the caller's environment nor a crafted name can change."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from headrace.core import credentials, processes
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
NOT_MERGED = 128  # from here on, what `git merge-file` ends with is no number of conflicts
REACHING = (
    "SSH_AUTH_SOCK",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_ASKPASS",
    "SSH_ASKPASS",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
)
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


def talk(folder: Path, *arguments: str) -> bytes:
    """What git answers where it talks with a remote: with the keys and the helpers that the caller has for it.

    Raises:
        RefusedError: git failed; its own words are in the message, without credentials of the remote's address.
        FileNotFoundError: git is not installed.
    """
    means = {name: os.environ[name] for name in REACHING if name in os.environ}
    done = processes.run([*COMMAND, *arguments], folder=folder, env={**environment(), **means})
    if done.returncode:
        said = [credentials.hidden(line) for line in done.stderr.decode(errors="replace").strip().splitlines()]
        raise RefusedError(f"git {arguments[0]} failed in {str(folder)!r}.", findings=said)
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


def merge_file(
    folder: Path, ours: str, base: str, theirs: str, *, names: tuple[str, str, str]
) -> tuple[bytes, int] | None:
    """Merges three files of a folder, which keeps them.

    Args:
        folder: where they are.
        ours: the file that both others are merged into.
        base: what both others were made from.
        theirs: the other one.
        names: of the three in the markers of a conflict.

    Returns:
        The merged text and how many conflicts it has; None where one of them is no text.

    Raises:
        FileNotFoundError: git is not installed.
    """
    labels = [word for name in names for word in ("-L", name)]
    command = [*COMMAND, "merge-file", "--stdout", *labels, ours, base, theirs]
    done = processes.run(command, folder=folder, env=environment())
    return (done.stdout, done.returncode) if 0 <= done.returncode < NOT_MERGED else None


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


def remote(folder: Path) -> str | None:
    """The URL of the remote `origin` as it is configured, which may hold a credential; None where there is none."""
    found = ask(folder, "config", "--get", "remote.origin.url", fine=(0, 1))
    return found.decode(errors="replace").strip() or None


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
