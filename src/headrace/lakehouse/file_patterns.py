"""The files that match the patterns of a source, and the names that are stored in their rows."""

from __future__ import annotations

import glob
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.lakehouse.declarations import Source


def find_files(source: Source, folder: Path) -> dict[str, Path]:
    """Finds the files of a source.

    Args:
        source: the declaration.
        folder: the project folder, to which relative patterns refer.

    Returns:
        The files by the name that their rows carry, in the order of these names: the path below the folder, or the bare
        name of a file elsewhere.

    Raises:
        ConfigError: a pattern matches no file, two files have one name, or a name is not UTF-8.
    """
    paths: dict[str, Path] = {}
    for pattern in source.patterns:
        literal = folder / pattern  # a name may have brackets in it
        matches = [pattern] if literal.is_file() else glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207 - takes absolute patterns
        matched = [folder / match for match in matches if (folder / match).is_file()]
        if not matched:
            raise ConfigError(
                f"{source.where}: no file matches {pattern!r} of source {source.name!r}.",
                hint=f"Looked in {folder}.",
            )
        for path in matched:
            inside = path.is_relative_to(folder)
            name = path.relative_to(folder).as_posix() if inside else path.name
            if not _is_text(name):
                raise ConfigError(
                    f"{source.where}: source {source.name!r} finds a file whose name is not UTF-8: {name!r}.",
                    hint="Rename it: each row carries the name of its file.",
                )
            if paths.setdefault(name, path) != path:
                raise ConfigError(
                    f"{source.where}: source {source.name!r} finds two files called {name!r}.",
                    findings=[str(paths[name]), str(path)],
                    hint="Rename one, or keep both below the project folder.",
                )
    return dict(sorted(paths.items()))


def _is_text(name: str) -> bool:
    """Whether a name is characters, and not bytes that stand for none."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
