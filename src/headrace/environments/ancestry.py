"""Whether code that was committed is a part of other code, by git's history."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from headrace.environments import git

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def is_commit(folder: Path, code: str) -> bool:
    """Whether a name of code is a commit of the repository that is here, and not the digest of a working tree."""
    return COMMIT.fullmatch(code) is not None and git.revision(folder, f"{code}^{{commit}}") == code


def contains(folder: Path, commit: str, code: str) -> bool:
    """Whether a commit has another one before it, or one with the same project in it, as a squashed merge leaves it.

    Args:
        folder: the project's folder.
        commit: the later one.
        code: the earlier one; both are commits of the repository that is here.
    """
    if git.ask(folder, "merge-base", commit, code, fine=(0, 1)).decode().split() == [code]:
        return True
    prefix = os.fsdecode(git.ask(folder, "rev-parse", "--show-prefix")).strip()
    wanted = git.revision(folder, f"{code}:{prefix}")
    history = git.ask(folder, "rev-list", commit).decode().split()
    asked = "".join(f"{each}:{prefix}\n" for each in history).encode()
    trees = {
        line.split()[0] for line in git.ask(folder, "cat-file", "--batch-check", given=asked).decode().splitlines()
    }
    return wanted is not None and wanted in trees
