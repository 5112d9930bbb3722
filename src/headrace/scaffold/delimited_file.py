"""A CSV file of the user, read as a refresh will read it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError, DataError
from headrace.scaffold.guess import Guess

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.scaffold.candidates import Column

SUFFIXES = (".csv", ".tsv")
NUMBER = re.compile(r"\s*[-+]?(\d+[.,]?\d*|[.,]\d+)([eE][-+]?\d+)?\s*")


def read_bytes(path: Path, *, example: str = "FILE.csv", also: str = "") -> bytes:
    """The content of a CSV file.

    Args:
        path: of the file.
        example: what a command line has in its place, for messages.
        also: what is possible in place of a CSV file, for messages.

    Raises:
        ConfigError: its name is not that of a CSV file, or it cannot be read.
    """
    if path.suffix.lower() not in SUFFIXES and not path.is_dir():
        raise ConfigError(f"{path} is no CSV file{also}.", hint=f"A file ends in {' or '.join(SUFFIXES)}.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}.", hint=f"headrace init NAME --from {example}"
        ) from None


def read_columns(data: bytes, path: Path) -> tuple[dict[str, Column], tuple[Guess, ...]]:
    """The columns of a CSV file, by name, and what the reader guessed of their types.

    Raises:
        ConfigError: it is empty, not UTF-8, no table, or has no header.
    """
    from headrace.lakehouse import delimited
    from headrace.lakehouse.reading import EncodingError, Reading
    from headrace.scaffold.candidates import Column

    try:
        table, notes = delimited.table(data, path, Reading())
    except EncodingError as error:
        raise ConfigError(error.what, hint=f"Convert the file: iconv -f latin1 -t utf8 {path.name}") from error
    except DataError as error:
        raise ConfigError(error.what, hint=error.hint, findings=error.findings) from error
    names = table.column_names
    if not names:
        raise ConfigError(f"{path} is empty.", hint="A CSV file begins with the names of its columns.")
    if numbers := [name for name in names if NUMBER.fullmatch(name)]:
        raise ConfigError(
            f"{path} has no header: {numbers[0]!r} in its first line is a number, not the name of a column.",
            hint="Write the names of the columns into the first line.",
        )
    noted = tuple(
        Guess(about="type", value=each.column or path.name, reason=each.message, change=f"project.py, {each.fix}")
        for each in notes
    )
    return {name: Column(name, table[name]) for name in names}, noted
