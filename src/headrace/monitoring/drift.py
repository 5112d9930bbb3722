"""Two windows of a column beside each other, and whether the difference is worth a person's time.

A p-value alone flags everything at scale, a population stability index alone flags small windows by chance: both are
asked for. An index over 0.1 warns and over 0.2 alarms, only where chance explains it with less than 1 %, controlled over
the columns by Benjamini and Hochberg. A share of missing values that jumps is told on its own, as are new categories.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from headrace.monitoring import statistics
from headrace.monitoring.grid import NAN, OVER, Grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.core.ids import Json
    from headrace.monitoring.histograms import Histograms
    from headrace.monitoring.statistics import Counts

WARN, ALERT = 0.1, 0.2  # population stability index
CHANCE = 0.01
JUMP = 0.05  # of the share of missing values
DECILES = 10
GROUPS = 20  # categories of the reference that have a bin of their own; the others share one
NEWEST = 5  # new categories that are named

Verdict = Literal["ok", "warn", "alert", "not judged"]


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One column of one window against another window.

    Attributes:
        rows: of the window.
        psi: population stability index over the reference's deciles (a category each), missing values a bin of their own.
        p_value: of that index by chance alone.
        ks: Kolmogorov-Smirnov statistic, at least; None for texts.
        ks_at_most: what it can be within the bins.
        wasserstein: first Wasserstein distance in the column's unit; None for texts.
        chi_squared: of the categories; None for numbers.
        null_share: of the window.
        null_share_delta: window less reference.
        null_p_value: of that difference by chance alone.
        new_categories: that the reference does not have, the most frequent first.
        new_share: of the rows with one of them.
    """

    column: str
    rows: int
    reference_rows: int
    psi: float
    p_value: float
    js_distance: float
    tv_distance: float
    l_infinity: float
    ks: float | None = None
    ks_at_most: float | None = None
    ks_p_value: float | None = None
    wasserstein: float | None = None
    chi_squared: float | None = None
    chi_squared_p_value: float | None = None
    null_share: float
    null_share_delta: float
    null_p_value: float
    new_categories: tuple[str, ...] = ()
    new_share: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A verdict on a column of a window, with its reasons in words."""

    drift: Drift
    verdict: Verdict
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """For the run ledger and for alerts."""
        kept = {name: asdict(self.drift)[name] for name in ("column", "psi", "p_value", "null_share", "new_share")}
        return cast("dict[str, Json]", {**kept, "verdict": self.verdict, "reasons": list(self.reasons)})


def compare(reference: Histograms, current: Histograms) -> list[Drift]:
    """Every column of a window against another one; both hold one window each.

    A column without a row on either side is left out.
    """
    before, after = _by_column(reference), _by_column(current)
    found: list[Drift] = []
    for name in before:
        if name in after and sum(before[name].values()) and sum(after[name].values()):
            grid = reference.grids.get(name)
            found.append(
                _numbers(name, grid, before[name], after[name]) if grid else _texts(name, before[name], after[name])
            )
    return found


def judge(drifts: Sequence[Drift], *, min_rows: int) -> list[Judged]:
    """Verdicts on the columns of one window, the worst first. Fewer than `min_rows` rows on either side: not judged."""
    judged = [drift for drift in drifts if min(drift.rows, drift.reference_rows) >= min_rows]
    moved = statistics.benjamini_hochberg([drift.p_value for drift in judged], CHANCE)
    missing = statistics.benjamini_hochberg([drift.null_p_value for drift in judged], CHANCE)
    found = [
        Judged(drift=drift, verdict="not judged", reasons=(f"{drift.rows} rows; {min_rows} are needed",))
        for drift in drifts
        if drift not in judged
    ]
    found += [_verdict(*each) for each in zip(judged, moved, missing, strict=True)]
    order = {"alert": 0, "warn": 1, "ok": 2, "not judged": 3}
    return sorted(found, key=lambda each: (order[each.verdict], -each.drift.psi))


def _verdict(drift: Drift, moved: bool, missing: bool) -> Judged:
    reasons: list[str] = []
    verdict: Verdict = "ok"
    if moved and drift.psi > WARN:
        verdict = "alert" if drift.psi > ALERT else "warn"
        reasons.append(f"PSI {drift.psi:.2f}")
    if missing and abs(drift.null_share_delta) > JUMP:
        verdict = "alert" if verdict == "alert" else "warn"
        was = drift.null_share - drift.null_share_delta
        reasons.append(f"{drift.null_share:.1%} missing, {was:.1%} before")
    if drift.new_categories:
        verdict = "warn" if verdict == "ok" and drift.new_share > 0 else verdict
        reasons.append(f"new: {', '.join(drift.new_categories)} ({drift.new_share:.2%} of the rows)")
    return Judged(drift=drift, verdict=verdict, reasons=tuple(reasons))


def _by_column(histograms: Histograms) -> dict[str, dict[Any, int]]:
    """Column → bin or value → count; None is missing."""
    found: dict[str, dict[Any, int]] = {}
    rows = histograms.rows.select(["column_name", "bin", "value", "count"]).to_pydict()
    for name, place, value, count in zip(*rows.values(), strict=True):
        key = place if name in histograms.grids else value
        column = found.setdefault(name, {})
        column[key] = column.get(key, 0) + count
    return found


def _numbers(name: str, grid: Grid, before: dict[Any, int], after: dict[Any, int]) -> Drift:
    p, q = _dense(before), _dense(after)
    missing = [sum(counts.get(place, 0) for place in (None, NAN)) for counts in (before, after)]
    groups, edges = _deciles(p), _edges(grid)
    bins = [
        np.append(np.bincount(groups, weights=each, minlength=groups[-1] + 1), gone)
        for each, gone in zip((p, q), missing, strict=True)
    ]
    common = _common(name, bins[0], bins[1], missing)
    if not p.sum() or not q.sum():  # nothing but missing values on one side
        return Drift(**common)
    least, most = statistics.kolmogorov_smirnov(p, q)
    return Drift(
        **common,
        ks=least,
        ks_at_most=most,
        ks_p_value=statistics.kolmogorov_sf(least, int(p.sum()), int(q.sum())),
        wasserstein=statistics.wasserstein(p, q, edges),
    )


def _texts(name: str, before: dict[Any, int], after: dict[Any, int]) -> Drift:
    known = sorted((value for value in before if value is not None), key=lambda value: (-before[value], value))
    own = known[:GROUPS]
    new = sorted((value for value in after if value is not None and value not in before), key=lambda v: (-after[v], v))
    bins: list[Counts] = []
    for counts in (before, after):
        others = sum(count for value, count in counts.items() if value is not None and value not in own)
        bins.append(np.array([*(counts.get(value, 0) for value in own), others, counts.get(None, 0)], dtype=np.float64))
    everything = [
        np.array([counts.get(value, 0) for value in [*known, *new]], dtype=np.float64) for counts in (before, after)
    ]
    missing = [counts.get(None, 0) for counts in (before, after)]
    statistic, p_value = statistics.chi_squared(*everything) if known or new else (0.0, 1.0)
    rows = sum(after.values())
    return Drift(
        **_common(name, bins[0], bins[1], missing),
        chi_squared=statistic,
        chi_squared_p_value=p_value,
        new_categories=tuple(new[:NEWEST]),
        new_share=sum(after[value] for value in new) / rows,
    )


def _common(name: str, before: Counts, after: Counts, missing: Sequence[int]) -> dict[str, Any]:
    n, m = int(before.sum()), int(after.sum())
    used = (before + after) > 0
    before, after = before[used], after[used]
    index = statistics.psi(before, after)
    share, was = missing[1] / m, missing[0] / n
    return {
        "column": name,
        "rows": m,
        "reference_rows": n,
        "psi": index,
        "p_value": statistics.psi_p_value(index, n, m, len(before)),
        "js_distance": statistics.jensen_shannon(before, after),
        "tv_distance": statistics.total_variation(before, after),
        "l_infinity": statistics.largest_difference(before, after),
        "null_share": share,
        "null_share_delta": share - was,
        "null_p_value": _shares_differ(missing[0], n, missing[1], m),
    }


def _shares_differ(a: int, n: int, b: int, m: int) -> float:
    """The p-value of two shares being one: the pooled z-test."""
    pooled = (a + b) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return math.erfc(abs(b / m - a / n) / error / math.sqrt(2)) if error else 1.0


def _dense(counts: dict[Any, int]) -> Counts:
    dense = np.zeros(OVER + 1)
    for place, count in counts.items():
        if place is not None and place <= OVER:
            dense[place] += count
    return dense


def _deciles(reference: Counts) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Bins of the grid → about ten groups of equal share of the reference."""
    total = reference.sum()
    if not total:
        return np.zeros(len(reference), dtype=np.intp)
    middle = (np.cumsum(reference) - reference / 2) / total
    groups = np.minimum((middle * DECILES).astype(np.intp), DECILES - 1)
    _, dense = np.unique(groups, return_inverse=True)
    return dense


def _edges(grid: Grid) -> Counts:
    """The edges of the bins; those below and above are as wide as the widest inner one."""
    inner = [grid.upper(place) for place in range(OVER)]
    width = max(inner[-1] - inner[-2], inner[1] - inner[0])
    return np.array([inner[0] - width, *inner, inner[-1] + width])
