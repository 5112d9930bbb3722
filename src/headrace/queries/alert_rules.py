"""A rule on the answer of a saved query: what is compared, and what an answer says of it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, get_args

from headrace.core.clock import duration, now
from headrace.core.errors import ConfigError
from headrace.core.text import counted
from headrace.queries.records import DECIMAL, INTEGER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
ROWS = "rows"  # not quoted, it is the number of rows and no column
LONGEST = 150  # characters of a condition
CONDITION = re.compile(
    r'\s*(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>\w+))\s*(?P<sign>[<>]=?|!=|<>|==?)\s*(?P<limit>\S+)\s*'
)
SIGNS = {"==": "=", "<>": "!="}


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What an answer is compared with.

    Attributes:
        column: whose value in the first row is compared; None: the number of rows is.
        sign: `>`, `>=`, `<`, `<=`, `=` or `!=`.
        limit: on the right of it.
    """

    column: str | None
    sign: str
    limit: int | float

    def __str__(self) -> str:
        """As it is written, the same for all ways to write it: `late > 0.1`, `"late share" >= 2`, `rows > 0`."""
        name = ROWS if self.column is None else self.column
        plain = re.fullmatch(r"\w+", name) and (self.column is None or name.lower() != ROWS)
        quoted = name if plain else '"{}"'.format(name.replace('"', '""'))
        return f"{quoted} {self.sign} {self.limit}"

    def broken_by(self, value: Decimal | float) -> bool:
        """Whether a value is on the side of the limit that is reported; with a decimal, the limit is one as it is written."""
        limit = Decimal(str(self.limit)) if isinstance(value, Decimal) else self.limit
        return {
            ">": value > limit,
            ">=": value >= limit,
            "<": value < limit,
            "<=": value <= limit,
            "=": value == limit,
            "!=": value != limit,
        }[self.sign]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the answer of a query says of a rule.

    Attributes:
        holds: whether it is to be reported; None: that cannot be said.
        value: that was compared; None: there is none.
        reason: in words.
        unfit: whether no answer of the query can say it: it has no such column, or no numbers in it.
    """

    holds: bool | None
    value: float | None
    reason: str
    unfit: bool = False


@dataclass(frozen=True, kw_only=True)
class QueryAlertRule:
    """A rule on a saved query.

    Attributes:
        query: its name.
        rule: the condition, as text.
        severity: `info`, `warning` or `critical`.
        owner: who is to take care.
        every: how often it is evaluated, such as `1h`.
        declared: when it was declared, last.
        declared_by: by whom.
        evaluated: when it was evaluated, last; None before.
        outcome: what was found then, in words.
    """

    query: str
    rule: str
    severity: Severity
    owner: str
    every: str
    declared: datetime
    declared_by: str
    evaluated: datetime | None
    outcome: str

    @property
    def next(self) -> datetime:
        """When it is due."""
        return self.declared if self.evaluated is None else self.evaluated + duration(self.every)

    @property
    def due(self) -> bool:
        """Whether it is due now."""
        return self.next <= now()


def condition(text: str) -> Condition:
    """Reads `late > 0.1`, `"late share" >= 2` or `rows > 0`.

    Raises:
        ConfigError: it is none of that form.
    """
    found = CONDITION.fullmatch(text) if len(text) <= LONGEST else None
    limit = None if found is None else _number(found["limit"])
    if found is None or limit is None:
        raise ConfigError(
            f"{text[:LONGEST]!r} is no condition.",
            hint=f"Write a column of the first row, a sign and a number, with at most {LONGEST} characters: late > 0.1, "
            '"late share" >= 2; or the number of rows: rows > 0.',
        )
    column = found["quoted"].replace('""', '"') if found["quoted"] else found["plain"]
    counts = found["plain"] is not None and column.lower() == ROWS
    sign = SIGNS.get(found["sign"], found["sign"])
    return Condition(column=None if counts else column, sign=sign, limit=limit)


def judge(wanted: Condition, columns: Sequence[str], rows: int, first: Mapping[str, object]) -> Outcome:
    """What an answer says of a condition.

    Args:
        wanted: the condition.
        columns: of the answer.
        rows: the number of its rows.
        first: the first row; empty where there is none.
    """
    if wanted.column is None:
        return Outcome(holds=wanted.broken_by(rows), value=rows, reason=f"the answer has {counted(rows, 'row')}")
    column = _column(wanted.column, columns)
    if column is None:
        listed = ", ".join(columns[:10]) + (" …" if len(columns) > 10 else "")
        return _unknown(f"the answer has no column {wanted.column!r}: it has {listed}", unfit=True)
    if not rows:
        return _unknown(f"the answer has no row, so {column} has no value; `{ROWS} = 0` is a rule on that")
    value = first[column]
    if value is None:
        return _unknown(f"{column} is null in the first row")
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return _unknown(f"{column} is no number: {str(value)[:100]!r}", unfit=True)
    if math.isnan(value):
        return _unknown(f"{column} is NaN in the first row")
    return Outcome(holds=wanted.broken_by(value), value=float(value), reason=f"{column} is {value}")


def _unknown(reason: str, *, unfit: bool = False) -> Outcome:
    return Outcome(holds=None, value=None, reason=reason, unfit=unfit)


def _column(name: str, columns: Sequence[str]) -> str | None:
    """The column of that name; ignoring case, as SQL does, where none is written like that."""
    if name in columns:
        return name
    return next((each for each in columns if each.lower() == name.lower()), None)


def _number(text: str) -> int | float | None:
    if INTEGER.fullmatch(text):
        return int(text)
    if DECIMAL.fullmatch(text) and math.isfinite(value := float(text)):
        return int(value) if value.is_integer() and abs(value) < 1e15 else value
    return None
