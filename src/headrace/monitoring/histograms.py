"""Histograms over fixed bins, with what profiles need beside the counts: one small GROUP BY a column. They add up.

A row for each window, column and bin: count, sum and sum of squares around the grid's shift, smallest, largest, zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from headrace.monitoring.grid import Grid, MonitoredColumn

SCHEMA = pa.schema(
    [
        ("window_start", pa.timestamp("us", "UTC")),
        ("column_name", pa.string()),
        ("bin", pa.int32()),  # of a number; null for missing
        ("value", pa.string()),  # of a text; null for missing
        ("count", pa.int64()),
        ("sum", pa.float64()),
        ("squares", pa.float64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("zeros", pa.int64()),
    ]
)
IDENTITY = ("window_start", "column_name", "bin", "value")


@dataclass(frozen=True, kw_only=True)
class Histograms:
    """Histograms of several windows and columns, over the same grids.

    Attributes:
        rows: by SCHEMA.
        grids: column → bins; a text column has none.
    """

    rows: pa.Table
    grids: Mapping[str, Grid]


def collect(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    grids: Mapping[str, Grid],
    columns: Sequence[MonitoredColumn],
    *,
    window: str | None = None,
) -> Histograms:
    """Counts the rows of a relation.

    Args:
        connection: in which it can be read.
        relation: SQL of the rows.
        grids: of the numeric columns.
        columns: to count.
        window: SQL for the beginning of the window of a row; None for one window.
    """
    began = window or "null::timestamptz"
    parts = [
        _number(column, grids[column.name], relation, began)
        if column.kind == "number"
        else _text(column, relation, began)
        for column in columns
    ]
    made = connection.sql("\nunion all\n".join(parts)).to_arrow_table() if parts else SCHEMA.empty_table()
    return Histograms(rows=made.cast(SCHEMA), grids=grids)


def merge(several: Sequence[Histograms], *, window: object = None) -> Histograms:
    """Adds histograms up; counts to the last one, sums up to rounding.

    Args:
        several: over the same grids.
        window: beginning of the window that they make together; None keeps the windows apart.

    Raises:
        ValueError: their grids differ.
    """
    first = several[0]
    if any(
        {name: grid.id for name, grid in each.grids.items()} != {name: grid.id for name, grid in first.grids.items()}
        for each in several
    ):
        raise ValueError("histograms over different bins do not add up.")
    rows = pa.concat_tables([each.rows for each in several])
    if window is not None:
        began = pa.array([window] * rows.num_rows, SCHEMA.field("window_start").type)
        rows = rows.set_column(0, "window_start", began)
    added = rows.group_by(list(IDENTITY), use_threads=False).aggregate(
        [("count", "sum"), ("sum", "sum"), ("squares", "sum"), ("min", "min"), ("max", "max"), ("zeros", "sum")]
    )
    named = added.rename_columns([*IDENTITY, "count", "sum", "squares", "min", "max", "zeros"])
    return Histograms(rows=named.cast(SCHEMA), grids=first.grids)


def of_window(histograms: Histograms, window: object) -> Histograms:
    """The histograms of one window."""
    chosen = [each == window for each in histograms.rows.column("window_start").to_pylist()]
    return Histograms(rows=histograms.rows.filter(pa.array(chosen, pa.bool_())), grids=histograms.grids)


def _number(column: MonitoredColumn, grid: Grid, relation: str, began: str) -> str:
    value = f"({column.expression})::double"
    finite = f"case when isfinite({value}) then {value} end"
    moved = f"({finite} - ({grid.shift!r}))"
    return f"""
        select
            {began} as window_start, {_literal(column.name)} as column_name, {grid.sql(column.expression)} as bin,
            null::varchar as value, count(*) as count, sum({moved}) as sum, sum({moved} * {moved}) as squares,
            min({finite}) as min, max({finite}) as max, count(*) filter (where {value} = 0) as zeros
        from {relation}
        group by all
    """


def _text(column: MonitoredColumn, relation: str, began: str) -> str:
    return f"""
        select
            {began} as window_start, {_literal(column.name)} as column_name, null::usmallint as bin,
            ({column.expression})::varchar as value, count(*) as count, null::double as sum, null::double as squares,
            null::double as min, null::double as max, 0 as zeros
        from {relation}
        group by all
    """


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
