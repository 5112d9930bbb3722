"""Business figures: the SELECT of `hr.kpi`, aggregated by version and window, and the table that keeps what it gave.

DuckDB counts and averages, so that millions of rows become one row a version and window. All windows are computed from the
same versions of the tables, and replace those of before: outcomes that came late are in the window that they belong to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from headrace.core.clock import now
from headrace.core.errors import SqlError
from headrace.lakehouse.identifiers import literal, quoted
from headrace.lakehouse.sql import relation
from headrace.lakehouse.sql_errors import place
from headrace.lakehouse.writes import Upsert
from headrace.monitoring import windows
from headrace.monitoring.means import Sample, interval
from headrace.scoring.columns import AT
from headrace.training.labels import moment_sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.sql import Query
    from headrace.lakehouse.writes import Change
    from headrace.monitoring.declarations import Granularity, Kpi

TABLE = "metrics.kpis"
IDENTITY = ("model", "kpi", "version", "window_start")
WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT"}
NUMBERS = {*WHOLE, "UHUGEINT", "FLOAT", "DOUBLE", "BOOLEAN"}
MOMENTS = ("DATE", "TIMESTAMP")
MEMORY = "50%"  # of the machine's; beyond it spills


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A business figure of a version, in one window or over all time.

    Attributes:
        version: of the model; None: the figure could not be computed.
        start: of the window, UTC; None for all time.
        end: the first moment after it.
        rows: observations.
        counted: those with a finite value.
        mean: of these; None where there is none.
        low: of the 95 % interval; None for fewer than two values.
        high: of the same.
        total: their sum.
        deviation: their standard deviation; None for fewer than two values.
        reason: why there is no value or no interval; else empty.
    """

    version: int | None
    start: datetime | None = None
    end: datetime | None = None
    rows: int = 0
    counted: int = 0
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    total: float | None = None
    deviation: float | None = None
    reason: str = ""

    @property
    def sample(self) -> Sample | None:
        """What a comparison needs; None without a value."""
        return None if self.mean is None else Sample(rows=self.counted, mean=self.mean, deviation=self.deviation)


@dataclass(frozen=True, kw_only=True)
class StoredKpi:
    """A business figure as it was declared when it was computed last, with its figures.

    Attributes:
        name: of it.
        description: for people.
        unit: of its values.
        better: `higher` or `lower`.
        granularity: of its windows.
        measured_at: when a figure changed last.
        figures: by version; over all time first, then the windows.
    """

    name: str
    description: str
    unit: str
    better: str
    granularity: Granularity
    measured_at: datetime
    figures: tuple[Figure, ...]


def measure(
    lakehouse: Lakehouse,
    query: Query,
    inputs: Mapping[str, int],
    *,
    granularity: Granularity,
    as_of: datetime,
    predicted: Sequence[int] = (),
) -> list[Figure]:
    """What a SELECT gives, by version: over all time first, then by window.

    Args:
        lakehouse: the tables.
        query: the checked SELECT.
        inputs: the version of each table that it reads.
        granularity: of the windows.
        as_of: observations of a later time do not exist.
        predicted: versions that have predictions: each has a figure, though it may have no value yet.

    Raises:
        SqlError: a column is missing or of another type, or the SELECT fails.
    """
    # one thread: with more, sums of floating point numbers differ from run to run
    rows = lakehouse.ask(
        inputs, lambda connection: _aggregated(connection, query, granularity, as_of), threads=1, memory=MEMORY
    )
    figures = [_figure(row, granularity) for row in rows.to_pylist()]
    there = {each.version for each in figures}
    figures += [Figure(version=each, reason="no observation yet") for each in predicted if each not in there]
    early = datetime.min.replace(tzinfo=UTC)
    return sorted(figures, key=lambda each: (each.version or 0, each.start or early))


def keep(
    lakehouse: Lakehouse,
    model: str,
    kpi: Kpi,
    granularity: Granularity,
    figures: Sequence[Figure],
    *,
    id: str,  # noqa: A002
) -> None:
    """Writes the figures instead of those that were kept of the same name; nothing where none of them differs."""
    about = {
        "model": model,
        "kpi": kpi.name,
        "description": kpi.description,
        "unit": kpi.unit,
        "better": kpi.better,
        "granularity": granularity,
    }
    rows = [{**about, **_row(each)} for each in figures]
    lakehouse.commit(TABLE, id, lambda before: _replace(before, model, kpi.name, rows))


def forget(lakehouse: Lakehouse, model: str, declared: Sequence[str], *, id: str) -> None:  # noqa: A002
    """Removes the figures of a model that are no longer declared."""
    if not lakehouse.exists(TABLE, own=True):
        return

    def gone(before: Snapshot | None) -> Change | None:
        if before is None:
            return None
        there = before.to_arrow(columns=IDENTITY, where=f"model = {literal(model)}")
        rows = [row for row in there.to_pylist() if row["kpi"] not in declared]
        keys = pa.schema([SCHEMA.field(name) for name in IDENTITY])
        return Upsert(SCHEMA.empty_table(), key=IDENTITY, delete=pa.Table.from_pylist(rows, keys)) if rows else None

    lakehouse.commit(TABLE, id, gone)


def stored(lakehouse: Lakehouse, model: str, *, since: int | None = None) -> list[StoredKpi]:
    """The business figures of a model as they were kept last, by name.

    Args:
        lakehouse: the tables.
        model: its name.
        since: how many of the latest windows of each figure; None: all.
    """
    if not lakehouse.exists(TABLE, own=True):
        return []
    latest = f"qualify latest <= {int(since)}" if since is not None else ""
    with lakehouse.connect({TABLE: None}) as connection:
        rows = connection.sql(
            f"""
            select *, dense_rank() over (partition by kpi, window_start is null order by window_start desc) as latest
            from {quoted(TABLE)} where model = {literal(model)} {latest}
            order by kpi, version, window_start nulls first
            """
        ).to_arrow_table()
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        grouped.setdefault(row["kpi"], []).append(row)
    return [_stored(name, kept) for name, kept in grouped.items()]


# ---------------------------------------------------------------------------------------------- computing


def _aggregated(
    connection: duckdb.DuckDBPyConnection, query: Query, granularity: Granularity, as_of: datetime
) -> pa.Table:
    found = relation(connection, query)
    _check_columns(query, dict(zip(found.columns, map(str, found.types), strict=True)))
    timed = AT in found.columns
    at = f"{AT}::timestamptz" if timed else "null::timestamptz"
    start = windows.sql("_at", granularity)
    finite = "filter (isfinite(_value))"
    try:
        found.create_view("_observations")
        return connection.sql(
            f"""
            with observations as (
                select model_version::bigint as _version, {at} as _at, "value"::double as _value from _observations
            )
            select _version as version, {start} as start, count(*) as rows, count(_value) {finite} as counted,
                avg(_value) {finite} as mean, fsum(_value) {finite} as total,
                case when count(_value) {finite} > 1 then stddev_samp(_value) {finite} end as deviation
            from observations
            where _version is not null {f"and _at < {moment_sql(as_of)}" if timed else ""}
            group by grouping sets ((_version), (_version, start)) {"" if timed else "having grouping(start) = 1"}
            """,
        ).to_arrow_table()
    except duckdb.Error as error:  # while the rows are computed: DuckDB knows no line of the user's
        raise SqlError(f"{place(query.sql, 1)}: the SQL fails: {str(error).splitlines()[0]}") from None


def _check_columns(query: Query, types: Mapping[str, str]) -> None:
    """That the columns are there, in types that can be computed with.

    Raises:
        SqlError: one is missing, or of another type.
    """
    where = place(query.sql, 1)
    for name in ("model_version", "value"):
        if name not in types:
            raise SqlError(
                f"{where}: a business figure needs the column {name!r}; there is {', '.join(map(repr, types))}.",
                hint=f"Select model_version, value, and {AT} for the window.",
            )
    possible = {
        "model_version": (types["model_version"] in WHOLE, "Select model_version of the table of predictions."),
        "value": (
            types["value"] in NUMBERS or types["value"].startswith("DECIMAL"),
            "Select a number; of an interval: epoch(value) / 60, in minutes.",
        ),
        AT: (
            types.get(AT, "DATE").startswith(MOMENTS),
            f"Select a date or a timestamp; of a text: {AT}::timestamptz.",
        ),
    }
    for name, (fits, hint) in possible.items():
        if not fits:
            raise SqlError(f"{where}: the column {name!r} of a business figure is {types[name]}.", hint=hint)


def _figure(row: Mapping[str, Any], granularity: Granularity) -> Figure:
    start = None if row["start"] is None else row["start"].astimezone(UTC)
    mean, deviation, total = (_finite(row[name]) for name in ("mean", "deviation", "total"))
    counted = row["counted"]
    found = None if mean is None else interval(Sample(rows=counted, mean=mean, deviation=deviation))
    reason = ""
    if mean is None:
        reason = "its values are too large" if counted else f"none of {row['rows']:,} has a value yet"
    elif counted == 1:
        reason = "one value has no interval"
    elif deviation is None:
        reason = "its values are too large for an interval"
    return Figure(
        version=row["version"],
        start=start,
        end=None if start is None else windows.end_of(start, granularity),
        rows=row["rows"],
        counted=counted,
        mean=mean,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        total=total,
        deviation=deviation,
        reason=reason,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


# ---------------------------------------------------------------------------------------------- the table


def _row(figure: Figure) -> dict[str, Any]:
    values = {name: value for name, value in vars(figure).items() if name not in ("start", "end")}
    return {**values, "window_start": figure.start, "window_end": figure.end}


def _replace(before: Snapshot | None, model: str, kpi: str, rows: Sequence[Mapping[str, Any]]) -> Change | None:
    old: list[dict[str, Any]] = []
    if before is not None:
        old = before.to_arrow(where=f"model = {literal(model)} and kpi = {literal(kpi)}").to_pylist()
    there = {_key(row): {name: row.get(name) for name in SCHEMA.names[:-1]} for row in old}
    at = now()
    made = {_key(row): dict(row) for row in rows}
    changed = [{**row, "measured_at": at} for key, row in made.items() if there.get(key) != row]
    gone = [{name: row[name] for name in IDENTITY} for key, row in there.items() if key not in made]
    if not changed and not gone:
        return None
    keys = pa.schema([SCHEMA.field(name) for name in IDENTITY])
    return Upsert(
        pa.Table.from_pylist(changed, SCHEMA), key=IDENTITY, delete=pa.Table.from_pylist(gone, keys) if gone else None
    )


def _key(row: Mapping[str, Any]) -> tuple[int | None, datetime | None]:
    return row["version"], row["window_start"]


def _stored(name: str, rows: Sequence[Mapping[str, Any]]) -> StoredKpi:
    first = rows[0]
    figures = (
        Figure(
            start=None if row["window_start"] is None else row["window_start"].astimezone(UTC),
            end=None if row["window_end"] is None else row["window_end"].astimezone(UTC),
            **{each: row[each] for each in FIGURES},
        )
        for row in rows
    )
    return StoredKpi(
        name=name,
        description=first["description"],
        unit=first["unit"],
        better=first["better"],
        granularity=first["granularity"],
        measured_at=max(row["measured_at"] for row in rows).astimezone(UTC),
        figures=tuple(figures),
    )


FIGURES = tuple(name for name in Figure.__annotations__ if name not in ("start", "end"))
UTC_US = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("kpi", pa.string()),
        ("description", pa.string()),
        ("unit", pa.string()),
        ("better", pa.string()),
        ("granularity", pa.string()),
        ("version", pa.int64()),
        ("window_start", UTC_US),
        ("window_end", UTC_US),
        ("rows", pa.int64()),
        ("counted", pa.int64()),
        *((name, pa.float64()) for name in ("mean", "low", "high", "total", "deviation")),
        ("reason", pa.string()),
        ("measured_at", UTC_US),
    ]
)
