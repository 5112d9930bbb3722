"""Histograms over fixed bins, with the sums that profiles need in addition to the counts. They add up.

A row for each window, slice, column and bin: count, sum and sum of squares around the grid's shift, smallest, largest,
zeros. Of a text, the sums are those of its length.

Every figure depends only on the rows, to the last bit: their order, files, threads and the store make no
difference. Floats are therefore added as whole numbers of a unit that the bins fix; the few beyond the bins are sorted
first.
"""

# pyarrow.compute makes its functions when it is imported
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.monitoring.binning import MINUS_INFINITY, NAN, OVER, PLUS_INFINITY, UNDER, VALUES, Bins, Categories
from headrace.monitoring.blocks import read_blocks
from headrace.training.slices import slice_codes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb

    from headrace.monitoring.binning import Grid
    from headrace.monitoring.blocks import MonitoredColumn
    from headrace.training.slices import Codes

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
NULL = PLUS_INFINITY + 1
WIDTH = NULL + 1  # places for the rows of a numeric column
STRETCH = 2**16  # rows that are counted at a time
FEW = 2**20  # places that cost next to nothing
HALF = 1e150  # the square of more is no double
NEW_VALUES = 4 * VALUES  # of a text column in one window; the rarest of more than that share the bin of the others

Counts = np.ndarray[Any, np.dtype[np.float64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


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
    for each in columns:
        if each.kind == "number" and not isinstance(grids.get(each.name), Bins):
            raise KeyError(f"the numeric column {each.name!r} has no bins.")
    beside = {} if window is None else {"began": f"({window})::timestamptz"}
    beside |= {f"s{place}": each.expression for place, each in enumerate(slices)}
    parts: list[_Part] = []
    for keys, block in read_blocks(connection, relation, columns, beside):
        cuts = _cuts(keys, window is not None, slices)
        for name, values in block.items():
            grid = grids.get(name)
            counter = _Numbers(values, grid) if isinstance(grid, Bins) else _Words(values, grid)
            parts += [counter.count(cut, name) for cut in cuts]
    return Histograms(rows=_table(parts), grids=dict(grids))


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


# ---------------------------------------------------------------------------------------------- counting


@dataclass(frozen=True, kw_only=True)
class _Cut:
    """Rows by window and by the values of one column to slice by; or by window alone.

    Attributes:
        key: name of the column; None for all rows.
        groups: of each row, which group it is in; None where all are in one.
        began: beginning of the window of each group.
        texts: value of the slice of each group.
    """

    key: str | None
    groups: Codes | None
    began: list[Any]
    texts: list[str | None]


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Rows of SCHEMA of one column and cut, by array; `place` and `value` are None where all are null."""

    cut: _Cut
    column: str
    groups: Codes
    bins: pa.Array
    values: pa.Array
    counts: Codes
    sums: pa.Array
    squares: pa.Array
    lows: pa.Array
    highs: pa.Array
    zeros: Codes


def _cuts(keys: pa.Table, by_window: bool, slices: Sequence[MonitoredColumn]) -> list[_Cut]:
    """All rows, then each column to slice by."""
    rows = keys.num_rows
    windows, began = np.zeros(rows, dtype=np.int64), [None]
    if by_window:
        encoded = keys.column("began").combine_chunks().dictionary_encode()
        order = pc.array_sort_indices(encoded.dictionary).to_numpy()
        places = np.append(np.argsort(order), len(order))  # null has the code -1
        windows = places[encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
        began = [*encoded.dictionary.take(pa.array(order)).to_pylist(), None]
    cuts = [_Cut(key=None, groups=windows if by_window else None, began=began, texts=[None] * len(began))]
    for place, each in enumerate(slices):
        codes, texts = slice_codes(keys.column(f"s{place}"))
        present, groups = np.unique(windows * len(texts) + codes, return_inverse=True)
        several = [divmod(code, len(texts)) for code in present.tolist()]
        cuts.append(
            _Cut(
                key=each.name,
                groups=groups,
                began=[began[window] for window, _ in several],
                texts=[texts[code] for _, code in several],
            )
        )
    return cuts


class _Numbers:
    """A numeric column, with the bin of each value: they are found once for all cuts."""

    def __init__(self, values: pa.ChunkedArray, grid: Bins) -> None:
        self.values = values.to_numpy() + 0.0  # a copy, in which no zero is negative
        self.grid = grid
        self.places = np.empty(len(self.values), dtype=np.intp)
        for rows in _stretches(len(self.values)):
            self.places[rows] = grid.places(self.values[rows])
        if values.null_count:
            self.places[values.is_null().to_numpy()] = NULL
        outer = (self.places == UNDER) | (self.places == OVER)
        self.outer = np.flatnonzero(outer)
        self.outer = self.outer[np.argsort(self.values[self.outer], kind="stable")]

    @np.errstate(invalid="ignore", over="ignore")  # sums of the largest numbers are infinite
    def count(self, cut: _Cut, column: str) -> _Part:
        keys, known = self._keys(cut)
        size = len(known)
        counts, zeros = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
        lows, highs = np.full(size, np.inf), np.full(size, -np.inf)
        sums, squares = (
            _Sum(size, self.grid.reach),
            _Sum(size, self.grid.reach**2 if self.grid.reach < HALF else np.inf),
        )
        for rows in _stretches(len(keys)):
            mine, values, places = keys[rows], self.values[rows], self.places[rows]
            counts += np.bincount(mine, minlength=size)
            zeros += np.bincount(mine[values == 0], minlength=size)
            np.minimum.at(lows, mine, values)
            np.maximum.at(highs, mine, values)
            inner = (places > UNDER) & (places < OVER)
            if not inner.all():
                mine, values = mine[inner], values[inner]
            away = values - self.grid.shift
            sums.add(mine, away)
            squares.add(mine, away * away)
        away = self.values[self.outer] - self.grid.shift
        sums.add_sorted(keys[self.outer], away)
        squares.add_sorted(keys[self.outer], away * away)
        there = np.flatnonzero(counts)
        groups, bins = np.divmod(known[there], WIDTH)
        without = bins > OVER  # infinities, NaN and nulls have nothing to compute with
        return _Part(
            cut=cut,
            column=column,
            groups=groups,
            bins=pa.array(bins, pa.int32(), mask=bins == NULL),
            values=pa.nulls(len(bins), pa.string()),
            counts=counts[there],
            sums=pa.array(sums.total()[there], mask=without),
            squares=pa.array(squares.total()[there], mask=without),
            lows=pa.array(lows[there], mask=without),
            highs=pa.array(highs[there], mask=without),
            zeros=zeros[there],
        )

    def _keys(self, cut: _Cut) -> tuple[Codes, Codes]:
        """Of each row, its place among those of groups and bins; which those are."""
        if cut.groups is None:
            return self.places, np.arange(WIDTH)
        return _compact(cut.groups * WIDTH + self.places, len(cut.texts) * WIDTH)


class _Sum:
    """Sums of floats, each of a key, that are the same to the last bit in whatever order they come.

    A number of at most 2^e is split into a whole number of 2^(e - 26) and the rest into one of 2^(e - 53): sums of up to
    2^27 of them are whole numbers below 2^53, which floats hold exactly.
    """

    def __init__(self, size: int, reach: float) -> None:
        self.exact = 1e-200 < reach < 1e200
        self.exponent = math.frexp(reach)[1] if self.exact else 0
        self.upper, self.lower, self.further = np.zeros(size), np.zeros(size), np.zeros(size)
        self.later: list[tuple[Codes, Counts]] = []

    def add(self, keys: Codes, values: Counts) -> None:
        """In no order."""
        if not self.exact:
            self.later.append((keys, values))
            return
        scaled = values * 2.0 ** (26 - self.exponent)
        whole = np.rint(scaled)
        scaled -= whole
        scaled *= 2.0**27
        self.upper += np.bincount(keys, weights=whole, minlength=len(self.upper))
        self.lower += np.bincount(keys, weights=np.rint(scaled), minlength=len(self.lower))

    def add_sorted(self, keys: Codes, values: Counts) -> None:
        """In the order of what they were made from, which is always the same."""
        if len(keys):
            self.further += np.bincount(keys, weights=values, minlength=len(self.further))

    def total(self) -> Counts:
        """Of each key."""
        if self.later:
            keys, values = (np.concatenate(each) for each in zip(*self.later, strict=True))
            order = np.argsort(values, kind="stable")
            self.add_sorted(keys[order], values[order])
        return (self.upper + self.lower * 2.0**-27) * 2.0 ** (self.exponent - 26) + self.further


class _Words:
    """A text column, as places in its sorted values."""

    def __init__(self, values: pa.ChunkedArray, grid: Grid | None) -> None:
        encoded = values.combine_chunks().dictionary_encode()
        order = pc.array_sort_indices(encoded.dictionary)
        places = np.append(np.argsort(order.to_numpy()), len(order))  # null has the code -1
        self.texts = encoded.dictionary.take(order)
        self.codes = places[encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
        self.lengths = pc.utf8_length(self.texts).to_numpy().astype(np.float64)
        self.own: Flags | None = None
        if isinstance(grid, Categories) and grid.values is not None:
            self.own = pc.is_in(self.texts, pa.array(grid.values, pa.string())).to_numpy(zero_copy_only=False)

    def count(self, cut: _Cut, column: str) -> _Part:
        width = len(self.texts) + 1
        keys, known = self.codes, np.arange(width)
        if cut.groups is not None:
            keys, known = _compact(cut.groups * width + self.codes, len(cut.texts) * width)
        rows = np.bincount(keys, minlength=len(known))
        there = np.flatnonzero(rows)
        groups, codes = np.divmod(known[there], width)
        rows = rows[there]
        missing = codes == len(self.texts)
        folded = ~missing & ~self._alone(groups, codes, rows)
        lengths = np.append(self.lengths, 0.0)[codes]
        # rows of values without a bin of their own make one, before those that have one
        together = groups * (width + 1) + np.where(folded, 0, codes + 1)
        _, first, bins = np.unique(together, return_index=True, return_inverse=True)
        lows, highs = np.full(len(first), np.inf), np.full(len(first), -np.inf)
        np.minimum.at(lows, bins, lengths)
        np.maximum.at(highs, bins, lengths)
        nothing, others = missing[first], folded[first]
        return _Part(
            cut=cut,
            column=column,
            groups=groups[first],
            bins=pa.array(np.full(len(first), OTHERS, dtype=np.int32), mask=~others),
            values=self.texts.take(pa.array(codes[first], mask=nothing | others)),
            counts=np.bincount(bins, weights=rows).astype(np.int64),
            sums=pa.array(np.bincount(bins, weights=lengths * rows), pa.float64(), mask=nothing),
            squares=pa.array(np.bincount(bins, weights=lengths * lengths * rows), pa.float64(), mask=nothing),
            lows=pa.array(lows, mask=nothing),
            highs=pa.array(highs, mask=nothing),
            zeros=np.zeros(len(first), dtype=np.int64),
        )

    def _alone(self, groups: Codes, codes: Codes, rows: Codes) -> Flags:
        """Which values have a bin of their own: those of the grid, or the most frequent ones of each group."""
        if self.own is not None:
            return np.append(self.own, False)[codes]
        order = np.lexsort((codes, -rows, codes == len(self.texts), groups))  # missing ones last
        begins = np.flatnonzero(np.diff(groups[order], prepend=-1))
        sizes = np.diff(begins, append=len(order))
        ranks = np.empty(len(order), dtype=np.int64)
        ranks[order] = np.arange(len(order)) - np.repeat(begins, sizes)
        return ranks < NEW_VALUES


def _compact(keys: Codes, size: int) -> tuple[Codes, Codes]:
    """Keys as places among those that occur, where far fewer do than could."""
    if size <= max(4 * len(keys), FEW):
        return keys, np.arange(size)
    known, places = np.unique(keys, return_inverse=True)
    return places, known


def _stretches(rows: int) -> Iterator[slice]:
    """Of rows, short enough for a processor's cache."""
    return (slice(start, start + STRETCH) for start in range(0, rows, STRETCH))


def _table(parts: Sequence[_Part]) -> pa.Table:
    if not parts:
        return SCHEMA.empty_table()
    sizes = [len(part.counts) for part in parts]
    zipped: dict[str, list[pa.Array]] = {name: [] for name in SCHEMA.names}
    for part in parts:
        zipped["window_start"].append(pa.array(part.cut.began, pa.timestamp("us", "UTC")).take(pa.array(part.groups)))
        zipped["slice_value"].append(pa.array(part.cut.texts, pa.string()).take(pa.array(part.groups)))
    arrays = {
        "bin": [part.bins for part in parts],
        "value": [part.values for part in parts],
        "count": [pa.array(part.counts, pa.int64()) for part in parts],
        "sum": [part.sums for part in parts],
        "squares": [part.squares for part in parts],
        "min": [part.lows for part in parts],
        "max": [part.highs for part in parts],
        "zeros": [pa.array(part.zeros, pa.int64()) for part in parts],
        "window_start": zipped["window_start"],
        "slice_value": zipped["slice_value"],
        "slice_key": [_repeated([part.cut.key for part in parts], sizes)],
        "column_name": [_repeated([part.column for part in parts], sizes)],
    }
    table = pa.table({field.name: pa.chunked_array(arrays[field.name], field.type) for field in SCHEMA})
    return table.combine_chunks()


def _repeated(values: Sequence[str | None], sizes: Sequence[int]) -> pa.Array:
    return pa.array(values, pa.string()).take(pa.array(np.repeat(np.arange(len(sizes)), sizes)))


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
    order = np.argsort(codes, kind="stable")
    ends = np.flatnonzero(np.diff(codes[order], append=-1)) + 1
    for begin, end in itertools.pairwise([0, *ends.tolist()]):
        chosen = rows if len(ends) == 1 else rows.take(pa.array(order[begin:end]))
        code = int(codes[order[begin]])
        key: list[str | None] = []
        for several in reversed(values):
            code, place = divmod(code, len(several))
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
    means = np.clip(means, lows, highs)  # of values far closer to the shift than others
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
