"""Histograms over fixed bins, with what profiles need beside the counts: one small GROUP BY a column. They add up.

A row for each window, slice, column and bin: count, sum and sum of squares around the grid's shift, smallest, largest,
zeros. Of a text, the sums are those of its length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.lakehouse.sql import literal
from headrace.monitoring.grid import MINUS_INFINITY, NAN, OVER, PLUS_INFINITY, UNDER, VALUES, Bins, Categories, double

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb

    from headrace.monitoring.grid import Grid, MonitoredColumn

SCHEMA = pa.schema(
    [
        ("window_start", pa.timestamp("us", "UTC")),
        ("slice_key", pa.string()),  # null, with slice_value: all rows
        ("slice_value", pa.string()),
        ("column_name", pa.string()),
        ("bin", pa.int32()),  # of a number; for a text, OTHERS or null
        ("value", pa.string()),  # of a text. With bin null: missing
        ("count", pa.int64()),
        ("sum", pa.float64()),
        ("squares", pa.float64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("zeros", pa.int64()),
    ]
)
IDENTITY = ("window_start", "slice_key", "slice_value", "column_name", "bin", "value")
OTHERS = 0  # the bin of texts without one of their own
NEW_VALUES = 4 * VALUES  # of a text column in one window; the rarest of more than that share the bin of the others

Counts = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """One numeric column of one window and slice, dense: a place for each bin in the order of the values.

    Attributes:
        counts: from minus infinity over the bins of the grid to plus infinity.
        means: of the values of a bin; NaN where it is empty, or of infinities.
        lows: the smallest value of a bin.
        highs: the largest.
        squares: the sum of the squared distances from the grid's shift, over all finite values.
        moved: the sum of those distances.
        zeros: values that are 0.
        nans: values that are not a number.
        nulls: rows without a value.
    """

    counts: Counts
    means: Counts
    lows: Counts
    highs: Counts
    squares: float
    moved: float
    zeros: int
    nans: int
    nulls: int

    @property
    def finite(self) -> Counts:
        """The counts without those of the infinities."""
        return np.concatenate([[0.0], self.counts[1:-1], [0.0]])

    @property
    def missing(self) -> int:
        """Rows with nothing to compute with."""
        return self.nans + self.nulls

    @property
    def rows(self) -> int:
        """All of them."""
        return int(self.counts.sum()) + self.missing


@dataclass(frozen=True, kw_only=True)
class Texts:
    """One text column of one window and slice.

    Attributes:
        counts: value → rows.
        others: rows with a value that has no bin of its own.
        missing: rows without a value.
        length: of all values together, in characters.
        shortest: value; None where there is none.
        longest: value.
    """

    counts: Mapping[str, int]
    others: int
    missing: int
    length: float
    shortest: int | None
    longest: int | None

    @property
    def rows(self) -> int:
        """All of them."""
        return sum(self.counts.values()) + self.others + self.missing


@dataclass(frozen=True, kw_only=True)
class Histograms:
    """Histograms of windows, slices and columns, over the same grids.

    Attributes:
        rows: by SCHEMA.
        grids: column → bins.
    """

    rows: pa.Table
    grids: Mapping[str, Grid]

    @cached_property
    def columns(self) -> dict[str, Numbers | Texts]:
        """Column → what it holds; of one window and one slice."""
        found: dict[str, Numbers | Texts] = {}
        for (name,), rows in _split(self.rows, "column_name"):
            grid = self.grids.get(name or "")
            found[name or ""] = _dense(rows, grid) if isinstance(grid, Bins) else _texts(rows)
        return found

    def slices(self) -> Iterator[tuple[str | None, str | None, Histograms]]:
        """Each slice: what it is cut by, the value, its histograms. First all rows, by nothing."""
        yield from self._slices

    @cached_property
    def _slices(self) -> list[tuple[str | None, str | None, Histograms]]:
        return [
            (key, value, Histograms(rows=rows, grids=self.grids))
            for (key, value), rows in _split(self.rows, "slice_key", "slice_value")
        ]


def collect(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    grids: Mapping[str, Grid],
    columns: Sequence[MonitoredColumn],
    *,
    window: str | None = None,
    slices: Sequence[MonitoredColumn] = (),
) -> Histograms:
    """Counts the rows of a relation.

    Args:
        connection: in which it can be read.
        relation: SQL of the rows, as it stands after FROM.
        grids: of the columns; every numeric one needs one.
        columns: to count.
        window: SQL for the beginning of the window of a row; None for one window.
        slices: columns by whose values the rows are counted apart too, after all rows together.
    """
    queries = [
        _query(column, grids.get(column.name), relation, window, cut) for cut in (None, *slices) for column in columns
    ]
    made = connection.sql("\nunion all\n".join(queries)).to_arrow_table() if queries else SCHEMA.empty_table()
    return Histograms(rows=made.cast(SCHEMA), grids=dict(grids))


def merge(several: Sequence[Histograms], *, window: object = None) -> Histograms:
    """Adds histograms up; counts to the last one, sums up to rounding.

    Args:
        several: over the same grids.
        window: beginning of the window that they make together; None keeps the windows apart.

    Raises:
        ValueError: their grids differ.
    """
    first = several[0]
    specs = {name: grid.id for name, grid in first.grids.items()}
    if any({name: grid.id for name, grid in each.grids.items()} != specs for each in several[1:]):
        raise ValueError("histograms over different bins do not add up.")
    rows = pa.concat_tables([each.rows for each in several])
    if window is not None:
        began = pa.array([window] * rows.num_rows, SCHEMA.field("window_start").type)
        rows = rows.set_column(0, "window_start", began)
    return Histograms(rows=_added(rows), grids=first.grids)


def of_window(histograms: Histograms, window: object) -> Histograms:
    """The histograms of one window; None for the one that has no beginning."""
    chosen = [each == window for each in histograms.rows.column("window_start").to_pylist()]
    return Histograms(rows=histograms.rows.filter(pa.array(chosen, pa.bool_())), grids=histograms.grids)


# ---------------------------------------------------------------------------------------------- counting


def _query(
    column: MonitoredColumn, grid: Grid | None, relation: str, window: str | None, cut: MonitoredColumn | None
) -> str:
    """The bins of one column. What is constant stays out of the GROUP BY, so that small numbers alone are hashed."""
    keys = {"__window": window, "__slice": None if cut is None else f"({cut.expression})::varchar"}
    kept = {name: sql for name, sql in keys.items() if sql is not None}
    values = ", ".join(
        [
            *(f"{sql} as {name}" for name, sql in kept.items()),
            f"({column.expression})::{'double' if column.kind == 'number' else 'varchar'} as __value",
        ]
    )
    head = f"""
            {"null" if window is None else "__window"}::timestamptz as window_start,
            {"null" if cut is None else literal(cut.name)}::varchar as slice_key,
            {"null" if cut is None else "__slice"}::varchar as slice_value,
            {literal(column.name)} as column_name"""
    source = f"(select {values} from {relation})"
    by = "".join(f"{name}, " for name in kept)
    if column.kind == "string":
        return _texts_query(head, by, source, grid)
    if not isinstance(grid, Bins):
        raise KeyError(f"the numeric column {column.name!r} has no bins.")
    return _numbers_query(head, by, source, grid)


def _numbers_query(head: str, by: str, source: str, grid: Bins) -> str:
    moved = f"(__value - {double(grid.shift)})"
    return f"""
        select {head},
            __bin as bin, null::varchar as value, __count as count,
            case when __bin <= {OVER} then __sum end as sum, case when __bin <= {OVER} then __squares end as squares,
            case when __bin <= {OVER} then __min end as min, case when __bin <= {OVER} then __max end as max,
            __zeros as zeros
        from (
            select
                {by}{grid.sql("__value")} as __bin, count(*) as __count, sum({moved}) as __sum,
                sum({moved} * {moved}) as __squares, min(__value) as __min, max(__value) as __max,
                count(*) filter (where __value = 0) as __zeros
            from {source}
            group by {by}__bin
        )
    """


def _texts_query(head: str, by: str, source: str, grid: Grid | None) -> str:
    """Values are counted first; those without a bin of their own are put together after that."""
    if isinstance(grid, Categories) and grid.values is not None:
        alone = f"__value in ({', '.join(literal(value) for value in grid.values) or 'null'})"
    else:
        alone = f"__place <= {NEW_VALUES}"
    folded = f"__value is not null and not coalesce({alone}, false)"
    partition = f"partition by {by.rstrip(', ')} " if by else ""
    return f"""
        select {head},
            case when {folded} then {OTHERS} end as bin, case when not ({folded}) then __value end as value,
            sum(__count) as count, sum(length(__value) * __count)::double as sum,
            sum(length(__value) ** 2 * __count)::double as squares, min(length(__value))::double as min,
            max(length(__value))::double as max, 0 as zeros
        from (
            select
                {by}__value, count(*) as __count,
                row_number() over ({partition}order by count(*) desc, __value) as __place
            from {source}
            group by {by}__value
        )
        group by {by}bin, value
    """


def _added(rows: pa.Table) -> pa.Table:
    """Rows of the same bin as one."""
    added = rows.group_by(list(IDENTITY), use_threads=False).aggregate(
        [("count", "sum"), ("sum", "sum"), ("squares", "sum"), ("min", "min"), ("max", "max"), ("zeros", "sum")]
    )
    return added.rename_columns([*IDENTITY, "count", "sum", "squares", "min", "max", "zeros"]).cast(SCHEMA)


def _split(rows: pa.Table, *names: str) -> Iterator[tuple[tuple[str | None, ...], pa.Table]]:
    """The rows of each combination of values, in the order of the values, null first."""
    codes = np.zeros(rows.num_rows, dtype=np.int64)
    values: list[list[str | None]] = []
    for name in names:
        encoded = rows.column(name).combine_chunks().dictionary_encode()
        known = encoded.dictionary.to_pylist()
        order = sorted(range(len(known)), key=known.__getitem__)
        places = np.empty(len(known) + 1, dtype=np.int64)
        places[order] = np.arange(1, len(known) + 1)
        places[-1] = 0  # null has the code -1
        codes = codes * (len(known) + 1) + places[encoded.indices.fill_null(-1).to_numpy()]
        values.append([None, *(known[place] for place in order)])
    found = np.unique(codes)
    for code in found.tolist():
        chosen = rows if len(found) == 1 else rows.take(pa.array(np.flatnonzero(codes == code)))
        key: list[str | None] = []
        for several in reversed(values):
            code, place = divmod(code, len(several))  # noqa: PLW2901
            key.append(several[place])
        yield tuple(reversed(key)), chosen


# ---------------------------------------------------------------------------------------------- one column


@np.errstate(invalid="ignore", over="ignore")  # sums of the largest numbers are infinite
def _dense(rows: pa.Table, grid: Bins) -> Numbers:
    given = {name: rows.column(name).to_numpy() for name in ("count", "sum", "squares", "min", "max", "zeros")}
    places = rows.column("bin").fill_null(-1).to_numpy()
    width = PLUS_INFINITY + 1
    counts, sums = np.zeros(width), np.zeros(width)
    lows, highs = np.full(width, np.inf), np.full(width, -np.inf)
    known, measured = places >= 0, (places >= UNDER) & (places <= OVER)
    np.add.at(counts, places[known], given["count"][known])
    np.add.at(sums, places[measured], given["sum"][measured])
    np.minimum.at(lows, places[measured], given["min"][measured])
    np.maximum.at(highs, places[measured], given["max"][measured])
    in_order = np.r_[MINUS_INFINITY, UNDER : OVER + 1, PLUS_INFINITY]
    lows[[MINUS_INFINITY, PLUS_INFINITY]] = highs[[MINUS_INFINITY, PLUS_INFINITY]] = -np.inf, np.inf
    filled = counts > 0
    means = grid.shift + np.divide(sums, counts, out=np.full(width, np.nan), where=filled)
    means = np.where(filled & ~np.isfinite(means), lows / 2 + highs / 2, means)  # a sum was too large for a double
    means[[MINUS_INFINITY, PLUS_INFINITY]] = np.nan
    return Numbers(
        counts=counts[in_order],
        means=means[in_order],
        lows=lows[in_order],
        highs=highs[in_order],
        squares=float(given["squares"][measured].sum()),
        moved=float(given["sum"][measured].sum()),
        zeros=int(given["zeros"][measured].sum()),
        nans=int(counts[NAN]),
        nulls=int(given["count"][~known].sum()),
    )


def _texts(rows: pa.Table) -> Texts:
    counts: dict[str, int] = {}
    others = missing = 0
    for place, value, count in zip(*(rows.column(name).to_pylist() for name in ("bin", "value", "count")), strict=True):
        if value is not None:
            counts[value] = counts.get(value, 0) + count
        elif place is None:
            missing += count
        else:
            others += count
    lengths = {name: rows.column(name).to_numpy() for name in ("sum", "min", "max")}
    known = not np.isnan(lengths["min"]).all()
    return Texts(
        counts=counts,
        others=others,
        missing=missing,
        length=float(np.nansum(lengths["sum"])),
        shortest=int(np.nanmin(lengths["min"])) if known else None,
        longest=int(np.nanmax(lengths["max"])) if known else None,
    )
