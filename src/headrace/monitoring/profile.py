"""The profile of a column in a window, from its histogram: the figures of `<table>_profile_metrics`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from headrace.monitoring.binning import Bins
from headrace.monitoring.histograms import Counts, Histograms, Numbers, Texts

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
FREQUENT = 10


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One column of one window and slice. What does not apply to its kind is None.

    Mean, standard deviation, extremes and quantiles are of the finite values; NaN is neither null nor a zero. A mean or
    deviation whose sum is beyond what a double can hold is None.

    Attributes:
        count: rows with a value, NaN and infinities among them.
        stddev: of a sample (n - 1).
        quantiles: at QUANTILES, by a straight line between the smallest and the largest value of a bin.
        percent_nan: of the rows with a value; so are `percent_zeros` and `percent_distinct`.
        percent_null: of all rows.
        distinct_count: of texts that have a bin each.
        frequent: the most frequent texts and their rows.
    """

    column: str
    data_type: str
    count: int
    num_nulls: int
    percent_null: float
    avg: float | None = None
    stddev: float | None = None
    min: float | None = None
    max: float | None = None
    quantiles: tuple[float, ...] | None = None
    num_zeros: int | None = None
    percent_zeros: float | None = None
    num_nan: int | None = None
    percent_nan: float | None = None
    distinct_count: int | None = None
    percent_distinct: float | None = None
    frequent: tuple[tuple[str, int], ...] | None = None
    min_length: int | None = None
    max_length: int | None = None
    avg_length: float | None = None

    @property
    def median(self) -> float | None:
        """The middle one of the quantiles."""
        return None if self.quantiles is None else self.quantiles[QUANTILES.index(0.5)]


def profiles(histograms: Histograms) -> list[Profile]:
    """The profile of each column, by name; of one window and one slice."""
    found: list[Profile] = []
    for name, column in histograms.columns.items():
        if isinstance(column, Texts):
            found.append(_texts(name, column))
        else:
            grid = histograms.grids[name]
            found.append(_numbers(name, column, grid.shift if isinstance(grid, Bins) else 0.0))
    return found


def _numbers(name: str, column: Numbers, shift: float) -> Profile:
    known = column.rows - column.nulls
    measured = column.finite > 0
    finite = int(column.finite.sum())
    found = Profile(
        column=name,
        data_type="double",
        count=known,
        num_nulls=column.nulls,
        percent_null=_percent(column.nulls, column.rows),
        num_nan=column.nans,
        percent_nan=_percent(column.nans, known),
        num_zeros=column.zeros,
        percent_zeros=_percent(column.zeros, known),
    )
    if not finite:
        return found
    low, high = float(column.lows[measured].min()), float(column.highs[measured].max())
    return replace(
        found,
        avg=shift + column.moved / finite if math.isfinite(column.moved) else None,
        stddev=0.0 if low == high and finite > 1 else _deviation(column, finite),
        min=low,
        max=high,
        quantiles=_quantiles(column.counts[measured], column.lows[measured], column.highs[measured]),
    )


def _deviation(column: Numbers, finite: int) -> float | None:
    """Of a sample; None for one row, and where squares are beyond what a double can hold."""
    if finite < 2:
        return None
    variance = (column.squares - column.moved * column.moved / finite) / (finite - 1)
    return math.sqrt(max(variance, 0.0)) if math.isfinite(variance) else None


def _quantiles(counts: Counts, lows: Counts, highs: Counts) -> tuple[float, ...]:
    """Between the two rows beside the place share * (rows - 1), as NumPy and pandas do."""
    upper = np.cumsum(counts)
    wanted = np.array(QUANTILES) * (upper[-1] - 1)
    before = np.floor(wanted)

    def value(rank: Counts) -> Counts:
        places = np.minimum(np.searchsorted(upper, rank, side="right"), len(counts) - 1)
        inside = (rank - (upper[places] - counts[places])) / np.maximum(counts[places] - 1, 1)
        return lows[places] * (1 - inside) + highs[places] * inside

    share = wanted - before
    after = np.minimum(before + 1, upper[-1] - 1)
    return tuple((value(before) * (1 - share) + value(after) * share).tolist())


def _texts(name: str, column: Texts) -> Profile:
    known = column.rows - column.missing
    frequent = sorted(column.counts.items(), key=lambda pair: (-pair[1], pair[0]))[:FREQUENT]
    distinct = len(column.counts)
    return Profile(
        column=name,
        data_type="string",
        count=known,
        num_nulls=column.missing,
        percent_null=_percent(column.missing, column.rows),
        distinct_count=distinct,
        percent_distinct=_percent(distinct, known),
        frequent=tuple(frequent),
        min_length=column.shortest,
        max_length=column.longest,
        avg_length=column.length / known if known else None,
    )


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0
