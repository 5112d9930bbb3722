"""Full rows in several shapes to lists in the order of a model's inputs: compiled once for a version.

It is stricter than MLflow's scoring server, which fills a ragged row with NaN: every row must name every input and
nothing else. A null is a missing value; every input of a plan may be missing.
"""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime
from itertools import chain
from math import isnan
from typing import TYPE_CHECKING, Any, cast

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.features.plan import Input, Kind

Row = list[Any]
NUMBERS = {int, float, bool, type(None)}
TEXTS = {str, type(None)}
WORDS = {"true": True, "false": False, "nan": None}  # of CSV, for a number
EASY = {float, type(None)}
WHOLE = {float, int}
LISTS = {list}
SPLIT = {"columns", "index", "data"}
TIME = re.compile(  # what both Python and pandas read of ISO 8601
    r"\d{4}-?\d\d-?\d\d([T ]\d\d(:?\d\d(:?\d\d(\.\d+)?)?)?(Z|[+-]\d\d(:?\d\d)?)?)?", re.ASCII
)
LARGEST = 2**1023  # an integer beyond has no float64


class BadRequestError(Exception):
    """A body that cannot be read; the text is for the caller and holds no data of theirs but a column's name."""


class Codec:
    """Decodes full rows.

    Args:
        inputs: of the model's plan.
        optional: those that may be left out, and are missing then.
    """

    def __init__(self, inputs: Sequence[Input], optional: frozenset[str] = frozenset()) -> None:
        self.names = [column.name for column in inputs]
        self.kinds: list[Kind] = [column.kind for column in inputs]
        self.width = len(self.names)
        self._known = set(self.names)
        self._optional = optional
        self._numeric = all(kind == "number" for kind in self.kinds)

    def records(self, data: object) -> list[Row]:
        """Objects, one a row, to rows in order."""
        names, known = self.names, self._known
        rows: list[Row] = []
        for place, record in enumerate(listed(data, "the list of records")):
            if not isinstance(record, dict):
                raise BadRequestError(f"row {place} is no object.")
            found = cast("dict[str, Any]", record)
            try:
                rows.append([found[name] for name in names])
            except KeyError:
                if missing := [name for name in names if name not in found and name not in self._optional]:
                    raise BadRequestError(f"row {place}: {named(missing[0])} is missing.") from None
                rows.append([found.get(name) for name in names])
            if len(found) != self.width and (stray := [name for name in found if name not in known]):
                raise BadRequestError(f"row {place}: {named(stray[0])} is not an input of this model.")
        return rows

    def check(self, rows: list[Row]) -> list[Row]:
        """The same rows, when each has the right width and every value the kind of its input.

        Raises:
            BadRequestError: says which row and column.
        """
        if not rows:
            raise BadRequestError("there are no rows.")
        width, numeric = self.width, self._numeric
        of_width = set(map(type, rows)) == LISTS and set(map(len, rows)) == {width}
        if numeric and of_width and _numbers_alone(rows):
            return rows  # as mostly: there is nothing to look at one by one
        for place, row in enumerate(rows):
            if type(row) is not list or len(row) != width:
                raise BadRequestError(f"row {place} has {_length(row)}; this model has {width} inputs.")
            if not numeric or not EASY.issuperset(map(type, row)):
                self._values(place, row)
        return rows

    def _values(self, place: int, row: Row) -> None:
        for name, kind, value in zip(self.names, self.kinds, row, strict=True):
            if kind == "number":
                if type(value) not in NUMBERS:
                    raise BadRequestError(f"row {place}: {named(name)} is no number.")
                if type(value) is int and not -LARGEST < value < LARGEST:
                    raise BadRequestError(f"row {place}: {named(name)} is out of range.")
            elif type(value) not in TEXTS and not isinstance(value, datetime):
                raise BadRequestError(f"row {place}: {named(name)} is no {'text' if kind == 'string' else 'time'}.")
            elif kind.startswith("timestamp") and isinstance(value, str):
                _time(place, name, value, local=kind == "timestamp")

    def split(self, data: Any) -> list[Row]:
        """`{"columns": […], "data": [[…]]}`; without columns they come in order. An index is not looked at, as pandas adds it."""
        if not isinstance(data, dict):
            raise BadRequestError("dataframe_split is no object.")
        frame: dict[str, Any] = data
        if not SPLIT.issuperset(frame):
            stray = next(name for name in frame if name not in SPLIT)
            raise BadRequestError(f"unexpected {named(stray)} in dataframe_split.")
        rows = listed(frame.get("data"), "dataframe_split.data")
        columns = frame.get("columns", self.names)
        if columns == self.names:
            return rows
        if not isinstance(columns, list) or not all(isinstance(name, str) for name in cast("list[Any]", columns)):
            raise BadRequestError("dataframe_split.columns is no list of names.")
        names = cast("list[str]", columns)
        self._same(names)
        order = self._order(names)
        for place, row in enumerate(rows):
            if type(row) is not list or len(row) != len(names):
                raise BadRequestError(f"row {place} has {_length(row)}; {len(names)} columns are named.")
        return [[None if place is None else row[place] for place in order] for row in rows]

    def columns(self, data: dict[str, Any]) -> list[Row]:
        """Columns by name."""
        self._same(list(data))
        given = {name: listed(column, named(name)) for name, column in data.items()}
        lengths = {len(column) for column in given.values()}
        if len(lengths) > 1:
            raise BadRequestError(f"the columns have different lengths: {min(lengths)} to {max(lengths)}.")
        columns = [given[name] if name in given else [None] * max(lengths, default=0) for name in self.names]
        return [list(row) for row in zip(*columns, strict=True)]

    def csv(self, body: bytes) -> list[Row]:
        """Lines with a header; empty lines are none. An empty value is missing, NaN is for a number."""
        try:
            lines = [line for line in csv.reader(io.StringIO(body.decode("utf-8-sig")), strict=True) if line]
        except (UnicodeDecodeError, csv.Error):
            raise BadRequestError("the body is no CSV in UTF-8.") from None
        if not lines:
            raise BadRequestError("there is no header.")
        self._same(lines[0])
        order, width = self._order(lines[0]), len(lines[0])
        rows: list[Row] = []
        for place, line in enumerate(lines[1:]):
            if len(line) != width:
                raise BadRequestError(f"row {place} has {len(line)} values; {width} columns are named.")
            pairs = zip(("" if at is None else line[at] for at in order), self.names, self.kinds, strict=True)
            rows.append([_from_text(place, text, name, kind) for text, name, kind in pairs])
        return rows

    def _order(self, names: list[str]) -> list[int | None]:
        """Where each input is among names; None for one that was left out."""
        return [names.index(name) if name in names else None for name in self.names]

    def _same(self, names: list[str]) -> None:
        for name in self.names:
            if name not in names and name not in self._optional:
                raise BadRequestError(f"{named(name)} is missing.")
        for place, name in enumerate(names):
            if name not in self._known:
                raise BadRequestError(f"{named(name)} is not an input of this model.")
            if names.index(name) != place:
                raise BadRequestError(f"{named(name)} is named twice.")


def document(body: bytes) -> dict[str, Any]:
    """A body as a JSON object.

    Raises:
        BadRequestError: it is none; NaN and Infinity are no JSON.
    """
    try:
        read: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"the body is no JSON: {error.msg} at position {error.pos}.") from None
    if type(read) is not dict:
        raise BadRequestError("the body is no JSON object.")
    return read


def listed(data: Any, what: str) -> list[Any]:
    """A list.

    Raises:
        BadRequestError: it is none.
    """
    if type(data) is not list:
        raise BadRequestError(f"{what} is no list.")
    return data


def _numbers_alone(rows: list[Row]) -> bool:
    """Whether all values certainly are numbers that a float64 holds, or missing."""
    kinds = set(map(type, chain.from_iterable(rows)))
    if EASY.issuperset(kinds):
        return True
    if not WHOLE.issuperset(kinds):
        return False
    low, high = min(chain.from_iterable(rows)), max(chain.from_iterable(rows))  # any, where there is a NaN
    return -LARGEST < low <= high < LARGEST and (float not in kinds or not any(map(isnan, chain.from_iterable(rows))))


def _length(row: object) -> str:
    return f"{len(cast('list[Any]', row))} values" if type(row) is list else "no list of values"


def named(name: object) -> str:
    """A name as it is shown back: bounded, and on one line."""
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:77]}…'"


def _time(place: int, name: str, text: str, *, local: bool) -> None:
    wrong = BadRequestError(f"row {place}: {named(name)} is no time in ISO 8601, such as 2024-02-20T11:11:11.")
    if not TIME.fullmatch(text):
        raise wrong
    try:
        read = datetime.fromisoformat(text)
        if read.tzinfo is None:
            return
        read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise wrong from None
    if local:
        raise BadRequestError(f"row {place}: {named(name)} has a time zone, and is a local time.")


def _from_text(place: int, text: str, name: str, kind: Kind) -> Any:
    if text == "":
        return None
    if kind != "number":
        return text
    if (word := text.strip().lower()) in WORDS:
        return WORDS[word]
    try:
        number = float("" if "_" in text else text)  # Python's own way to write them is nobody else's
    except ValueError:
        raise BadRequestError(f"row {place}: {named(name)} is no number.") from None
    if number - number != 0:  # the infinities
        raise BadRequestError(f"row {place}: {named(name)} is not finite.")
    return number
