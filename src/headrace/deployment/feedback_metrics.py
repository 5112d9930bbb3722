"""Feedback as a metric of the versions that share the traffic: `feedback.thumbs` and the like.

What people say counts for the version that answered: the last word of each person on each answer, within the declared
time. What was divided is what is analysed: several answers of one entity are alike, so the variance is that of a ratio
of sums over entities, by the delta method (Deng, Knoblich and Lu 2018, "Applying the Delta Method in Metric Analytics",
KDD). Where each entity has one answer, it is the variance of Welch's test.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.core.text import counted as many
from headrace.deployment.traffic_metrics import Estimate, Gap, Seen, unit_sql
from headrace.lakehouse.identifiers import literal, quoted
from headrace.llm.feedback.declarations import PREFIX
from headrace.monitoring.feedback import joined
from headrace.scoring.columns import log_table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    import numpy as np

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.llm.feedback.declarations import Feedback

FEWEST_RATED = 50  # answers of a version that say something, before the central limit theorem is believed
FEWEST_UNITS = 20  # entities that gave them
FEWEST_OF_SPLIT = 10  # answers of each version in a split, before it is a part of a difference
RATED = ("thumbs", "score")  # told by values; the others are a share of all answers
SCALE = 0.1  # a difference that one reckons with, of the width of the scale: ten points of a share


@dataclass(frozen=True, kw_only=True)
class Rated:
    """What was said of a version's answers, by split and entity.

    Attributes:
        splits: of each pair of a split and an entity.
        units: the entity of each pair.
        totals: the sum of the values of each pair.
        counts: how many values, or answers, each pair has.
        seen: split → answers, and how many of them have something said.
    """

    splits: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    totals: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    seen: Mapping[str, Seen] = field(default_factory=dict[str, Seen])

    @property
    def rated(self) -> int:
        """Values, or answers of which a share is told."""
        return sum(self.counts)

    @property
    def said(self) -> int:
        """Answers of which something was said."""
        return sum(seen.labelled for seen in self.seen.values())


def width(metric: str, feedback: Feedback) -> float:
    """Of the values that a metric may have."""
    low, high = feedback.scale if metric == f"{PREFIX}score" else (0.0, 1.0)
    return high - low


def scale(metric: str, feedback: Feedback) -> float:
    """The size of a difference that one reckons with."""
    return SCALE * width(metric, feedback)


def rated(
    lakehouse: Lakehouse,
    model: str,
    metric: str,
    feedback: Feedback,
    *,
    since: datetime,
    until: datetime,
    entity: Sequence[str] = (),
) -> dict[tuple[int, str], Rated]:
    """What was said of the answers of each version in each role: (version, role) → that.

    Args:
        lakehouse: where the inference log and the feedback are.
        model: its name.
        metric: `feedback.thumbs`, for example.
        feedback: as declared.
        since: asked after it.
        until: said and asked by then.
        entity: columns that name the entity, for rows whose log does not say what they were divided by.
    """
    log = log_table(model)
    if not lakehouse.exists(log, own=True):
        return {}
    there = lakehouse.snapshot(log).schema.names
    if "role" not in there or "split" not in there:
        return {}
    unit = unit_sql(entity, [each for each in ("entity",) if each in there])
    given = _answers(lakehouse, model, unit, since, until)
    said = _said(lakehouse, model, metric.removeprefix(PREFIX), feedback, unit, since, until)
    by_value = metric.removeprefix(PREFIX) in RATED
    found: dict[tuple[int, str], Rated] = {}
    for version, role in sorted({key[:2] for key in given}):
        mine = {key[2:]: row for key, row in given.items() if key[:2] == (version, role)}
        told = {key[2:]: row for key, row in said.items() if key[:2] == (version, role)}
        pairs = sorted(told if by_value else mine)
        found[version, role] = Rated(
            splits=tuple(split for split, _ in pairs),
            units=tuple(each for _, each in pairs),
            totals=tuple(
                float(told[pair]["total"] if by_value else told.get(pair, {}).get("answers", 0)) for pair in pairs
            ),
            counts=tuple(told[pair]["n"] if by_value else mine[pair]["n"] for pair in pairs),
            seen=_seen(mine, told),
        )
    return found


def _seen(mine: Mapping[Any, dict[str, Any]], told: Mapping[Any, dict[str, Any]]) -> dict[str, Seen]:
    by_split: dict[str, list[tuple[dict[str, Any], int]]] = {}
    for pair, row in mine.items():
        by_split.setdefault(pair[0], []).append((row, told.get(pair, {}).get("answers", 0)))
    return {
        split: Seen(
            answers=sum(row["n"] for row, _ in rows),
            labelled=sum(said for _, said in rows),
            empty=0,
            first=min(row["first"] for row, _ in rows),
            last=max(row["last"] for row, _ in rows),
        )
        for split, rows in by_split.items()
    }


def _answers(
    lakehouse: Lakehouse, model: str, unit: str, since: datetime, until: datetime
) -> dict[tuple[int, str, str, str], dict[str, Any]]:
    name = log_table(model)
    with lakehouse.connect({name: None}) as connection:
        rows = connection.sql(
            f"""
            select model_version, role, coalesce(split, '') as split, {unit} as unit,
                count(distinct prediction_id) as n, min(requested_at) as first, max(requested_at) as last
            from {quoted(name)}
            where model = {literal(model)} and role in ('primary', 'candidate')
                and requested_at::timestamptz > timestamptz '{since.isoformat()}'
                and requested_at::timestamptz <= timestamptz '{until.isoformat()}'
            group by all
            """
        ).to_arrow_table()
    return {_key(row): row for row in rows.to_pylist()}


def _said(
    lakehouse: Lakehouse, model: str, kind: str, feedback: Feedback, unit: str, since: datetime, until: datetime
) -> dict[tuple[int, str, str, str], dict[str, Any]]:
    import duckdb

    of_answer = {"split": "coalesce(split, '')", "role": "role", "unit": unit}
    said = joined(lakehouse, model, within=feedback.within, of_answer=of_answer, until=until)
    if said is None:
        return {}
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        connection.register("said", said)
        rows = connection.sql(
            """
            select model_version, role, split, unit, coalesce(sum(value), 0) as total, count(value) as n,
                count(distinct prediction_id) as answers
            from said
            where kind = $kind and matched and not late and requested_at > $since
            group by all
            """,
            params={"kind": kind, "since": since},
        ).to_arrow_table()
    return {_key(row): row for row in rows.to_pylist()}


def _key(row: Mapping[str, Any]) -> tuple[int, str, str, str]:
    return row["model_version"], row["role"], row["split"], row["unit"]


def within(found: Rated, splits: Collection[str]) -> Rated:
    """What was said in these splits."""
    kept = [place for place, split in enumerate(found.splits) if split in splits]
    return Rated(
        splits=tuple(found.splits[place] for place in kept),
        units=tuple(found.units[place] for place in kept),
        totals=tuple(found.totals[place] for place in kept),
        counts=tuple(found.counts[place] for place in kept),
        seen={split: seen for split, seen in found.seen.items() if split in splits},
    )


def estimate(found: Rated, *, width: float) -> Estimate | None:
    """The share or mean over all splits; None where too few people said too little."""
    if not _is_enough(found):
        return None
    value = sum(found.totals) / found.rated
    pieces = _influence(found, dict.fromkeys(found.splits, (1.0, value)), dict.fromkeys(found.splits, found.rated))
    return Estimate(value=value, variance=_variance(pieces, found.rated, width), rows=found.rated)


def gap(candidate: Rated, primary: Rated, *, width: float) -> Gap | None:
    """The difference within each split, put together by the answers that tell of it (Mantel and Haenszel 1959).

    An entity stays with its version from split to split, so its answers in all of them are one cluster.
    """
    sizes = [_sizes(each) for each in (candidate, primary)]
    common = {
        split for split in sizes[0].keys() & sizes[1].keys() if min(size[split][1] for size in sizes) >= FEWEST_OF_SPLIT
    }
    mine, other = within(candidate, common), within(primary, common)
    if not (_is_enough(mine) and _is_enough(other)):
        return None
    weights = {
        split: sizes[0][split][1] * sizes[1][split][1] / (sizes[0][split][1] + sizes[1][split][1]) for split in common
    }
    everything = sum(weights.values())
    value, variance = 0.0, 0.0
    for sign, arm, size in ((1, mine, sizes[0]), (-1, other, sizes[1])):
        means = {split: (weights[split] / everything, size[split][0] / size[split][1]) for split in common}
        value += sign * sum(weight * mean for weight, mean in means.values())
        pieces = _influence(arm, means, {split: size[split][1] for split in common})
        variance += _variance(pieces, arm.rated, width)
    return Gap(value=value, variance=variance)


def _is_enough(found: Rated) -> bool:
    return found.rated >= FEWEST_RATED and len(set(found.units)) >= FEWEST_UNITS


def _sizes(found: Rated) -> dict[str, tuple[float, int]]:
    """Split → the sum of the values, and how many there are."""
    sizes: dict[str, tuple[float, int]] = {}
    for split, total, count in zip(found.splits, found.totals, found.counts, strict=True):
        before = sizes.get(split, (0.0, 0))
        sizes[split] = before[0] + total, before[1] + count
    return sizes


def _influence(
    found: Rated, means: Mapping[str, tuple[float, float]], sizes: Mapping[str, int]
) -> np.ndarray[Any, Any]:
    """By how much each entity moves the estimate: its residuals, by the weight and the mean of each split, over its size."""
    import numpy as np

    residuals = [
        means[split][0] * (total - means[split][1] * count) / sizes[split]
        for split, total, count in zip(found.splits, found.totals, found.counts, strict=True)
    ]
    _, places = np.unique(np.array(found.units, dtype=object), return_inverse=True)
    return np.bincount(places, weights=residuals)


def _variance(pieces: np.ndarray[Any, Any], rated: int, width: float) -> float:
    """Of the estimate; where all say the same, as if one more had said yes, and one no: nobody is that sure."""
    import numpy as np

    units, one = len(pieces), 1 / (rated + 2)
    least = width * width * one * (1 - one) / rated
    return max(units / (units - 1) * float(np.sum(pieces**2)), least)


def silent(mine: Rated, other: Rated, metric: str) -> str | None:
    """Why nothing can be said: nobody says anything of either version; None where somebody does."""
    if mine.said or other.said:
        return None
    answers = sum(seen.answers for each in (mine, other) for seen in each.seen.values())
    return f"nobody said {metric.removeprefix(PREFIX)} of {many(answers, 'answer')}"
