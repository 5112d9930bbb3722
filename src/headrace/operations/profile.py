"""The profile of a table: what each column holds, with its distribution, for whoever sees the data for the first time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from headrace.core.text import counted
from headrace.lakehouse.identifiers import column
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.relation import chosen, open_relation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from headrace.monitoring.bars import Bar
    from headrace.monitoring.blocks import MonitoredColumn
    from headrace.monitoring.histograms import Numbers, Texts
    from headrace.monitoring.profile import Profile
    from headrace.operations.relation import Relation
    from headrace.workspace.workspace import Workspace

Kind = Literal["number", "text", "moment", "other"]
SPARSE = 20.0  # percent of missing values that are remarked on
ALMOST = 0.9  # of the rows: a column with about so many values is counted exactly
PERCENT = 100.0


@dataclass(frozen=True, kw_only=True)
class FrequentValue(Record):
    """A text that occurs often.

    Attributes:
        value: the text.
        rows: the number of rows that have it.
    """

    value: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class BarReport(Record):
    """A bar of a distribution.

    Attributes:
        low: where its range begins: a number in the column's unit, or a moment in ISO 8601; None for texts.
        high: where it ends; equal to `low` for a bar of one value.
        value: the text; None for what is no text, and for the bar of all other texts.
        rows: the number of rows. Values outside the middle 99 % are in the first and the last bar.
    """

    low: float | str | None
    high: float | str | None
    value: str | None
    rows: int


@dataclass(frozen=True, kw_only=True)
class ColumnProfile(Record):
    """What a column holds. What does not apply to its kind is None.

    Attributes:
        column: its name.
        type: its Arrow type, as text.
        kind: `number`, `text` (and booleans), `moment` (times and dates) or `other`, of which only missing values are counted.
        missing: the number of rows without a value, NaN among them.
        missing_percent: their share, in percent.
        distinct: the number of different values, estimated by HyperLogLog to a few percent.
        mean: of the finite values; a moment in ISO 8601 for moments.
        stddev: of a sample, in the column's unit; in seconds for moments.
        min: the smallest value; exact for whole numbers, while other figures of a column are those of doubles.
        p05: the 5 % quantile.
        median: the 50 % quantile.
        p95: the 95 % quantile.
        max: the largest value.
        zeros_percent: the share of zeros among the rows with a value, in percent.
        frequent: the most frequent texts, ten at most.
        bars: the distribution: twenty bars of equal width at most, or the ten most frequent texts and all others.
        remarks: what to look at before a model is fitted, a sentence each.
    """

    column: str
    type: str
    kind: Kind
    missing: int
    missing_percent: float
    distinct: int | None
    mean: float | str | None
    stddev: float | None
    min: float | int | str | None
    p05: float | str | None
    median: float | str | None
    p95: float | str | None
    max: float | int | str | None
    zeros_percent: float | None
    frequent: tuple[FrequentValue, ...]
    bars: tuple[BarReport, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TableProfile(Record):
    """What the columns of a table hold.

    Attributes:
        table: its name; the name of a file, `query` or `frame` for what is no table.
        env: the environment from which it was read.
        version: the number of the Delta version; None for what is no table.
        rows: the number of its rows.
        columns: in the order of the table.
    """

    table: str
    env: str
    version: int | None
    rows: int
    columns: tuple[ColumnProfile, ...]


@operation("table profile", of="rows")
def profile_table(
    workspace: Workspace, rows: Relation, *, version: int | None = None, columns: Sequence[str] | None = None
) -> TableProfile:
    """Profiles a table, the answer to a SELECT, or rows in memory, with the figures that monitoring stores of predictions.

    Args:
        workspace: the environment.
        rows: the name of a table, the path of a file, a SELECT, or a table in memory.
        version: the number of a Delta version of a table; None: the latest.
        columns: their names; None: all.

    Raises:
        NotFoundError: there is no such table, version, file or column.
        SqlError: the SELECT cannot be parsed, or reads what is not a table of the lakehouse.
        LimitError: its answer is too large.
        DataError: there is no row or no column.
        DeclarationError: a version of what is no table.
    """
    found = open_relation(workspace, rows, version=version)
    fields = chosen(found.schema, columns, found.name)
    with workspace.lakehouse.connect(found.tables, arrow=found.arrow) as connection:
        count = connection.sql(f"select count(*) from {found.sql}").fetchall()[0][0]
        reports = _Columns(connection, found.sql, count).report(fields)
    return TableProfile(
        table=found.name, env=workspace.environment.name, version=found.version, rows=count, columns=tuple(reports)
    )


def kind_of(type_: pa.DataType) -> Kind:
    """What can be said of values of a type."""
    if pa.types.is_timestamp(type_) or pa.types.is_date(type_):
        return "moment"
    if pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return "number"
    simple = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_boolean)
    if any(test(type_) for test in simple):
        return "text"
    if pa.types.is_dictionary(type_):
        return kind_of(type_.value_type)
    return "other"


def watched(fields: Sequence[pa.Field]) -> list[MonitoredColumn]:
    """Columns whose distribution can be drawn, as histograms count them: moments are seconds since 1970."""
    from headrace.monitoring.blocks import MonitoredColumn

    found: list[MonitoredColumn] = []
    for field in fields:
        kind, name = kind_of(field.type), column(field.name)
        if kind == "text":
            found.append(MonitoredColumn(name=field.name, expression=name, kind="string"))
        elif kind != "other":
            seconds = f"case when isfinite({name}) then epoch({name}) end"
            expression = seconds if kind == "moment" else name
            found.append(MonitoredColumn(name=field.name, expression=expression, kind="number"))
    return found


def bar_edges(bar: Bar, kind: Kind) -> tuple[float | str | None, float | str | None]:
    """Where a bar begins and ends, in the terms of its column."""
    return _told(bar.low, kind), _told(bar.high, kind)


class _Columns:
    """The columns of one relation."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, relation: str, rows: int) -> None:
        self._connection, self._relation, self._rows = connection, relation, rows

    def report(self, fields: Sequence[pa.Field]) -> list[ColumnProfile]:
        from headrace.monitoring.binning import make_grids
        from headrace.monitoring.histograms import Numbers, collect
        from headrace.monitoring.profile import profiles

        known = watched(fields)
        grids = make_grids(self._connection, self._relation, known)
        histograms = collect(self._connection, self._relation, grids, known)
        found = {each.column: each for each in profiles(histograms)}
        distinct = self._distinct([field for field in fields if kind_of(field.type) != "other"])
        ends = self._ends([field for field in fields if pa.types.is_integer(field.type)])
        reports: list[ColumnProfile] = []
        for field in fields:
            if field.name not in found:
                reports.append(self._other(field))
                continue
            held = histograms.columns[field.name]
            infinite = int(held.counts.sum() - held.finite.sum()) if isinstance(held, Numbers) else 0
            bars = self._bars(held, kind_of(field.type))
            reports.append(self._known(field, found[field.name], bars, distinct, ends, infinite))
        return reports

    def _bars(self, held: Numbers | Texts, kind: Kind) -> tuple[BarReport, ...]:
        from headrace.monitoring.bars import bars

        drawn = bars([held])
        edges = [bar_edges(bar, kind) for bar in drawn]
        return tuple(
            BarReport(low=low, high=high, value=bar.value, rows=bar.rows[0])
            for bar, (low, high) in zip(drawn, edges, strict=True)
        )

    def _distinct(self, fields: Sequence[pa.Field]) -> dict[str, int]:
        """Column → number of values, estimated; exact for what may have a value a row."""
        if not fields:
            return {}
        names = [_known_values(field) for field in fields]
        found = self._counts([f"approx_count_distinct({name})" for name in names])
        close = [place for place, count in enumerate(found) if count >= ALMOST * self._rows]
        exact = self._counts([f"count(distinct {names[place]})" for place in close]) if close else []
        found = [min(count, self._rows) for count in found]
        for place, count in zip(close, exact, strict=True):
            found[place] = count
        return {field.name: count for field, count in zip(fields, found, strict=True)}

    def _ends(self, fields: Sequence[pa.Field]) -> dict[str, tuple[int, int]]:
        """Column of whole numbers → the smallest and the largest one, which a double may not hold."""
        if not fields:
            return {}
        names = [column(field.name) for field in fields]
        found = self._counts([f"{function}({name})" for name in names for function in ("min", "max")])
        return {field.name: (found[2 * place], found[2 * place + 1]) for place, field in enumerate(fields)}

    def _counts(self, expressions: Sequence[str]) -> list[int]:
        return list(self._connection.sql(f"select {', '.join(expressions)} from {self._relation}").fetchall()[0])

    def _known(
        self,
        field: pa.Field,
        profile: Profile,
        bars: tuple[BarReport, ...],
        distinct: Mapping[str, int],
        ends: Mapping[str, tuple[int, int]],
        infinite: int,
    ) -> ColumnProfile:
        from headrace.monitoring.profile import QUANTILES

        kind = kind_of(field.type)
        missing = profile.num_nulls + (profile.num_nan or 0)
        quantiles = dict(zip(QUANTILES, profile.quantiles or (), strict=False))
        low, high = ends.get(field.name, (_told(profile.min, kind), _told(profile.max, kind)))
        zeros = None if profile.num_zeros is None or kind == "moment" or missing == self._rows else profile.num_zeros
        return ColumnProfile(
            column=field.name,
            type=str(field.type),
            kind=kind,
            missing=missing,
            missing_percent=PERCENT * missing / self._rows,
            distinct=distinct[field.name],
            mean=_told(profile.avg, kind),
            stddev=profile.stddev,
            min=low,
            p05=_told(quantiles.get(0.05), kind),
            median=_told(quantiles.get(0.5), kind),
            p95=_told(quantiles.get(0.95), kind),
            max=high,
            zeros_percent=None if zeros is None else PERCENT * zeros / (self._rows - missing),
            frequent=tuple(FrequentValue(value=value, rows=rows) for value, rows in profile.frequent or ()),
            bars=bars,
            remarks=tuple(self._remarks(field, missing, distinct[field.name], infinite)),
        )

    def _other(self, field: pa.Field) -> ColumnProfile:
        (missing,) = self._counts([f"count(*) - count({column(field.name)})"])
        return ColumnProfile(
            column=field.name,
            type=str(field.type),
            kind="other",
            missing=missing,
            missing_percent=PERCENT * missing / self._rows,
            distinct=None,
            mean=None,
            stddev=None,
            min=None,
            p05=None,
            median=None,
            p95=None,
            max=None,
            zeros_percent=None,
            frequent=(),
            bars=(),
            remarks=("all values are missing",) if missing == self._rows else (),
        )

    def _remarks(self, field: pa.Field, missing: int, distinct: int, infinite: int) -> list[str]:
        known = self._rows - missing
        if not known:
            return ["all values are missing"]
        found: list[str] = []
        if distinct == 1:
            found.append("one value in all rows" if not missing else "one value, or missing")
        share = PERCENT * missing / self._rows
        if infinite:
            found.append(f"{counted(infinite, 'infinite value')}, which the figures leave out")
        if share > SPARSE:
            found.append(f"{share:.0f} % missing")
        whole = kind_of(field.type) == "text" or pa.types.is_integer(field.type)
        if whole and distinct == self._rows > 1:
            found.append("another value in each row: a key?")
        return found


def _known_values(field: pa.Field) -> str:
    """SQL of a column in which NaN is missing."""
    name = column(field.name)
    return f"case when not isnan({name}) then {name} end" if pa.types.is_floating(field.type) else name


def _told(value: float | None, kind: Kind) -> float | str | None:
    """A number of a column, in its own terms: seconds since 1970 as a moment in ISO 8601, in UTC."""
    if value is None or kind != "moment":
        return value
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(value, UTC).replace(tzinfo=None).isoformat(timespec="seconds")
    except (OverflowError, OSError, ValueError):  # beyond the years 1 to 9999
        return f"{value:g} s after 1970" if math.isfinite(value) else None
