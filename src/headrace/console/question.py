"""What the form of the page for SQL says: the SELECT, the values of its placeholders, its limits, and its chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from headrace.core.errors import ConfigError
from headrace.operations.saved_queries import LONGEST as LONGEST_TEXT
from headrace.operations.saved_queries import Chart, Parameter, check_length, values_of
from headrace.operations.sql import placeholders

if TYPE_CHECKING:
    from datetime import date

    from headrace.console.requests import Form
    from headrace.operations.saved_queries import ChartKind, ParameterKind, SavedQueryReport

SECONDS, LONGEST = 30, 600
ROWS, MOST = 10_000, 1_000_000
PLACEHOLDERS = 20  # of which there are fields


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question as it stands in the form.

    Attributes:
        text: the SELECT.
        kinds: placeholder → the kind of its value.
        given: placeholder → its value as text.
        seconds: that it may take, as written.
        rows: that the answer may have, as written.
        chart: its kind, as written.
        x: the column along the axis.
        y: the columns that are drawn, with commas between them.
        value: the column of the cells of a heat map.
        name: of the saved query that it comes from; empty: of none.
        version: of that, as it was looked at.
    """

    text: str = ""
    kinds: dict[str, str]
    given: dict[str, str]
    seconds: str = str(SECONDS)
    rows: str = str(ROWS)
    chart: str = "table"
    x: str = ""
    y: str = ""
    value: str = ""
    name: str = ""
    version: str = ""

    @classmethod
    def of_form(cls, form: Form) -> Question:
        """What somebody sent."""
        text = form.long("text")
        names = placeholders(text)[:PLACEHOLDERS] if len(text) <= LONGEST_TEXT else ()
        plain = {each: form.text(each) for each in ("seconds", "rows", "chart", "x", "y", "value", "name", "version")}
        return cls(
            text=text,
            kinds={name: form.text(f"kind.{name}") or "text" for name in names},
            given={name: form.fields[f"value.{name}"] for name in names if f"value.{name}" in form.fields},
            **plain,
        )

    @classmethod
    def of_saved(cls, saved: SavedQueryReport) -> Question:
        """A saved query, with its defaults."""
        return cls(
            text=saved.sql,
            kinds={each.name: each.kind for each in saved.parameters},
            given={each.name: each.default for each in saved.parameters if each.default is not None},
            chart=saved.chart.kind,
            x=saved.chart.x or "",
            y=", ".join(saved.chart.y),
            value=saved.chart.value or "",
            name=saved.name,
            version=str(saved.version),
        )

    @property
    def values(self) -> dict[str, str | int | float | date]:
        """What is bound to the placeholders.

        Raises:
            ConfigError: a value is missing, or is none of its kind, or the text is too long.
        """
        check_length(self.text)
        return values_of(self.parameters, {})

    @property
    def parameters(self) -> list[Parameter]:
        """The placeholders with what is given as defaults."""
        return [
            Parameter(name=name, kind=cast("ParameterKind", kind), default=self.given.get(name))
            for name, kind in self.kinds.items()
        ]

    @property
    def drawn(self) -> Chart:
        """The chart.

        Raises:
            ConfigError: there is none of this kind.
        """
        columns = tuple(name for name in (each.strip() for each in self.y.split(",")) if name)
        return Chart(
            kind=cast("ChartKind", self.chart or "table"), x=self.x or None, y=columns, value=self.value or None
        )

    @property
    def limits(self) -> tuple[int, int]:
        """Seconds and rows.

        Raises:
            ConfigError: one is no number, or too large.
        """
        return _number("Seconds", self.seconds, SECONDS, LONGEST), _number("Rows", self.rows, ROWS, MOST)

    @property
    def replaces(self) -> int | None:
        """The version that was looked at."""
        is_number = self.version.isascii() and self.version.isdigit() and len(self.version) <= 9
        return int(self.version) if is_number else None

    def saved_as(self, name: str) -> int | None:
        """The version that saving under a name replaces: that which was looked at, where it is the same name."""
        return self.replaces if name == self.name else None


def _number(field: str, text: str, default: int, most: int) -> int:
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= most:
        raise ConfigError(f"{field}: {text[:20]!r} is not from 1 to {most:,}.")
    return int(text)
