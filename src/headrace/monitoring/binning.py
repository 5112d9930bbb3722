"""Fixed bins of a column, computed once from a reference and stored, so that histograms of any windows add up.

Numbers have 1,022 inner bins between the 0.05 and the 99.95 percentile of the reference, on a linear scale, or on a
symmetric logarithm where a tail is long; whole numbers have a bin each, around the middle. There is one bin each for
values below and above, NaN, the two infinities and null. Texts have a bin for each value of the reference and for later
values; of a column with very many values, the most frequent have one, and the others share one.
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from headrace.core.ids import digest
from headrace.monitoring.blocks import read_blocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from headrace.core.ids import Json
    from headrace.monitoring.blocks import MonitoredColumn

INNER = 1022
UNDER, OVER, NAN, MINUS_INFINITY, PLUS_INFINITY = 0, INNER + 1, INNER + 2, INNER + 3, INNER + 4
TAIL = 8.0  # a tail longer than so many interquartile ranges asks for the other scale
SOME = 1_000  # values that tell quickly that not all are whole
QUANTILES = (0.0005, 0.25, 0.5, 0.75, 0.9995)  # of the reference, which the bins of numbers are laid over
VALUES = 2**14  # of a text column that have a bin each; of a column with more, only the most frequent have
LISTED = 1_000  # values of such a column that have

LARGEST = sys.float_info.max

Floats = np.ndarray[Any, np.dtype[np.float64]]
Places = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True, kw_only=True)
class Bins:
    """The bins of a numeric column.

    Attributes:
        scale: `linear`, or `log`: sign(y) ln(1 + |y|) of y = (x - shift) / spread. That is a straight line near the middle
            and a logarithm far from it, as the inverse hyperbolic sine is, and takes a third of its time.
        low: beginning of the first inner bin, on the scale.
        width: of a bin, on the scale.
        shift: near the middle of the values; sums are kept around it, so that few digits are lost.
        spread: a robust width of the values.
    """

    column: str
    scale: Literal["linear", "log"]
    low: float
    width: float
    shift: float
    spread: float

    @property
    def id(self) -> str:
        """Histograms of the same id add up."""
        return digest(asdict(self))

    @np.errstate(invalid="ignore", over="ignore")
    def places(self, values: Floats) -> Places:
        """The bin of each value; of one that is missing, that of NaN."""
        scaled = values
        if self.scale == "log":
            away = (values - self.shift) / self.spread
            scaled = np.copysign(np.log1p(np.abs(away)), away)
        found = np.floor((scaled - self.low) / self.width) + 1.0
        np.clip(found, UNDER, OVER, out=found)
        odd = np.flatnonzero(~np.isfinite(values))
        found[odd] = np.where(np.isnan(values[odd]), NAN, np.where(values[odd] > 0, PLUS_INFINITY, MINUS_INFINITY))
        return found.astype(np.intp)

    @property
    def reach(self) -> float:
        """How far the values of the inner bins are from the shift, at most; a little more, since edges are rounded."""
        ends = (self._value(self.low), self._value(self.low + INNER * self.width))
        return 1.001 * max(abs(end - self.shift) for end in ends)

    def _value(self, scaled: float) -> float:
        """The number at a place of the scale."""
        far = math.expm1(min(abs(scaled), 709.0))  # e^710 is infinite
        value = scaled if self.scale == "linear" else self.shift + self.spread * math.copysign(far, scaled)
        return min(max(value, -LARGEST), LARGEST)

    def to_json(self) -> dict[str, Json]:
        """For the run ledger; `from_json` reads it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Categories:
    """The bins of a text column.

    Attributes:
        values: that have a bin each, where the reference has too many; None: each value has one, a new one too.
    """

    column: str
    values: tuple[str, ...] | None = None

    @property
    def id(self) -> str:
        """Histograms of the same id add up."""
        return digest({"column": self.column, "values": self.values})

    def to_json(self) -> dict[str, Json]:
        """For the run ledger; `from_json` reads it."""
        return {"column": self.column, "values": None if self.values is None else list(self.values)}


Grid = Bins | Categories


def from_json(kept: Mapping[str, Any]) -> Grid:
    """What `to_json` of either kind gave."""
    if "scale" in kept:
        return Bins(**kept)
    return Categories(column=kept["column"], values=None if kept["values"] is None else tuple(kept["values"]))


def make_grids(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[MonitoredColumn]
) -> dict[str, Grid]:
    """Lays the bins of columns over a reference.

    Args:
        connection: in which `relation` can be read.
        relation: SQL of the reference, as it stands after FROM.
        columns: to lay bins for.
    """
    kinds = {column.name: column.kind for column in columns}
    return {
        name: _number_grid(name, values) if kinds[name] == "number" else _text_grid(name, values)
        for _, block in read_blocks(connection, relation, columns)
        for name, values in block.items()
    }


def _number_grid(name: str, values: pa.ChunkedArray) -> Bins:
    """By quantiles of all values, so that neither their order nor the way they are stored makes a difference."""
    numbers = values.to_numpy()
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return _bins(name, None, whole=False)
    # beyond a quarter of what a double can hold, differences would be infinite; no zero is negative
    bounded = np.clip(finite, -LARGEST / 4, LARGEST / 4) + 0.0
    whole = bool((finite[:SOME] == np.floor(finite[:SOME])).all()) and bool((finite == np.floor(finite)).all())
    return _bins(name, _quantiles(bounded), whole=whole)


def _quantiles(values: Floats) -> list[float]:
    """As `numpy.quantile` has them, in half of its time; the values are put into another order."""
    ranks = np.array(QUANTILES) * (len(values) - 1)
    below = np.floor(ranks).astype(np.intp)
    above = np.minimum(below + 1, len(values) - 1)
    values.partition(np.unique(np.concatenate([below, above])))
    return (values[below] + (values[above] - values[below]) * (ranks - below)).tolist()


def _bins(name: str, quantiles: list[float] | None, *, whole: bool) -> Bins:
    if quantiles is None:  # no finite number
        return Bins(column=name, scale="linear", low=-0.5, width=1.0, shift=0.0, spread=1.0)
    low, lower, middle, upper, high = quantiles
    if whole and high - low < INNER and max(abs(low), abs(high)) < 2**52:  # a half is exact below
        first = math.floor((low + high) / 2) - INNER // 2
        return Bins(
            column=name, scale="linear", low=first - 0.5, width=1.0, shift=float(math.floor(middle)), spread=1.0
        )
    tail = max(high - middle, middle - low)
    spread = max(upper - lower, 1e-12 * max(abs(middle), 1.0), 1e-300 * tail)
    if tail > TAIL * spread:
        first, last = (_logarithm((end - middle) / spread) for end in (low, high))
        return Bins(column=name, scale="log", low=first, width=_width(first, last), shift=middle, spread=spread)
    return Bins(column=name, scale="linear", low=low, width=_width(low, high), shift=middle, spread=spread)


def _logarithm(value: float) -> float:
    return math.copysign(math.log1p(abs(value)), value)


def _width(low: float, high: float) -> float:
    """Of a bin, wide enough that the highest value is an inner one; of a constant, of its own size."""
    if (high - low) / INNER > sys.float_info.min:
        return (high - low) / INNER * (1 + 1e-12)
    return max(abs(low), 1.0) * 1e-9


def _text_grid(name: str, values: pa.ChunkedArray) -> Categories:
    counts = values.value_counts()
    texts, rows = counts.field("values"), counts.field("counts").to_numpy()
    known = np.flatnonzero(texts.is_valid().to_numpy(zero_copy_only=False))
    if len(known) <= VALUES:
        return Categories(column=name)
    ordered = sorted(zip((-rows[known]).tolist(), texts.take(pa.array(known)).to_pylist(), strict=True))
    return Categories(column=name, values=tuple(text for _, text in ordered[:LISTED]))
