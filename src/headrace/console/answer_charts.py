"""The answer to a SELECT as a picture: which of its columns, and what to say where they do not fit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from markupsafe import Markup

from headrace.console import charts
from headrace.console.charts import Point, Series
from headrace.core.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.console.charts import X
    from headrace.operations.saved_queries import Chart
    from headrace.operations.sql import QueryResult

    Rows = Sequence[Mapping[str, object]]

POINTS = 5_000  # rows that are drawn, the first
BARS = 60
BINS = 20
CELLS = 40  # rows and columns of a heat map
NONE = Markup("")
SHADES = 10  # of the style sheet
LARGEST, SMALLEST = 1e300, 1e-290  # beyond them the difference of two numbers is none, or cannot be divided


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """A table whose cells are shaded.

    Attributes:
        x: what the columns are called.
        y: what the rows are called.
        value: what the cells are.
        columns: their names.
        rows: name → (value, shade from 0 to 9) of each column; None where there is no value.
    """

    x: str
    y: str
    value: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[tuple[float, int] | None]]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What is drawn of an answer.

    Attributes:
        svg: the picture; empty where there is none.
        heat_map: the table that stands for one.
        notes: a sentence each: why there is none, or what was left out.
    """

    svg: Markup = NONE
    heat_map: HeatMap | None = None
    notes: tuple[str, ...] = ()


class _MisfitError(Exception):
    """Why an answer cannot be drawn, as a sentence."""


def picture(result: QueryResult, chart: Chart) -> Picture | None:
    """An answer as its chart says; None for a table.

    Args:
        result: the answer; columns that the chart does not name are those that fit.
        chart: its kind, and columns.
    """
    if chart.kind == "table":
        return None
    rows = result.rows(POINTS)
    notes = [f"Drawn are the first {POINTS:,} of {result.count:,} rows."] if result.count > POINTS else []
    draw: Callable[[Rows, Sequence[str], Chart, list[str]], Picture] = {
        "line": _line,
        "bar": _bar,
        "scatter": _scatter,
        "histogram": _histogram,
        "heat map": _heat_map,
    }[chart.kind]
    if not rows:
        return Picture(notes=("There are no rows to draw.",))
    try:
        return draw(rows, result.arrow.column_names, chart, notes)
    except _MisfitError as misfit:
        return Picture(notes=(str(misfit),))


def _line(rows: Rows, names: Sequence[str], chart: Chart, notes: list[str]) -> Picture:
    x = _column(names, chart.x) or _first(rows, names, _at, "a column of numbers, days or moments for x")
    ys = [_known(names, each) for each in chart.y] or [each for each in _all(rows, names, _number) if each != x]
    if not ys:
        raise _MisfitError("A line takes a column of numbers for y.")
    if len(ys) > charts.SERIES:
        notes.append(f"Drawn are the first {charts.SERIES} of {len(ys)} columns.")
    placed = sorted(
        ((at, row) for row in rows if (at := _at(row[x])) is not None), key=lambda each: charts.number(each[0])
    )
    if not placed:
        raise _MisfitError(f"{x!r} has neither numbers nor days nor moments: a bar chart takes other values.")
    series = [
        Series(name=y, points=[Point(x=at, y=_number(row[y])) for at, row in placed]) for y in ys[: charts.SERIES]
    ]
    return _drawn(charts.line(f"{', '.join(ys[: charts.SERIES])} by {x}", series), notes)


def _bar(rows: Rows, names: Sequence[str], chart: Chart, notes: list[str]) -> Picture:
    y = _known(names, chart.y[0]) if chart.y else ""
    x = _column(names, chart.x) or next((each for each in names if each != y), names[0])
    y = y or _first(rows, [each for each in names if each != x], _number, "a column of numbers for y")
    if len(rows) > BARS:
        notes.append(f"Drawn are the first {BARS} of {len(rows):,} bars.")
    pairs = [(_text(row[x]), value) for row in rows[:BARS] if (value := _number(row[y])) is not None]
    return _drawn(charts.bars(f"{y} by {x}", pairs), notes)


def _scatter(rows: Rows, names: Sequence[str], chart: Chart, notes: list[str]) -> Picture:
    x = _column(names, chart.x) or _first(rows, names, _number, "a column of numbers for x")
    y = (
        _known(names, chart.y[0])
        if chart.y
        else _first(rows, [each for each in names if each != x], _number, "another column of numbers for y")
    )
    pairs = [(a, b) for row in rows if (a := _number(row[x])) is not None and (b := _number(row[y])) is not None]
    return _drawn(charts.points(f"{y} by {x}", pairs), notes)


def _histogram(rows: Rows, names: Sequence[str], chart: Chart, notes: list[str]) -> Picture:
    x = _column(names, chart.x or (chart.y[0] if chart.y else None))
    x = x or _first(rows, names, _number, "a column of numbers")
    values = [value for row in rows if (value := _number(row[x])) is not None]
    if not values:
        raise _MisfitError(f"{x!r} has no numbers.")
    low, high = min(values), max(values)
    wide = (high - low) / BINS
    counts = [0] * (BINS if wide else 1)
    for value in values:
        counts[min(int((value - low) / wide), BINS - 1) if wide else 0] += 1
    bins = [f"{low + wide * place:.4g}" for place in range(len(counts))]
    shares = [count / len(values) for count in counts]
    notes.append(f"{len(values):,} values of {x} from {low:.4g} to {high:.4g}; each bar is a share of them.")
    return _drawn(charts.histograms(f"Histogram of {x}", [x], bins, [shares]), notes)


def _heat_map(rows: Rows, names: Sequence[str], chart: Chart, notes: list[str]) -> Picture:
    value = _column(names, chart.value) or ""
    named = [value, *(each for each in (chart.x, *chart.y[:1]) if each)]
    if not value:
        value = _first(rows, [each for each in reversed(names) if each not in named], _number, "a column of numbers")
    rest = [each for each in names if each != value]
    y = _known(names, chart.y[0]) if chart.y else ""
    x = _column(names, chart.x) or next((each for each in rest if each != y), "")
    y = y or next((each for each in rest if each != x), "")
    if not x or not y:
        raise _MisfitError("A heat map takes three columns: x, y and a value.")
    columns, lines = (list(dict.fromkeys(_text(row[name]) for row in rows)) for name in (x, y))
    for several, name in ((columns, x), (lines, y)):
        if len(several) > CELLS:
            notes.append(f"Shown are the first {CELLS} of {len(several):,} values of {name}.")
    numbers = [(row, number) for row in rows if (number := _number(row[value])) is not None]
    cells = {(_text(row[y]), _text(row[x])): number for row, number in numbers}
    if len(cells) < len(numbers):
        lost = len(numbers) - len(cells)
        notes.append(
            f"{counted(lost, 'row')} {'is' if lost == 1 else 'are'} not shown, since a later one has the same {x} and {y}: "
            "a SELECT with GROUP BY both has one of each."
        )
    low, high = min(cells.values(), default=0.0), max(cells.values(), default=0.0)
    shown = {
        line: [_shaded(cells.get((line, column)), low, high) for column in columns[:CELLS]] for line in lines[:CELLS]
    }
    return Picture(heat_map=HeatMap(x=x, y=y, value=value, columns=columns[:CELLS], rows=shown), notes=tuple(notes))


def _shaded(value: float | None, low: float, high: float) -> tuple[float, int] | None:
    if value is None:
        return None
    share = (value - low) / (high - low) if high > low else 0.5
    return value, min(int(share * SHADES), SHADES - 1)


def _drawn(svg: Markup, notes: list[str]) -> Picture:
    return Picture(svg=svg, notes=tuple(notes if svg else ["There is no number to draw."]))


def _column(names: Sequence[str], name: str | None) -> str | None:
    return None if name is None else _known(names, name)


def _known(names: Sequence[str], name: str) -> str:
    if name not in names:
        raise _MisfitError(f"The answer has no column {name!r}. There is {', '.join(names[:20])}.")
    return name


def _all(rows: Rows, names: Sequence[str], read: Callable[[object], object]) -> list[str]:
    """The columns of which some value can be read, and no value cannot."""
    found: list[str] = []
    for name in names:
        values = [row[name] for row in rows[:100] if row[name] is not None]
        if values and all(read(value) is not None for value in values):
            found.append(name)
    return found


def _first(rows: Rows, names: Sequence[str], read: Callable[[object], object], wanted: str) -> str:
    found = _all(rows, names, read)
    if not found:
        raise _MisfitError(f"The chart takes {wanted}, and the answer has none.")
    return found[0]


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    if not abs(number) < LARGEST:  # nor is it NaN
        return None
    return number if abs(number) > SMALLEST else 0.0


def _at(value: object) -> X | None:
    return value if isinstance(value, datetime | date) else _number(value)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return str(value)[:100]
