"""Comparison of two windows of a column, and whether the difference should be reported.

A p-value alone flags everything in large windows; a population stability index alone flags small windows by chance. So
both are required. An index over 0.1 is a warning and over 0.2 an alert, only if chance explains it with less than 1 %,
controlled over the columns by Benjamini and Hochberg. Reported separately are a changed share of missing values, values
that the reference does not have, and a column that has stopped changing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from headrace.monitoring import statistics
from headrace.monitoring.histograms import Numbers
from headrace.monitoring.profile import profiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.core.ids import Json
    from headrace.monitoring.histograms import Counts, Histograms, Texts
    from headrace.monitoring.profile import Profile

WARN, ALERT = 0.1, 0.2  # population stability index
CHANCE = 0.01
JUMP = 0.05  # of the share of missing values
DECILES = 10
GROUPS = 20  # categories of the reference that have a group of their own; the others share one
NEWEST = 5  # new categories that are named
MOST_NEW = 0.2  # share of rows with new categories that is an alert
STILL = 1e-6  # a column that has one value in all rows, where chance would do that less often than this
RARE = 0.5  # share of the reference's rows up to which that value may have been there

Verdict = Literal["ok", "warn", "alert", "not judged"]


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One column of one window against another window.

    Attributes:
        slice_key: what the rows are cut by; None, with slice_value: all rows.
        rows: of the window.
        psi: population stability index over the reference's deciles (a category each), missing values a group of their own.
        p_value: of that index by chance alone.
        js_distance: over the same groups, as are total variation and the largest difference.
        ks: Kolmogorov-Smirnov statistic, at least; None for texts.
        ks_at_most: what it can be within the bins.
        wasserstein: first Wasserstein distance of the finite values, in the column's unit; None for texts.
        chi_squared: of all categories; None for numbers.
        null_share: of the window, NaN among them.
        null_share_delta: window less reference.
        null_p_value: of that difference by chance alone.
        new_categories: that the reference does not have, the most frequent first.
        new_share: of the rows with one of them.
        new_p_value: of so many, or so frequent ones, by chance alone.
        frozen: the one value of all rows, where the reference has others and chance would not do that.
        avg_delta: window less reference, as are the two percentages.
    """

    column: str
    data_type: str
    slice_key: str | None = None
    slice_value: str | None = None
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
    new_p_value: float = 1.0
    frozen: str | None = None
    avg_delta: float | None = None
    percent_zeros_delta: float | None = None
    percent_distinct_delta: float | None = None


@dataclass(frozen=True, kw_only=True)
class DriftVerdict:
    """A verdict on a column of a window, with its reasons in words."""

    drift: Drift
    verdict: Verdict
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """For the run ledger and for alerts."""
        names = ("column", "psi", "p_value", "null_share", "new_share", "frozen")
        kept = {name: getattr(self.drift, name) for name in names}
        return cast("dict[str, Json]", {**kept, "verdict": self.verdict, "reasons": list(self.reasons)})


def compare(reference: Histograms, current: Histograms) -> list[Drift]:
    """Every column of a window against another one, in every slice that both have; both hold one window each.

    A column without a row on either side is left out.
    """
    before = {(key, value): each for key, value, each in reference.slices()}
    return [
        drift
        for key, value, after in current.slices()
        if (key, value) in before
        for drift in _compare(before[key, value], after, key, value)
    ]


def judge(drifts: Sequence[Drift], *, min_rows: int) -> list[DriftVerdict]:
    """Verdicts on the columns of one window, the worst first. Fewer than `min_rows` rows on either side: not judged."""
    judged = [drift for drift in drifts if min(drift.rows, drift.reference_rows) >= min_rows]
    found = [
        DriftVerdict(drift=drift, verdict="not judged", reasons=(_too_few(drift, min_rows),))
        for drift in drifts
        if min(drift.rows, drift.reference_rows) < min_rows
    ]
    real = [
        statistics.benjamini_hochberg([p_value(drift) for drift in judged], CHANCE)
        for p_value in (_p_value, _null_p_value, _new_p_value)
    ]
    found += [_verdict(*each) for each in zip(judged, *real, strict=True)]
    order = {"alert": 0, "warn": 1, "ok": 2, "not judged": 3}
    return sorted(found, key=lambda each: (order[each.verdict], each.drift.frozen is None, -each.drift.psi))


# ---------------------------------------------------------------------------------------------- verdicts


def _p_value(drift: Drift) -> float:
    return drift.p_value


def _null_p_value(drift: Drift) -> float:
    return drift.null_p_value


def _new_p_value(drift: Drift) -> float:
    return drift.new_p_value


def _too_few(drift: Drift, min_rows: int) -> str:
    of = "" if drift.rows < min_rows else " in the reference"
    return f"{min(drift.rows, drift.reference_rows)} rows{of}; {min_rows} are needed (min_rows=…)"


def _verdict(drift: Drift, moved: bool, missing: bool, new: bool) -> DriftVerdict:
    reasons: list[str] = []
    verdict: Verdict = "ok"
    if drift.frozen is not None:
        verdict = "alert"
        reasons.append(f"{drift.frozen} in all {drift.rows:,} rows")
    if moved and drift.psi > WARN:
        verdict = "alert" if drift.psi > ALERT or verdict == "alert" else "warn"
        reasons.append(f"PSI {drift.psi:.2f}")
    if missing and abs(drift.null_share_delta) > JUMP:
        verdict = "alert" if verdict == "alert" else "warn"
        was = drift.null_share - drift.null_share_delta
        reasons.append(f"{drift.null_share:.1%} missing, {was:.1%} before")
    if new:
        verdict = "alert" if verdict == "alert" or drift.new_share > MOST_NEW else "warn"
        reasons.append(f"new: {', '.join(drift.new_categories)} ({drift.new_share:.2%} of the rows)")
    return DriftVerdict(drift=drift, verdict=verdict, reasons=tuple(reasons))


# ---------------------------------------------------------------------------------------------- columns


def _compare(reference: Histograms, current: Histograms, key: str | None, value: str | None) -> list[Drift]:
    was = {profile.column: profile for profile in profiles(reference)}
    found: list[Drift] = []
    for now in profiles(current):
        before, after = reference.columns.get(now.column), current.columns[now.column]
        if before is None or not before.rows or not after.rows:
            continue
        common = {"slice_key": key, "slice_value": value, "data_type": now.data_type, **_deltas(was[now.column], now)}
        if isinstance(before, Numbers) and isinstance(after, Numbers):
            found.append(Drift(column=now.column, **common, **_numbers(before, after)))
        else:
            found.append(Drift(column=now.column, **common, **_texts(cast("Texts", before), cast("Texts", after))))
    return found


def _deltas(was: Profile, now: Profile) -> dict[str, float | None]:
    def delta(before: float | None, after: float | None) -> float | None:
        return None if before is None or after is None else after - before

    return {
        "avg_delta": delta(was.avg, now.avg),
        "percent_zeros_delta": delta(was.percent_zeros, now.percent_zeros),
        "percent_distinct_delta": delta(was.percent_distinct, now.percent_distinct),
    }


def _numbers(before: Numbers, after: Numbers) -> dict[str, Any]:
    groups = _deciles(before.counts)
    bins = [
        np.append(np.bincount(groups, weights=each.counts, minlength=int(groups.max()) + 1), each.missing)
        for each in (before, after)
    ]
    found = {**_common(bins[0], bins[1], (before.missing, after.missing)), "frozen": _still_number(before, after)}
    p, q = before.counts, after.counts
    if not p.sum() or not q.sum():  # nothing but missing values on one side
        return found
    single = np.maximum(before.highs, after.highs) == np.minimum(before.lows, after.lows)
    least, most = statistics.kolmogorov_smirnov(p, q, single)
    found |= {
        "ks": least,
        "ks_at_most": most,
        "ks_p_value": statistics.kolmogorov_sf(least, int(p.sum()), int(q.sum())),
    }
    p, q = before.finite, after.finite
    if p.sum() and q.sum():
        found["wasserstein"] = statistics.wasserstein(p, q, before.means, after.means)
    return found


def _texts(before: Texts, after: Texts) -> dict[str, Any]:
    known = sorted(before.counts, key=lambda value: (-before.counts[value], value))
    new = [] if before.others else sorted(set(after.counts) - set(known), key=lambda v: (-after.counts[v], v))
    own = known[:GROUPS]
    bins: list[Counts] = []
    for each in (before, after):
        in_own = [each.counts.get(value, 0) for value in own]
        others = each.rows - each.missing - sum(in_own)
        bins.append(np.array([*in_own, others, each.missing], dtype=np.float64))
    every = sorted({*before.counts, *after.counts})
    p, q = (
        np.array([*(each.counts.get(value, 0) for value in every), each.others], dtype=np.float64)
        for each in (before, after)
    )
    statistic, p_value = statistics.chi_squared(p, q)
    known_rows = [each.rows - each.missing for each in (before, after)]
    return {
        **_common(bins[0], bins[1], (before.missing, after.missing)),
        "chi_squared": statistic,
        "chi_squared_p_value": p_value,
        "new_categories": tuple(new[:NEWEST]),
        "new_share": sum(after.counts[value] for value in new) / after.rows,
        "new_p_value": statistics.new_values_p_value(
            (p + q)[:-1],
            np.array([after.counts[value] for value in new], dtype=np.float64),
            known_rows[1] / max(sum(known_rows), 1),
        ),
        "frozen": _still_text(before, after),
    }


def _common(before: Counts, after: Counts, missing: tuple[int, int]) -> dict[str, Any]:
    n, m = int(before.sum()), int(after.sum())
    used = (before + after) > 0
    before, after = before[used], after[used]
    index = statistics.psi(before, after)
    share, was = missing[1] / m, missing[0] / n
    return {
        "rows": m,
        "reference_rows": n,
        "psi": index,
        "p_value": statistics.psi_p_value(index, n, m, len(before)),
        "js_distance": statistics.jensen_shannon(before, after),
        "tv_distance": statistics.total_variation(before, after),
        "l_infinity": statistics.largest_difference(before, after),
        "null_share": share,
        "null_share_delta": share - was,
        "null_p_value": statistics.shares_p_value(missing[0], n, missing[1], m),
    }


def _deciles(reference: Counts) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Bins of the grid → about ten groups of equal share of the reference."""
    total = reference.sum()
    if not total:
        return np.zeros(len(reference), dtype=np.intp)
    middle = (np.cumsum(reference) - reference / 2) / total
    groups = np.minimum((middle * DECILES).astype(np.intp), DECILES - 1)
    _, dense = np.unique(groups, return_inverse=True)
    return dense


def _still_number(before: Numbers, after: Numbers) -> str | None:
    """The one value of all rows of the window; `_still` says when."""
    if after.missing == after.rows:
        return "missing" if _still(before.missing, before.rows, after.rows) else None
    places = np.flatnonzero(after.counts)
    if after.missing or len(places) > 1 or after.lows[places[0]] != after.highs[places[0]]:
        return None
    return f"{after.lows[places[0]]:g}" if _still(float(before.counts[places[0]]), before.rows, after.rows) else None


def _still_text(before: Texts, after: Texts) -> str | None:
    """The one value of all rows of the window; `_still` says when."""
    if after.missing == after.rows:
        return "missing" if _still(before.missing, before.rows, after.rows) else None
    if after.missing or after.others or len(after.counts) > 1:
        return None
    (value,) = after.counts
    return repr(value) if _still(before.counts.get(value, 0), before.rows, after.rows) else None


def _still(there: float, n: int, m: int) -> bool:
    """Whether it is strange that all of m rows are what `there` of n rows are.

    A value that most rows have anyway says little: a week without rain is not a broken gauge.
    """
    share = (there + 1) / (n + 1)
    return share <= RARE and share**m < STILL
