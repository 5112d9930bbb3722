"""CSV and similar formats as Arrow: every field is read as text, then each column gets the type of all its texts."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn, cast

import pyarrow as pa
import pyarrow.csv

from headrace.core.errors import DataError
from headrace.lakehouse import dialect as dialects
from headrace.lakehouse import spelling
from headrace.lakehouse.columns import type_name
from headrace.lakehouse.reading import Guess, as_utf8, check_names, kept_as_text, left_out, unlike

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from headrace.lakehouse.dialect import Dialect
    from headrace.lakehouse.reading import Reading

BLOCK = 2**20
LARGEST_BLOCK = 2**31 - 1
SHOWN = {"\t": r"\t"}
EXCEL = re.compile(rb"sep=([ -~\t])\r?\n", re.IGNORECASE)  # a first line by which Excel says the separator


def table(data: bytes, path: Path, reading: Reading) -> tuple[pa.Table, tuple[Guess, ...]]:
    """The rows of a CSV file, and what was guessed.

    Raises:
        DataError: it is not text in its encoding; a row has too few or too many fields; a value does not fit its declared
            type; a column has no name or one that another has.
    """
    text = as_utf8(data, path, reading)
    skipped, body = _after(text, reading.dialect.skip)
    if not body.strip():
        return pa.table({}), (left_out(path),)
    found, guesses = _dialect(body, path, reading.dialect)
    if said := EXCEL.match(body):
        skipped, body = skipped + 1, body[said.end() :]
    fields = _Fields(body, path, found, skipped)
    texts = fields.texts()
    check_names(path, texts.column_names)
    if found.decimal is None:
        found, guessed = _decimal(texts, path, found, reading)
        guesses += guessed
    columns: dict[str, pa.ChunkedArray] = {}
    for name, values in zip(texts.column_names, texts.columns, strict=True):
        if (to := reading.types.get(name)) is not None:
            columns[name] = fields.declared(name, values, to)
            continue
        column = spelling.guess(values, found.nulls, decimal=found.decimal or ".", known=reading.known.get(name))
        columns[name] = column.values
        if column.reason:
            guesses += (kept_as_text(name, column.reason, column.example),)
    return pa.table(columns), guesses


def _after(text: bytes, lines: int) -> tuple[int, bytes]:
    """What follows a number of lines."""
    place = 0
    for number in range(lines):
        end = text.find(b"\n", place)
        if end < 0:
            return number, b""
        place = end + 1
    return lines, text[place:]


def _dialect(body: bytes, path: Path, given: Dialect) -> tuple[Dialect, tuple[Guess, ...]]:
    """The dialect with its separator, told from the first rows unless declared."""
    if given.separator is not None:
        return given, ()
    if said := EXCEL.match(body):
        return replace(given, separator=said[1].decode()), ()
    chosen, others = dialects.separator(body, given.quote)
    shown = SHOWN.get(chosen, chosen)
    guesses: tuple[Guess, ...] = ()
    if others:
        message = (
            f"{path.name} is divided by {shown!r}, though {SHOWN.get(others[0], others[0])!r} would divide it as well"
        )
        guesses = (Guess(about=f"separator {chosen}", message=message, fix=f'separator="{shown}" says so'),)
    elif chosen != ",":
        message = f'the fields of {path.name} are separated by "{shown}"'
        guesses = (Guess(about=f"separator {chosen}", message=message, fix=f'separator="{shown}" says so'),)
    return replace(given, separator=chosen), guesses


def _decimal(texts: pa.Table, path: Path, found: Dialect, reading: Reading) -> tuple[Dialect, tuple[Guess, ...]]:
    """The dialect with its decimal mark: a comma where numbers can be read with it and none has a point.

    `1,234` alone may be a thousand: it takes another number that has a comma elsewhere.
    """
    if found.separator == ",":
        return found, ()
    free = [name for name in texts.column_names if _may_be_fraction(reading.types.get(name))]
    said = {name: spelling.without(texts[name], found.nulls) for name in free}
    with_comma = [
        name for name, values in said.items() if spelling.every(values, spelling.COMMA) and spelling.some(values, ",")
    ]
    commas = [name for name in with_comma if spelling.some(said[name], spelling.COMMA_FOR_SURE)]
    if not commas:
        return (replace(found, decimal=reading.like.decimal) if with_comma else found), ()
    if any(spelling.every(each, spelling.NUMBER) and spelling.some(each, "[.]") for each in said.values()):
        return found, ()
    message = f"numbers of {path.name} have a decimal comma, such as {commas[0]}"
    guess = Guess(about="decimal ,", message=message, fix='decimal="," says so')
    return replace(found, decimal=","), (guess,)


def _may_be_fraction(declared: pa.DataType | None) -> bool:
    return declared is None or pa.types.is_floating(declared) or pa.types.is_decimal(declared)


class _Fields:
    """The fields of one file as text, and where they stand."""

    def __init__(self, body: bytes, path: Path, dialect: Dialect, skipped: int) -> None:
        self.body, self.path, self.dialect, self.skipped = body, path, dialect, skipped

    def texts(self) -> pa.Table:
        """Every column as text; null where an unquoted null text stands."""
        header = next(self._rows(self.body[: dialects.SAMPLE * 16]), [])
        try:
            found = self._parse(header)
            if any(not pa.types.is_string(each) for each in found.schema.types):
                found = self._parse(found.column_names)
        except pa.ArrowInvalid as error:
            self._malformed(str(error))
        if self.dialect.quote and any(spelling.some(each, "\n") for each in found.columns):
            self._check_quotes()
        return found

    def declared(self, name: str, values: pa.ChunkedArray, to: pa.DataType) -> pa.ChunkedArray:
        """A column in its declared type.

        Raises:
            DataError: a value is not of it; says where.
        """
        try:
            return spelling.convert(values, self.dialect.nulls, to, decimal=self.dialect.decimal or ".")
        except pa.ArrowNotImplementedError:
            raise DataError(f"{self.path}: column {name!r} is {type_name(to)}, which CSV has no text for.") from None
        except spelling.UnreadableError as error:
            place = self._place(error.place + 2)
            raise unlike(place, name, to, error.text) from None

    def _check_quotes(self) -> None:
        """Where a field has several lines, each quote is closed where a field ends: one that is not swallows rows.

        Raises:
            DataError: one is not; says where its row begins.
        """
        rows = dialects.reader(
            self.body.decode("utf-8", errors="replace"),
            self.dialect.separator or ",",
            self.dialect.quote,
            strict=True,
        )
        line = 0
        try:
            for _ in rows:
                line = rows.line_num
        except csv.Error as error:
            if "limit" in str(error):  # Python's, on the length of a field; Arrow has read it
                return
            raise DataError(
                f"{self.path}:{line + 1 + self.skipped}: a quote is opened in this row and not closed at the end of a field.",
                hint=f"Nothing was loaded. The quote is {self.dialect.quote!r}, written twice inside a field; "
                "quote= names another one, quote='' says that nothing is quoted.",
            ) from None

    def _parse(self, names: list[str], *, threads: bool = True, block: int = BLOCK) -> pa.Table:
        try:
            return pyarrow.csv.read_csv(
                pa.BufferReader(self.body),
                read_options=pyarrow.csv.ReadOptions(use_threads=threads, block_size=block),
                parse_options=pyarrow.csv.ParseOptions(
                    newlines_in_values=bool(self.dialect.quote),
                    delimiter=self.dialect.separator,
                    quote_char=self.dialect.quote or False,
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    null_values=list(self.dialect.nulls),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid as error:
            if "straddl" in str(error) and block < min(len(self.body), LARGEST_BLOCK):
                return self._parse(names, threads=threads, block=min(len(self.body) + 1, LARGEST_BLOCK))  # one long row
            raise

    def _malformed(self, said: str) -> NoReturn:
        """Reads again in one thread, where Arrow counts rows, to say which line is at fault."""
        try:
            self._parse([], threads=False)
        except pa.ArrowInvalid as error:
            said = str(error)
        row = re.search(r"Row #(\d+)", said)
        place = self._place(int(row[1])) if row else str(self.path)
        said = re.sub(r"^CSV parse error: (Row #\d+: )?", "", said)
        mark = SHOWN.get(self.dialect.separator or "", self.dialect.separator)
        raise DataError(
            f"{place}: {said}",
            hint=f"Nothing was loaded. The separator is {mark!r}; separator=, quote= and skip= change it.",
        )

    def _place(self, row: int) -> str:
        """`file:line` where the row of that number begins."""
        return f"{self.path}:{_line_of(self._rows(self.body), row) + self.skipped}"

    def _rows(self, data: bytes) -> Iterator[list[str]]:
        return dialects.reader(
            data.decode("utf-8", errors="replace"), self.dialect.separator or ",", self.dialect.quote
        )


def _line_of(rows: Iterator[list[str]], number: int) -> int:
    """The line where the row of that number (the names are 1, blank lines do not count) begins."""
    line = seen = 0
    try:
        for row in rows:
            seen += bool(row)
            if seen == number:
                return line + 1
            line = cast("int", rows.line_num)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    except csv.Error:
        pass  # Python's reader stops at other faults than Arrow's; the last line it reached is near enough
    return line + 1
