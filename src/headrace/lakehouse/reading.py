"""Inputs and results of all readers of raw files: options, what was detected, text as UTF-8, names of columns."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.core.errors import DataError
from headrace.lakehouse.columns import type_name
from headrace.lakehouse.dialect import Dialect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

MARKS = (  # byte order marks; that of UTF-32 begins like that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
STEP = 2**20
EMPTY = "empty"  # what a guess about a file without a byte is about


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How to read a file.

    Attributes:
        types: columns whose type is declared: text is read as it, whatever its spelling.
        known: columns of the table that the rows go to. They do not change what a value is, but tell numbers in the
            notation of machines from codes.
        dialect: how text files are written.
        like: how files like this one are written, where this one leaves it open: its encoding if it is not UTF-8, its
            decimal mark if its numbers may be read either way.
    """

    types: Mapping[str, pa.DataType] = field(default_factory=dict[str, "pa.DataType"])
    known: Mapping[str, pa.DataType] = field(default_factory=dict[str, "pa.DataType"])
    dialect: Dialect = field(default_factory=Dialect)
    like: Dialect = field(default_factory=Dialect)


@dataclass(frozen=True, kw_only=True)
class Guess:
    """Something that a file does not say and that the reader decided.

    Attributes:
        about: what was decided, and how; the same for two files of a source that are alike in it.
        message: a sentence without its end, for a person.
        fix: what declares it.
        column: the column that was kept as text though its values look like numbers or times; empty for others.
    """

    about: str
    message: str
    fix: str
    column: str = ""

    def __str__(self) -> str:
        return f"{self.message}; {self.fix}."


def kept_as_text(name: str, reason: str, example: str) -> Guess:
    """What is told of a column that stayed text though its values look like numbers or times.

    Args:
        name: of the column.
        reason: what the example has that no number or time keeps, as `spelling.ParsedColumn.reason` says it.
        example: a value.
    """
    shown = name if name.isidentifier() else "column"
    fix = f'schema=hr.Schema({shown}="string") says so'
    if reason.startswith("separators"):
        fix += ', decimal="," reads decimal commas, and replace() in SQL takes out separators of thousands'
    elif reason.startswith("no zone"):
        fix += f', schema=hr.Schema({shown}="timestamp_utc") reads moments, those without a zone as of UTC'
    elif not reason.startswith("more"):
        to = "float64" if "exponent" in reason else "int64"
        fix += f', schema=hr.Schema({shown}="{to}") reads numbers'
    return Guess(about=f"text {name}", message=f"{name} is text, for {example!r} has {reason}", fix=fix, column=name)


def unlike(place: str, name: str, to: pa.DataType, text: str) -> DataError:
    """The refusal of a value that is none of its declared type, and where it stands."""
    shown = name if name.isidentifier() else "column"
    return DataError(
        f"{place}: column {name!r} is declared as {type_name(to)}: invalid value {text!r}.",
        hint=f'Correct the value, add its text to nulls=, or declare schema=hr.Schema({shown}="string").',
    )


def left_out(path: Path) -> Guess:
    """What is told of a file without a line."""
    return Guess(about=EMPTY, message=f"{path.name} is empty", fix="it is left out")


class EncodingError(DataError):
    """A text file is not in the encoding that it was taken for."""


def as_utf8(data: bytes, path: Path, reading: Reading) -> bytes:
    """The text of a file in UTF-8, without a byte order mark.

    Raises:
        EncodingError: it is not text in its encoding; says the line, and the column where the line divides.
    """
    try:
        return _as_utf8(data, path, reading.dialect)
    except EncodingError:
        if reading.dialect.encoding or not reading.like.encoding:
            raise
        return _as_utf8(data, path, reading.like)


def _as_utf8(data: bytes, path: Path, dialect: Dialect) -> bytes:
    mark, marked = next(((mark, name) for mark, name in MARKS if data.startswith(mark)), (b"", ""))
    if marked.startswith("utf-8") and codecs.lookup(dialect.encoding or "utf-8").name in ("utf-8", "utf-8-sig"):
        data = data[len(mark) :]
        marked = ""
    encoding = marked or dialect.encoding or "utf-8"
    plain = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii")
    if plain and b"\0" in data[:4]:
        raise EncodingError(
            f"{path}: the text holds null characters: it looks like UTF-16 without a byte order mark.",
            hint='Declare encoding="utf-16-le" (or "utf-16-be"), or convert the file to UTF-8.',
        )
    if not plain:
        try:
            return data.decode(encoding).encode()
        except (UnicodeError, OverflowError) as error:
            raise EncodingError(
                f"{path}: the file is not text in {encoding}: {error}.", hint="Declare its encoding with encoding=."
            ) from None
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, max(len(data), 1), STEP):
        try:
            decoder.decode(data[start : start + STEP], final=start + STEP >= len(data))
        except UnicodeDecodeError as error:
            raise _not_utf8(data, start + error.start - len(decoder.getstate()[0]), path, dialect) from None
    return data


def _not_utf8(data: bytes, place: int, path: Path, dialect: Dialect) -> EncodingError:
    """Says the line, and in a CSV file the column, of a byte that is not UTF-8."""
    from headrace.lakehouse.dialect import reader, separator

    place = max(place, 0)
    while place < len(data) and data[place] < 0x80:  # the start that was reported may lie in the step before
        place += 1
    line = data.count(b"\n", 0, place)
    what = "the text"
    if "csv" in path.name.lower():
        lines = data.split(b"\n", line + 1)
        header = lines[min(dialect.skip, len(lines) - 1)]
        mark = dialect.separator or separator(header, dialect.quote)[0]
        before = data[data.rfind(b"\n", 0, place) + 1 : place].decode("latin-1")
        at = len(next(iter(reader(before, mark, dialect.quote)), [""])) or 1
        names = next(iter(reader(header.decode("utf-8", errors="replace").rstrip("\r"), mark, dialect.quote)), [])
        what = (
            f"the name of column {at}"
            if line <= dialect.skip
            else f"column {names[at - 1]!r}"
            if at <= len(names)
            else "the text"
        )
    return EncodingError(
        f"{path}:{line + 1}: {what} is not UTF-8 text.",
        hint='Declare how it is written, for example encoding="latin-1" or "cp1252", '
        "or convert the file: iconv -f latin1 -t utf8.",
    )


def check_names(path: Path | str, names: Sequence[str]) -> None:
    """Each column has a name, of its own whatever the case of its letters.

    Raises:
        DataError: one has not.
    """
    if not all(name.strip() for name in names):
        raise DataError(
            f"{path}: column {names.index(next(n for n in names if not n.strip())) + 1} has no name.",
            hint="Write it in the first line. pandas leaves it out before the index: to_csv(…, index=False); R before the "
            "names of rows: row.names = FALSE. Where names come in a later line, skip= says how many come before.",
        )
    if odd := [name for name in names if "\0" in name]:
        raise DataError(f"{path}: the name of column {names.index(odd[0]) + 1}, {odd[0]!r}, holds a null character.")
    lower = [name.lower() for name in names]
    if twice := sorted({name for name in names if lower.count(name.lower()) > 1}):
        raise DataError(
            f"{path}: column {twice[0]!r} is there twice.", hint="Names differ by more than the case of their letters."
        )
