"""Metrics of each version while traffic was divided: counts of the servers, and quality where labels are known.

Versions are compared within each split, and the differences are combined. While a share grows, the candidate gets more
of the later requests, so two equal versions would seem to differ if the requests changed meanwhile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from headrace.lakehouse.identifiers import column, json_pointer, literal, quoted
from headrace.monitoring.label_join import LABEL, SLICE, labelled
from headrace.scoring.columns import log_table
from headrace.serving.metrics import BUCKETS
from headrace.serving.traffic import MISSING
from headrace.training.labels import checked, key_name, known_sql, moment_sql
from headrace.training.measures import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    import pandas as pd

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.training.declarations import Model

TABLE = "metrics.serving"
FAILED = 500  # from this status on an answer is the server's failure, below it the caller's
GROUPS = 40  # of entities, of which the variance is made
FEWEST_GROUPS = 20
FEWEST_ROWS = 100  # of one version in one split, before the central limit theorem is believed
FEWEST_REQUESTS = 100
ERRORS_SCALE = 0.01  # differences that one reckons with: of error rates,
SCALE = 0.02  # of other metrics, which lie between 0 and 1,
PART = 0.05  # and of those without bounds, as a part of the value
UNBOUNDED = frozenset({"rmse", "mae", "log_loss"})


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Requests that a version was asked.

    Attributes:
        errors: answered with a status of 500 or more.
        buckets: by the time that they took, up to each of `BUCKETS`, and beyond.
    """

    requests: int = 0
    errors: int = 0
    rows: int = 0
    buckets: tuple[int, ...] = field(default=(0,) * (len(BUCKETS) + 1))

    def __add__(self, other: Counted) -> Counted:
        return Counted(
            requests=self.requests + other.requests,
            errors=self.errors + other.errors,
            rows=self.rows + other.rows,
            buckets=tuple(a + b for a, b in zip(self.buckets, other.buckets, strict=True)),
        )

    @property
    def error_rate(self) -> float | None:
        """None without a request."""
        return self.errors / self.requests if self.requests else None

    @property
    def timed(self) -> int:
        """Requests whose time was counted."""
        return sum(self.buckets)

    def slower_than(self, limit: float) -> int:
        """Requests that took longer than a bound of the buckets."""
        return sum(self.buckets[BUCKETS.index(limit) + 1 :])

    def quantile(self, q: float) -> float | None:
        """Seconds, interpolated within a bucket; the last bound when it lies beyond that. None without a request."""
        if not self.timed:
            return None
        wanted, below = q * self.timed, 0
        for place, (count, bound) in enumerate(zip(self.buckets, BUCKETS, strict=False)):
            if below + count >= wanted:
                start = BUCKETS[place - 1] if place else 0.0
                return start + (bound - start) * (wanted - below) / max(count, 1)
            below += count
        return BUCKETS[-1]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A metric on some rows, with the variance of that estimate."""

    value: float
    variance: float
    rows: int


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Decisions that a version answered in one split.

    Attributes:
        labelled: whose label is known.
        empty: answered with nothing: an output is null.
        first: moment of a decision.
    """

    answers: int
    labelled: int
    empty: int
    first: datetime
    last: datetime


@dataclass(frozen=True, kw_only=True)
class AnsweredBy:
    """What a version answered in a role.

    Attributes:
        labelled: see `answers`.
        seen: by split.
    """

    labelled: pd.DataFrame
    seen: Mapping[str, Seen]

    def within(self, splits: Collection[str]) -> AnsweredBy:
        """In these splits."""
        kept = self.labelled[self.labelled["split"].isin(list(splits))]
        return AnsweredBy(labelled=kept, seen={split: seen for split, seen in self.seen.items() if split in splits})


@dataclass(frozen=True, kw_only=True)
class Units:
    """Of entities (or decisions, or requests) that a version answered in one split.

    Attributes:
        units: different ones.
        rows: of all of them.
        most: rows of the one that has the most.
    """

    units: int
    rows: int
    most: int


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Candidate less primary, in the unit of what is measured."""

    value: float
    variance: float


@dataclass(frozen=True, kw_only=True)
class Key:
    """Who answered what."""

    version: int
    role: str
    split: str


def counted(lakehouse: Lakehouse, model: str, *, since: datetime | None = None) -> dict[Key, Counted]:
    """What servers counted, in intervals that end after a moment, and requests after it that only the log knows.

    A server that dies takes along what it counted of its last interval. Its answers are in the log: where the log has more requests
    than were counted, they are the number of requests, without times.
    """
    found = _counted(lakehouse, model, since)
    for key, requests in _logged(lakehouse, model, since).items():
        known = found.get(key, Counted())
        found[key] = replace(known, requests=max(known.requests, requests), rows=max(known.rows, requests))
    return found


def _logged(lakehouse: Lakehouse, model: str, since: datetime | None) -> dict[Key, int]:
    """The requests of each version in the log."""
    name = log_table(model)
    if not lakehouse.exists(name, own=True) or not {"role", "split"} <= set(lakehouse.snapshot(name).schema.names):
        return {}
    late = "true" if since is None else f"requested_at::timestamptz > timestamptz '{since.isoformat()}'"
    with lakehouse.connect({name: None}) as connection:
        rows = connection.sql(
            f"""
            select model_version, role, coalesce(split, '') as split, count(distinct request_id)::bigint as requests
            from {quoted(name)} where {late}
            group by model_version, role, coalesce(split, '')
            """
        ).fetchall()
    return {Key(version=version, role=role, split=split): requests for version, role, split, requests in rows}


def _counted(lakehouse: Lakehouse, model: str, since: datetime | None) -> dict[Key, Counted]:
    return {key: count for _, key, count in counts(lakehouse, model, since)}


def counts(lakehouse: Lakehouse, model: str | None, since: datetime | None) -> list[tuple[str, Key, Counted]]:
    """What servers counted, in intervals that end after a moment: of one model, or of each."""
    if not lakehouse.exists(TABLE, own=True):
        return []
    buckets = ", ".join(f"coalesce(sum(buckets[{place}]), 0)::bigint" for place in range(1, len(BUCKETS) + 2))
    mine = "true" if model is None else f"model = {literal(model)}"
    late = "" if since is None else f"and \"at\"::timestamptz > timestamptz '{since.isoformat()}'"
    with lakehouse.connect({TABLE: None}) as connection:
        rows = connection.sql(
            f"""
            select model, model_version, role, coalesce(split, '') as split,
                sum(requests)::bigint as requests,
                (coalesce(sum(requests) filter (status >= {FAILED}), 0))::bigint as errors,
                sum(rows)::bigint as rows,
                [{buckets}] as buckets
            from {quoted(TABLE)} where {mine} {late}
            group by model, model_version, role, coalesce(split, '')
            """
        ).to_arrow_table()
    return [
        (
            row["model"],
            Key(version=row["model_version"], role=row["role"], split=row["split"]),
            Counted(requests=row["requests"], errors=row["errors"], rows=row["rows"], buckets=tuple(row["buckets"])),
        )
        for row in rows.to_pylist()
    ]


def total(found: Mapping[Key, Counted], version: int, role: str, splits: Sequence[str] | None = None) -> Counted:
    """What was counted of a version in a role, in some splits or in all."""
    mine = [
        count
        for key, count in found.items()
        if (key.version, key.role) == (version, role) and (splits is None or key.split in splits)
    ]
    return sum(mine, Counted())


def answers(
    lakehouse: Lakehouse,
    model: Model,
    version: int,
    *,
    role: str,
    as_of: datetime,
    since: datetime,
    entity: Sequence[str] = (),
) -> pd.DataFrame | None:
    """A version's logged answers whose label is known; None when nothing was logged with its role.

    Args:
        lakehouse: the tables.
        model: says the label.
        version: which answered.
        role: in which it answered.
        as_of: labels known by then count.
        since: asked after it.
        entity: columns that name the entity; none for the key of the decision.

    Returns:
        The columns of the output, `_label`, `split` and `group` (of entities: one entity is in one group).

    Raises:
        DeclarationError: the label's table has no time.
        DataError: a label is not what the task predicts.
    """
    found = answered(lakehouse, model, version, role=role, as_of=as_of, since=since, entity=entity)
    return None if found is None else found.labelled


def answered(
    lakehouse: Lakehouse,
    model: Model,
    version: int,
    *,
    role: str,
    as_of: datetime,
    since: datetime,
    entity: Sequence[str] = (),
) -> AnsweredBy | None:
    """The same, and how many answers have no label, or hold nothing. For what it takes and raises see `answers`."""
    name = log_table(model.name)
    if not lakehouse.exists(name, own=True):
        return None
    there = lakehouse.snapshot(name).schema.names
    if "role" not in there or "split" not in there:
        return None
    known = [each for each in ("entity",) if each in there]
    slices = ("role", "split", "keys", "inputs", "requested_at", *known)
    with labelled(lakehouse, model, name, version=version, as_of=as_of, granularity="1mo", slices=slices) as joined:
        columns = [column(each) for each in joined.outputs]
        empty = " or ".join(f"{each} is null" for each in columns) or "true"
        split = f"coalesce({_kept('split')}, '')"
        mine = f"""{_kept("role")} = {literal(role)}
                and {_kept("requested_at")}::timestamptz > timestamptz '{since.isoformat()}'"""
        frame = joined.connection.sql(
            f"""
            select {", ".join([*columns, LABEL])}, {split} as split,
                (md5_number_lower({unit_sql(entity, known, _kept)}) % {GROUPS})::int as "group"
            from joined
            where {LABEL} is not null and not ({empty}) and {mine}
            order by prediction_id
            """
        ).df()
        rows = joined.connection.sql(
            f"""
            select {split} as split, count(*) as answers, count({LABEL}) as labelled,
                count(*) filter (where {empty}) as empty, min(_at) as first, max(_at) as last
            from joined where {mine} group by 1
            """
        ).to_arrow_table()
    frame[LABEL] = checked(frame[LABEL], model.task) if len(frame) else frame[LABEL]
    return AnsweredBy(labelled=frame, seen={row.pop("split"): Seen(**row) for row in rows.to_pylist()})


def units(
    lakehouse: Lakehouse, model: str, *, since: datetime, entity: Sequence[str] = ()
) -> dict[tuple[str, int], Units]:
    """How many entities each version answered: (split, version) → that. A row without an entity is one of its own.

    Args:
        lakehouse: where the inference log is.
        model: its name.
        since: asked after it.
        entity: columns that name the entity, for rows whose log does not say what they were divided by.
    """
    name = log_table(model)
    if not lakehouse.exists(name, own=True):
        return {}
    there = lakehouse.snapshot(name).schema.names
    if "role" not in there or "split" not in there:
        return {}
    known = [each for each in ("entity",) if each in there]
    with lakehouse.connect({name: None}) as connection:
        rows = connection.sql(
            f"""
            select split, version, count(*) as units, sum(n)::bigint as rows, max(n) as most
            from (
                select split, model_version as version, {unit_sql(entity, known, column)} as unit, count(*) as n
                from {quoted(name)}
                where model = {literal(model)} and role in ('primary', 'candidate') and split is not null
                    and requested_at::timestamptz > timestamptz '{since.isoformat()}'
                group by all
            )
            group by all
            """
        ).to_arrow_table()
    return {(row.pop("split"), row.pop("version")): Units(**row) for row in rows.to_pylist()}


def labels_there(
    lakehouse: Lakehouse, model: Model, *, first: datetime, last: datetime, as_of: datetime
) -> Seen | None:
    """The decisions between two moments that the spine has, and how many of them have a label; None without any."""
    spine, label = model.decisions.table.name, model.task.label.table
    if not (lakehouse.exists(spine) and lakehouse.exists(label.name)):
        return None
    at = f"{column(model.decisions.at)}::timestamptz"
    same = " and ".join(f"s.{column(key)} = known.{key_name(place)}" for place, key in enumerate(label.keys))
    with lakehouse.connect({spine: None, label.name: None}) as connection:
        known = known_sql(model.task, lakehouse.snapshot(label.name).schema, as_of)
        (row,) = connection.sql(
            f"""
            select count(*) as answers,
                count(known._value) filter (where known._first >= s.{at}) as labelled
            from {quoted(spine)} s left join ({known}) known on {same}
            where s.{at} between {moment_sql(first)} and {moment_sql(last)}
            """
        ).fetchall()
    return Seen(answers=row[0], labelled=row[1], empty=0, first=first, last=last) if row[0] else None


def estimate(model: Model, metric: str, rows: pd.DataFrame) -> Estimate | None:
    """A metric on rows of `answers`; None where it has no meaning, or there are too few rows or entities.

    The variance is that of the delete-a-group jackknife (Kott 2001), over groups of whole entities: rows of one entity are
    alike, and count for less than as many of different ones.
    """
    groups = sorted(rows["group"].unique())
    if len(rows) < FEWEST_ROWS or len(groups) < FEWEST_GROUPS:
        return None
    value = _value(model, metric, rows)
    without = [_value(model, metric, rows[rows["group"] != group]) for group in groups]
    known = [each for each in without if each is not None]
    if value is None or len(known) < len(groups):
        return None
    mean = sum(known) / len(known)
    variance = (len(known) - 1) / len(known) * sum((each - mean) ** 2 for each in known)
    # that no group makes a difference is a model that says the same of everything, or is always right: it is not sure
    least = (max(abs(value), 1.0) / len(groups)) ** 2 if variance == 0 else 0.0
    return Estimate(value=value, variance=max(variance, least), rows=len(rows))


def gap(model: Model, metric: str, candidate: pd.DataFrame, primary: pd.DataFrame) -> Gap | None:
    """The difference of a metric within each split, put together by the rows that tell of it (Mantel and Haenszel 1959)."""
    parts: list[tuple[float, float, float]] = []
    for split in sorted(set(candidate["split"]) & set(primary["split"])):
        mine = estimate(model, metric, candidate[candidate["split"] == split])
        other = estimate(model, metric, primary[primary["split"] == split])
        if mine is not None and other is not None:
            weight = mine.rows * other.rows / (mine.rows + other.rows)
            parts.append((weight, mine.value - other.value, mine.variance + other.variance))
    return together(parts)


def error_gap(found: Mapping[Key, Counted], candidate: int, primary: int, *, role: str = "candidate") -> Gap | None:
    """The difference of the error rates within each split, put together; the variance after Agresti and Caffo (2000)."""
    parts: list[tuple[float, float, float]] = []
    for split in sorted({key.split for key in found}):
        mine, other = total(found, candidate, role, [split]), total(found, primary, "primary", [split])
        if min(mine.requests, other.requests) < FEWEST_REQUESTS:
            continue
        rates = [((each.errors + 1) / (each.requests + 2), each.requests) for each in (mine, other)]
        weight = mine.requests * other.requests / (mine.requests + other.requests)
        value = mine.errors / mine.requests - other.errors / other.requests
        parts.append((weight, value, sum(rate * (1 - rate) / n for rate, n in rates)))
    return together(parts)


def direction(model: Model, metric: str) -> str:
    """In which a metric is good; that of anything else, an error rate for example, is down."""
    known = model.known_metrics
    return known[metric].direction if metric in known else "minimize"


def together(parts: Sequence[tuple[float, float, float]]) -> Gap | None:
    """Weight, value and variance of each part."""
    everything = sum(weight for weight, _, _ in parts)
    if not everything:
        return None
    return Gap(
        value=sum(weight * value for weight, value, _ in parts) / everything,
        variance=sum(weight * weight * variance for weight, _, variance in parts) / everything**2,
    )


def _value(model: Model, metric: str, rows: pd.DataFrame) -> float | None:
    outputs: Any = rows.drop(columns=[LABEL, "split", "group"])
    value = evaluate(model.task, rows[LABEL], outputs, metrics=[model.known_metrics[metric]])[0].value
    return value if value is not None and math.isfinite(value) else None


def _kept(name: str) -> str:
    return column(SLICE + name)


def unit_sql(entity: Sequence[str], known: Sequence[str], kept: Callable[[str], str] = column) -> str:
    """What was divided as a whole, as text: what the log says; else the columns of the entity, where none is missing; else
    the decision.
    """
    named = [_named(each, kept) for each in entity]
    found = [kept(each) for each in known]
    if named:
        found.append(" || '|' || ".join(named))  # null where one of them is
    return f"coalesce({', '.join([*found, kept('keys'), 'prediction_id'])})"


def _named(name: str, kept: Callable[[str], str]) -> str:
    """A column of a request, by key or as a full row, as text; null where it is missing."""
    path = literal(json_pointer(name))
    found = ", ".join(f"json_extract_string({kept(each)}, {path})" for each in ("keys", "inputs"))
    nothing = ", ".join(literal(each) for each in sorted(MISSING))
    return f"case when lower(trim(coalesce({found}))) not in ({nothing}) then coalesce({found}) end"
