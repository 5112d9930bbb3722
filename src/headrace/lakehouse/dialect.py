"""The format of a source's text files: separator, decimal mark, encoding, quotes and null texts."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from dataclasses import dataclass

from headrace.core.errors import DeclarationError

NULLS = ("", "NA", "NULL", "null")
SEPARATORS = (",", ";", "\t", "|")
SAMPLE = 2**16  # bytes from which the separator is told
SAMPLE_ROWS = 100


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a text file is written. What is None is told from the file.

    Attributes:
        nulls: the texts that mean null in CSV. A quoted one is text in a column of text.
        separator: one character between two fields.
        decimal: `"."` or `","`.
        encoding: a name that Python knows. None: UTF-16 or UTF-32 where the file begins with their mark, else UTF-8.
        quote: one character around a field that holds separators; empty where nothing is quoted.
        skip: lines before the names of the columns.
    """

    nulls: tuple[str, ...] = NULLS
    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    quote: str = '"'
    skip: int = 0

    def __post_init__(self) -> None:
        for name, value in (("separator", self.separator), ("quote", self.quote or None)):
            if value is not None and not (
                _is_text(value) and len(value) == 1 and value.isascii() and value not in "\r\n\0"
            ):
                raise DeclarationError(
                    f"{name}={value!r} is not one ASCII character.", hint=r'For example ";" or "\t".'
                )
        if self.decimal not in (None, ".", ","):
            raise DeclarationError(f"decimal={self.decimal!r} is not known.", hint='Use "." or ",".')
        if self.separator is not None and self.separator in (self.decimal, self.quote):
            raise DeclarationError(f"separator={self.separator!r} is also the decimal mark or the quote.")
        if not isinstance(self.skip, int) or isinstance(self.skip, bool) or self.skip < 0:
            raise DeclarationError(f"skip={self.skip!r} is not a number of lines.")
        if not all(_is_text(each) for each in self.nulls):
            raise DeclarationError(f"nulls={self.nulls!r} are not all texts.", hint='For example nulls=("", "-999").')
        if self.encoding is not None:
            _check_encoding(self.encoding)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _check_encoding(encoding: str) -> None:
    try:
        known = codecs.lookup(encoding)._is_text_encoding  # type: ignore[attr-defined]  # noqa: SLF001 - Python has no other way
        b"".decode(encoding)
    except (LookupError, TypeError, ValueError):
        known = False
    if not known:
        raise DeclarationError(
            f"encoding={encoding!r} is not known.", hint='For example "latin-1", "cp1252" or "utf-16".'
        )


def separator(data: bytes, quote: str) -> tuple[str, tuple[str, ...]]:
    """The separator of a file in UTF-8, and others that would have divided its first rows as evenly.

    A separator divides evenly when the names of the columns and the first hundred rows have the same number of fields,
    two at least. The comma comes first, then the one that gives the most fields. Where none does, the one that gives the
    most names: then a row is at fault, and is placed as such.
    """
    sample = data[:SAMPLE].decode("utf-8", errors="replace")
    counts = {each: _fields(sample, each, quote, whole=len(data) <= SAMPLE) for each in SEPARATORS if each != quote}
    even = [each for each, found in counts.items() if found and found[0] > 1 and len(set(found)) == 1]
    if even:
        chosen = "," if "," in even else max(even, key=lambda each: counts[each][0])
        return chosen, tuple(each for each in even if each != chosen and counts[each][0] >= counts[chosen][0])
    return max(counts, key=lambda each: counts[each][0] if counts[each] else 0), ()


def _fields(sample: str, separator: str, quote: str, *, whole: bool) -> list[int]:
    """How many fields the first rows have; empty where they cannot be divided."""
    rows = reader(sample, separator, quote)
    try:
        found = [len(row) for row in itertools.islice(rows, SAMPLE_ROWS + 1) if row]
    except csv.Error:
        return []
    return found if whole or len(found) < 2 or len(found) > SAMPLE_ROWS else found[:-1]  # the last may be cut off


def reader(text: str, separator: str, quote: str, *, strict: bool = False) -> csv.reader:  # type: ignore[valid-type]  # pyright: ignore[reportGeneralTypeIssues]
    """Python's reader of rows, for what Arrow does not tell: names before the types, lines of rows."""
    stream = io.StringIO(text, newline="")
    if quote:
        return csv.reader(stream, delimiter=separator, quotechar=quote, strict=strict)
    return csv.reader(stream, delimiter=separator, quoting=csv.QUOTE_NONE)
