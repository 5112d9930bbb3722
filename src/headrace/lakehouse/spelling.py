"""From text to typed values: the type of a column of a CSV file, and whether numbers can replace its texts.

A column is numeric only if each of its texts can be restored from the number. `01067` and an id of twenty digits
cannot, so they stay text. These do not count as spelling: zeros at the end of a fraction (`1.50`), blanks around a
number, and the exponent of a number that a machine wrote (`1e-05`, `6.02e+23`).
"""

# pyarrow.compute makes its functions when it is imported
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias, cast

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD = 1000  # values that are looked at before all of them are
BLANK = r"[ \t]*"
FIXED = r"-?(?:(?:0|[1-9][0-9]*)(?:[.][0-9]*)?|[.][0-9]+)"
EXPONENT = r"(?:[eE][+-]?[0-9]+)"
NO_NUMBER = r"[+-]?(?i:nan|inf|infinity)"
GROUPED = r"-?[0-9]{1,3}(?:(?:,[0-9]{3})+(?:[.][0-9]*)?|(?:[.][0-9]{3})+(?:,[0-9]*)?|(?:[' ][0-9]{3})+(?:[.,][0-9]*)?)"
WHOLE = rf"^{BLANK}(?:0|-?[1-9][0-9]*){BLANK}$"
NUMBER = rf"^{BLANK}(?:{FIXED}{EXPONENT}?|{NO_NUMBER}){BLANK}$"
FINITE = rf"^{BLANK}{FIXED}{EXPONENT}?{BLANK}$"
COMMA = rf"^{BLANK}-?(?:0|[1-9][0-9]*)(?:,[0-9]+)?{BLANK}$"
COMMA_FOR_SURE = r",(?:[0-9]{1,2}|[0-9]{4,})[ \t]*$|^[ \t]*-?(?:0|[0-9]{4,}),[0-9]"
CODE = rf"^{BLANK}-?[0-9]+[eE][0-9]+{BLANK}$"  # a number of a machine has a point, or a sign in its exponent
MACHINE = r"[.]|[eE][+-]"
LONG = r"[0-9](?:[.]?[0-9]){15,}|[eE][+-]?[0-9]{3,}"  # what a float64 may not hold
LITERAL = re.compile(r"-?(?:[0-9]+[.]?[0-9]*|[.][0-9]+)(?:[eE][+-]?[0-9]+)?")  # a number, zeros in front of it too
SHORT = r"^-?[0-9]*[.][0-9]*$"  # with fewer than 16 digits, what a float64 holds to the last of them before the point
MOST_DIGITS = 19  # of a whole number
BOOL = r"^(?:true|True|TRUE|false|False|FALSE)$"
TRUE = ("true", "True", "TRUE")
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
ZONE = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
CLOCK = r"[0-9]{2}(?::[0-9]{2}(?::[0-9]{2}(?:[.][0-9]{1,9})?)?)?"
ZONED = rf"[T ]{CLOCK}{ZONE}$"
LOCAL = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[T ]{CLOCK})?$"
INSTANT = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{CLOCK}{ZONE}$"
FINER = r"([.][0-9]{6})[0-9]+"  # digits after the microseconds
UTC = pa.timestamp("us", "UTC")
WHY = (  # what keeps a column of numbers a column of text, each with what it is called
    ("leading zeros", rf"^{BLANK}[+-]?0[0-9]+(?:[.,][0-9]*)?{EXPONENT}?{BLANK}$"),
    ("a plus sign", rf"^{BLANK}[+][0-9.]+{EXPONENT}?{BLANK}$"),
    ("an exponent like a code", CODE),
    ("separators of thousands or decimal commas", rf"^{BLANK}(?:{GROUPED}|-?[0-9]+,[0-9]+){BLANK}$"),
    ("more digits than a number keeps", rf"^{BLANK}{FIXED}{EXPONENT}?{BLANK}$"),
)
DIGITS = WHY[-1][0]
MIXED = "no zone, and others have one"
NUMBERS_OR_NEARLY = "|".join(f"(?:{pattern})" for pattern in (NUMBER, *(pattern for _, pattern in WHY)))

Texts: TypeAlias = pa.ChunkedArray


@dataclass(frozen=True, kw_only=True)
class ParsedColumn:
    """The values of a column as they were told from its texts.

    Attributes:
        values: in the type that was told; text where nothing else fits.
        reason: what kept numbers or times text; empty for others.
        example: a text that did.
    """

    values: pa.ChunkedArray
    reason: str = ""
    example: str = ""


class UnreadableError(ValueError):
    """A text is no value of the declared type.

    Attributes:
        place: of the value in its column, from zero.
        text: as it stands in the file.
    """

    def __init__(self, place: int, text: str) -> None:
        super().__init__(text)
        self.place, self.text = place, text


def guess(texts: Texts, nulls: Sequence[str], *, decimal: str = ".", known: pa.DataType | None = None) -> ParsedColumn:
    """The values of a column whose type nobody declared.

    Args:
        texts: as they stand in the file, null where an unquoted null text stood.
        nulls: in a column of other values than text, a quoted one is null too.
        decimal: the decimal mark.
        known: the type of the column in the table that they go to. Numbers are then taken for such in any notation of
            the exponent.
    """
    if texts.null_count == len(texts):
        return ParsedColumn(values=pa.chunked_array([pa.nulls(len(texts))], pa.null()))
    said = without(texts, nulls)
    if said.null_count == len(said):
        return ParsedColumn(values=texts)
    dotted = dot(said, decimal)
    if dotted is not None and every(dotted, NUMBER):
        return _numbers(texts, dotted, known)
    if every(said, BOOL):
        return ParsedColumn(values=pc.is_in(said, value_set=pa.array(TRUE)) if said.null_count == 0 else _truth(said))
    return _moments(texts, said) or _kept(texts, said)


def convert(texts: Texts, nulls: Sequence[str], to: pa.DataType, *, decimal: str = ".") -> pa.ChunkedArray:
    """The values of a column whose type was declared.

    Raises:
        UnreadableError: the first text that is no such value.
    """
    if pa.types.is_string(to):
        return texts
    said = without(texts, nulls)
    try:
        return _convert(said, to, decimal)
    except pa.ArrowInvalid:
        low, high = 0, len(said)  # the first bad value is in [low, high)
        while high - low > 1:
            middle = (low + high) // 2
            try:
                _convert(said.slice(low, middle - low), to, decimal)
                low = middle
            except pa.ArrowInvalid:
                high = middle
        raise UnreadableError(low, str(said[low])) from None


def times(texts: Texts, nulls: Sequence[str]) -> ParsedColumn:
    """The values of a column of JSON strings: days and moments where all are such, else the texts.

    A JSON string that looks like a number or a truth value is a text, for JSON writes these without quotes.
    """
    said = without(texts, nulls)
    if said.null_count == len(said):
        return ParsedColumn(values=texts)
    return _moments(texts, said) or ParsedColumn(values=texts)


def every(texts: Texts, pattern: str) -> bool:
    """Whether all texts that are not null match; the first ones are tried first."""
    return _all(texts.slice(0, HEAD), pattern) and _all(texts, pattern)


def some(texts: Texts, pattern: str) -> bool:
    """Whether a text that is not null matches."""
    return bool(pc.any(pc.match_substring_regex(texts, pattern)).as_py())


def without(texts: Texts, nulls: Sequence[str]) -> Texts:
    """The texts with those that mean null as null."""
    found = pc.is_in(texts, value_set=pa.array(list(nulls), pa.string()), skip_nulls=True)
    return pc.if_else(found, pa.scalar(None, pa.string()), texts) if pc.any(found).as_py() else texts


def dot(texts: Texts, decimal: str) -> Texts | None:
    """Texts with a point for the decimal mark; None where a comma is the mark and a point stands in them."""
    if decimal == ".":
        return texts
    return None if some(texts, r"[.]") else pc.replace_substring(texts, ",", ".")


def _all(texts: Texts, pattern: str) -> bool:
    found = pc.all(pc.match_substring_regex(texts, pattern)).as_py()
    return found is not False


def _numbers(texts: Texts, dotted: Texts, known: pa.DataType | None) -> ParsedColumn:
    trimmed = pc.ascii_trim_whitespace(dotted)
    if every(dotted, WHOLE):
        try:
            return ParsedColumn(values=trimmed.cast(pa.int64()))
        except pa.ArrowInvalid:
            if known is None or not pa.types.is_floating(known):
                return _kept(texts, dotted, among=r"[0-9]{19,}")
    floating = known is not None and pa.types.is_floating(known)
    if not floating and not some(dotted, FINITE):
        return ParsedColumn(values=texts)  # the names Nan and Inf
    if not floating and some(dotted, CODE) and not some(dotted, MACHINE):
        return _kept(texts, dotted, among=CODE)
    values = _float(trimmed)
    lost = _lost(trimmed, values)
    return ParsedColumn(values=values) if lost is None else _kept(texts, dotted, example=lost)


def _float(trimmed: Texts) -> pa.ChunkedArray:
    return trimmed.cast(pa.float64())


def _lost(texts: Texts, values: pa.ChunkedArray) -> str | None:
    """A text that a float64 does not give back; None where it does all."""
    long = pc.fill_null(pc.match_substring_regex(texts, LONG), False)
    if not pc.any(long).as_py():
        return None
    written, read = texts.filter(long), values.filter(long)
    unlike = pc.not_equal(read.cast(pa.string()), written)
    pairs = zip(written.filter(unlike).to_pylist(), read.filter(unlike).to_pylist(), strict=True)
    return next((text for text, value in pairs if not survives(text, value)), None)


def survives(text: str, value: float) -> bool:
    """Whether a float64, written with as many digits as the text has, is the text again."""
    digits = text.lower().partition("e")[0].replace(".", "").lstrip("+-0")
    if not digits:
        return True
    if not math.isfinite(value) or value == 0:
        return False
    written = Decimal(
        text
    )  # the shortest name of a number may round a tie up, which as many digits of it round to even
    return written in (Decimal(f"{value:.{len(digits) - 1}e}"), Decimal(repr(float(value))))


def _truth(texts: Texts) -> pa.ChunkedArray:
    return pc.if_else(pc.is_null(texts), pa.scalar(None, pa.bool_()), pc.is_in(texts, value_set=pa.array(TRUE)))


def _moments(texts: Texts, said: Texts) -> ParsedColumn | None:
    try:
        if every(said, DATE):
            return ParsedColumn(values=said.cast(pa.date32()))
        for pattern, to in ((LOCAL, pa.timestamp("us")), (INSTANT, UTC)):
            if every(said, pattern):
                cut = some(said, rf"{FINER}.*") and pc.replace_substring_regex(said, FINER, r"\1")
                return ParsedColumn(values=(cut or said).cast(to))
    except pa.ArrowInvalid:
        return ParsedColumn(values=texts)  # no such day
    if every(said, f"{LOCAL}|{INSTANT}"):
        local = said.filter(pc.match_substring_regex(said, LOCAL))
        return ParsedColumn(values=texts, reason=MIXED, example=str(local[0]))
    return None


def _kept(texts: Texts, said: Texts, *, among: str = "", example: str = "") -> ParsedColumn:
    """A column as text, with the reason where its values look like numbers."""
    if not example and not every(said, NUMBERS_OR_NEARLY):
        return ParsedColumn(values=texts)
    if example:
        return ParsedColumn(values=texts, reason=DIGITS, example=example)
    for reason, pattern in WHY:
        found = said.filter(pc.match_substring_regex(said, pattern))
        if among:
            found = found.filter(pc.match_substring_regex(found, among))
        if len(found):
            return ParsedColumn(values=texts, reason=reason, example=str(found[0]))
    return ParsedColumn(values=texts)


def _convert(said: Texts, to: pa.DataType, decimal: str) -> pa.ChunkedArray:
    trimmed = pc.ascii_trim_whitespace(said)
    if pa.types.is_boolean(to) or pa.types.is_date(to):
        return _day(trimmed, to) if pa.types.is_date(to) else trimmed.cast(to)
    if pa.types.is_timestamp(to):
        return _instant(trimmed).cast(to)
    if not (pa.types.is_integer(to) or pa.types.is_floating(to) or pa.types.is_decimal(to)):
        return trimmed.cast(to)
    dotted = dot(trimmed, decimal)
    if dotted is None:
        raise pa.ArrowInvalid("a point where the decimal mark is a comma")
    plain = pc.replace_substring_regex(dotted, r"^[+]", "")
    if some(plain, "^-?0[xX]"):
        raise pa.ArrowInvalid("hexadecimal")
    if pa.types.is_integer(to):
        return _whole(plain, to)
    made = plain.cast(to)
    if pa.types.is_floating(to):
        endless = pc.and_(pc.is_inf(made), pc.invert(pc.match_substring_regex(plain, NO_NUMBER)))
        if pc.any(endless).as_py():
            raise pa.ArrowInvalid("a number beyond the type")
    return made


def _whole(plain: Texts, to: pa.DataType) -> pa.ChunkedArray:
    """Whole numbers, those written with a point or an exponent among them: `3.0` is whole.

    Each value is read by itself, so that none is refused for what stands beside it.
    """
    try:
        return plain.cast(to)
    except pa.ArrowInvalid:
        none = pa.scalar(None, pa.string())
        pointed = pc.match_substring_regex(plain, r"[.eE]")
        short = pc.and_(pc.match_substring_regex(plain, SHORT), pc.invert(pc.match_substring_regex(plain, LONG)))
        direct = pc.if_else(pointed, none, plain).cast(to)
        rounded = pc.if_else(short, plain, none).cast(pa.float64()).cast(to)
        rest = pc.if_else(pc.and_not(pointed, short), plain, none)
        if rest.null_count == len(rest):
            return pc.coalesce(direct, rounded)
        exact = pa.chunked_array([pa.array([_integer(each) for each in rest.to_pylist()], pa.int64())])
        return pc.coalesce(direct, rounded, exact.cast(to))


def _integer(text: str | None) -> int | None:
    """The whole number that a text means.

    Raises:
        pa.ArrowInvalid: it means none, or one beyond an int64.
    """
    if text is None:
        return None
    value = Decimal(text) if LITERAL.fullmatch(text) else None
    if value is None or value.adjusted() > MOST_DIGITS or value % 1 or not -(2**63) <= value < 2**63:
        raise pa.ArrowInvalid(f"{text} is no whole number")
    return int(value)


def _day(trimmed: Texts, to: pa.DataType) -> pa.ChunkedArray:
    """Dates; a moment at midnight is a date too."""
    try:
        return trimmed.cast(to)
    except pa.ArrowInvalid:
        moments = trimmed.cast(pa.timestamp("us"))
        days = moments.cast(to)
        if not days.cast(pa.timestamp("us")).equals(moments):
            raise
        return days


def _instant(trimmed: Texts) -> pa.ChunkedArray:
    """Moments with and without a zone, beside each other; without one as UTC."""
    cut = pc.replace_substring_regex(trimmed, FINER, r"\1")
    zoned = pc.fill_null(pc.match_substring_regex(cut, ZONED), False)
    none = pa.scalar(None, pa.string())
    with_zone = pc.if_else(zoned, cut, none).cast(UTC)
    local = pc.if_else(zoned, none, cut).cast(pa.timestamp("us"))
    return cast("pa.ChunkedArray", pc.coalesce(with_zone, local.cast(UTC)))
