"""A saved query, its parameters, and how its answer is drawn."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal, get_args

from headrace.core.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

ParameterKind = Literal["text", "number", "date"]
ChartKind = Literal["table", "line", "bar", "scatter", "histogram", "heat map"]
PARAMETER_KINDS: tuple[ParameterKind, ...] = get_args(ParameterKind)
CHART_KINDS: tuple[ChartKind, ...] = get_args(ChartKind)
INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A value that a SELECT leaves open, as `:name`.

    Attributes:
        name: without the colon, in lower case.
        kind: what it is read as.
        default: as text; None: it is given each time.
    """

    name: str
    kind: ParameterKind = "text"
    default: str | None = None

    def __post_init__(self) -> None:
        """Refuses a kind that there is not.

        Raises:
            ConfigError: says which there are.
        """
        if self.kind not in PARAMETER_KINDS:
            raise ConfigError(
                f"{self.kind!r} is no kind of parameter.", hint=f"{self.name} is {', '.join(PARAMETER_KINDS)}."
            )

    def value(self, text: str) -> str | int | float | date:
        """What a text is as a value of its kind.

        Raises:
            ConfigError: it is none.
        """
        if self.kind == "text":
            return text
        text = text.strip()
        if self.kind == "date":
            try:
                return date.fromisoformat(text)
            except ValueError:
                raise ConfigError(
                    f"the value of :{self.name} is no date: {text[:100]!r}.", hint="Write 2026-01-31."
                ) from None
        if INTEGER.fullmatch(text):
            return int(text)
        if DECIMAL.fullmatch(text) and math.isfinite(number := float(text)):
            return number
        raise ConfigError(f"the value of :{self.name} is no number: {text[:100]!r}.", hint="Write 12 or 0.5.")


@dataclass(frozen=True, kw_only=True)
class Chart:
    """How an answer is drawn.

    Attributes:
        kind: a table alone, or a picture beside it.
        x: the column along the axis; of a histogram, the one that is counted. None: the first one that fits.
        y: the columns of the series; of a heat map, that of its rows. Empty: those that fit.
        value: of a heat map: the column of its cells. None: the first one that fits.
    """

    kind: ChartKind = "table"
    x: str | None = None
    y: tuple[str, ...] = ()
    value: str | None = None

    def __post_init__(self) -> None:
        """Refuses a kind that there is not.

        Raises:
            ConfigError: says which there are.
        """
        if self.kind not in CHART_KINDS:
            raise ConfigError(f"{self.kind!r} is no kind of chart.", hint=f"There is {', '.join(CHART_KINDS)}.")


@dataclass(frozen=True, kw_only=True)
class SavedQuery:
    """A SELECT under a name.

    Attributes:
        name: of the query, in its environment.
        sql: the SELECT.
        parameters: one for each of its placeholders, in their order.
        chart: how its answer is drawn.
        version: 1, and one more each time that it is saved.
        saved: when, last.
        saved_by: who.
    """

    name: str
    sql: str
    parameters: tuple[Parameter, ...]
    chart: Chart
    version: int
    saved: datetime
    saved_by: str


def values_of(parameters: Sequence[Parameter], given: Mapping[str, str]) -> dict[str, str | int | float | date]:
    """The value of each parameter: what is given, else its default.

    Args:
        parameters: of a query.
        given: name → text.

    Raises:
        NotFoundError: a value is given for what is no parameter.
        ConfigError: a value is missing, or is none of its kind.
    """
    known = [each.name for each in parameters]
    for name in given:
        if name not in known:
            raise NotFoundError("parameter", name, known)
    values: dict[str, str | int | float | date] = {}
    for each in parameters:
        text = given.get(each.name, each.default)
        if text is None or (text == "" and each.kind != "text"):
            raise ConfigError(
                f"there is no value for :{each.name}, a {each.kind}.", hint=f"Give it: --param {each.name}=VALUE"
            )
        values[each.name] = each.value(text)
    return values
