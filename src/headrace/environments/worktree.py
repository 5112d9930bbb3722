"""The working tree: one digest of its current content, and whether it differs from the last commit."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from headrace.core.ids import digest
from headrace.environments import git

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CODE = (".py", ".sql", ".toml")
# Of a submodule its commit counts: to look into it, git would start what the submodule's own configuration names.
STATUS = ("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=dirty")
SKIPPED = ("__pycache__", "node_modules", "site-packages")


def content(folder: Path, data: Iterable[Path], *, in_git: bool) -> str:
    """A digest of the code in a folder: files that git tracks, and `.py`, `.sql`, `.toml` that it neither tracks nor ignores.

    Other untracked files are data: a file that arrives does not change the code. Outside git only those endings count.

    Args:
        folder: the project.
        data: folders of environments, left out.
        in_git: whether the folder is in a repository.
    """
    names = _in_git(folder) if in_git else _outside_git(folder)
    ours = _Ours(folder, data)
    return digest({name: _file(folder / name) for name in sorted(set(names)) if ours(name)})


def names(folder: Path, data: Iterable[Path]) -> frozenset[str]:
    """What `content` looks at in a repository, by relative path: the files that git counts as this code."""
    ours = _Ours(folder, data)
    return frozenset(name for name in _in_git(folder) if ours(name))


def changed(folder: Path, data: Iterable[Path]) -> bool:
    """Whether code here differs from HEAD, also where the index was told to look away.

    An untracked file counts if it is code. Needs a commit.
    """
    ours = _Ours(folder, data)
    inside = git.ask(folder, "rev-parse", "--show-prefix").rstrip(b"\n")
    told = git.ask_of_files(folder, *STATUS, "--", ".")
    for entry in git.entries(told):
        name = entry[3:].removeprefix(os.fsdecode(inside))
        if ours(name) and (not entry.startswith("??") or name.endswith(CODE)):
            return True
    return _changed_unseen(folder)


def _changed_unseen(folder: Path) -> bool:
    """Whether a file marked `assume-unchanged` or `skip-worktree` differs from the index. One left out on purpose does not."""
    marked: dict[str, str] = {}
    for entry in git.lines(folder, "ls-files", "-v", "-s", "-z", "--", "."):
        about, _, name = entry.partition("\t")
        tag, _, blob, _ = about.split(" ")
        if (tag.islower() or tag == "S") and (folder / name).is_file():
            marked[name] = blob
        elif tag.islower():
            return True
    if not marked:
        return False
    asked = "".join(f"{name}\n" for name in marked)
    found = git.ask_of_files(folder, "hash-object", "--stdin-paths", given=os.fsencode(asked)).decode().split()
    return found != list(marked.values())


def _in_git(folder: Path) -> Iterator[str]:
    yield from git.lines(folder, "ls-files", "-z", "--cached", "--", ".")
    untracked = git.lines(folder, "ls-files", "-z", "--others", "--exclude-standard", "--", ".")
    yield from (name for name in untracked if name.endswith(CODE))


def _outside_git(folder: Path) -> Iterator[str]:
    for here, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name not in SKIPPED
            and not os.path.exists(os.path.join(here, name, "pyvenv.cfg"))  # noqa: PTH110, PTH118
        ]
        yield from (os.path.relpath(os.path.join(here, name), folder) for name in files if name.endswith(CODE))  # noqa: PTH118


class _Ours:
    """Tells a file of the program from what environments keep inside the project's folder."""

    def __init__(self, folder: Path, data: Iterable[Path]) -> None:
        inside = [os.path.relpath(path, folder) for path in data]
        self.data = (".headrace/", *(f"{path}/" for path in inside if not path.startswith("..")))

    def __call__(self, name: str) -> bool:
        return not name.startswith(self.data)


def _file(path: Path) -> str:
    """What a file is: its bytes, where it points, or that it is gone."""
    if path.is_symlink():
        return f"link {os.readlink(path)}"  # noqa: PTH115  # pathlib tidies it
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "gone"
    except IsADirectoryError:  # a submodule: its own repository says what it is
        return f"submodule {git.revision(path, 'HEAD^{commit}')}"
