"""Skew between serving and training: the features of answered requests are looked up again in the tables, and compared.

A server logs the features that it looked up, and their publication: the version of each table, and the moment.
For a sample of these requests the look-ups are repeated by the join of training:

* **skewed**: in that version, as of that moment, the join returns another value. The cause is a fault: a changed store, a
  publication with rows that had not become available yet, or an encoding that loses information.
* **behind**: the join returns the same value, but with today's tables, as of the request, another one. The available row
  was not yet published, or has been corrected since. Publish more often.

Values are equal to the last bit or they are not; a null and a NaN are the same.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.core.clock import instant, now
from headrace.core.errors import NotFoundError
from headrace.features import point_in_time
from headrace.features.rows import WRITTEN
from headrace.lakehouse.identifiers import column, literal, quoted
from headrace.lakehouse.writes import Append

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from headrace.features.plan import FeatureLookup, FeaturePlan, Kind
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot

TABLE = "metrics.skew"
ROWS = 1000  # of the newest answers, at each check
ASKED, PUBLISHED, FOUND = "__asked", "__published", "__found"
INSTANT = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("model_version", pa.int64()),
        ("feature", pa.string()),
        ("feature_table", pa.string()),
        ("since", INSTANT),
        ("until", INSTANT),
        ("rows", pa.int64()),
        ("skewed", pa.int64()),
        ("behind", pa.int64()),
        ("unknown", pa.int64()),
        ("example", pa.string()),
        ("measured_at", INSTANT),
    ]
)


@dataclass(kw_only=True)
class SkewedFeature:
    """A looked-up input in the answers of a check.

    Attributes:
        rows: that were compared.
        skewed, behind: of them; see above.
        unknown: further rows that could not be: their table's version is gone, or the log leaves out what is needed.
        example: the id of the first prediction that was skewed.
    """

    name: str
    table: str
    rows: int = 0
    skewed: int = 0
    behind: int = 0
    unknown: int = 0
    example: str | None = None


@dataclass(frozen=True, kw_only=True)
class Skew:
    """What a check found.

    Attributes:
        since, until: when the first and the last of the answers were asked for.
        rows: how many answers there were.
        features: each looked-up input.
    """

    since: datetime
    until: datetime
    rows: int
    features: tuple[SkewedFeature, ...]

    @property
    def skewed(self) -> list[SkewedFeature]:
        """Those that were not what training sees, the worst first."""
        return sorted((each for each in self.features if each.skewed), key=lambda each: -each.skewed)


def check(
    lakehouse: Lakehouse,
    plan: FeaturePlan,
    log: str,
    *,
    version: int,
    after: datetime | None = None,
    hidden: Collection[str] = (),
    rows: int = ROWS,
) -> Skew | None:
    """Compares the newest answers of a version that were completed by what is looked up.

    Args:
        lakehouse: the tables.
        plan: of the version.
        log: the inference table.
        version: its number.
        after: answers asked for until then were compared before.
        hidden: columns whose values the log leaves out.
        rows: how many answers at most.

    Returns:
        None where there is no such answer.
    """
    answers = _answers(lakehouse, log, version=version, after=after, rows=rows)
    if not answers or not plan.lookups:
        return None
    kinds: dict[str, Kind] = {each.name: each.kind for each in plan.inputs}
    found: list[SkewedFeature] = []
    for lookup in plan.lookups:
        features = [SkewedFeature(name=ours, table=lookup.table) for _, ours in lookup.columns if ours not in hidden]
        if any(ours in hidden for _, ours in lookup.on):
            for each in features:
                each.unknown = len(answers)
        elif features:
            _compare(lakehouse, lookup, answers, features, kinds)
        found += features
    asked = [answer.requested_at for answer in answers]
    return Skew(since=min(asked), until=max(asked), rows=len(answers), features=tuple(found))


def keep(lakehouse: Lakehouse, model: str, version: int, skew: Skew, *, id: str) -> None:  # noqa: A002
    """Writes what was found into `metrics.skew`, a row a feature."""
    shared = {"model": model, "model_version": version, "since": skew.since, "until": skew.until, "measured_at": now()}
    made = [
        {**shared, "feature": each.name, "feature_table": each.table, **_counts(each), "example": each.example}
        for each in skew.features
    ]
    if made:
        lakehouse.commit(TABLE, id, lambda _: Append(pa.Table.from_pylist(made, schema=SCHEMA)))


def last(lakehouse: Lakehouse, model: str, version: int) -> Skew | None:
    """What the last check of a version found."""
    if not lakehouse.exists(TABLE, own=True):
        return None
    where = f"model = {literal(model)} and model_version = {int(version)}"
    with lakehouse.connect({TABLE: None}) as connection:
        kept = connection.sql(
            f"from {quoted(TABLE)} where {where} qualify until = max(until) over () order by feature"
        ).to_arrow_table()
    read = kept.to_pylist()
    if not read:
        return None
    features = tuple(
        SkewedFeature(
            name=row["feature"],
            table=row["feature_table"],
            **{name: row[name] for name in ("rows", "skewed", "behind", "unknown", "example")},
        )
        for row in read
    )
    most = max(each.rows + each.unknown for each in features)
    return Skew(since=read[0]["since"], until=read[0]["until"], rows=most, features=features)


def _counts(feature: SkewedFeature) -> dict[str, int]:
    return {"rows": feature.rows, "skewed": feature.skewed, "behind": feature.behind, "unknown": feature.unknown}


# ---------------------------------------------------------------------------------------------- the answers


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """One row of the log.

    Attributes:
        given: what a look-up may go by: the request's columns and the spine's keys.
        inputs: what the model was given.
        at: the moment of the decision.
        versions: table → version that was published.
        published: table → the moment as of which.
    """

    prediction_id: str
    requested_at: datetime
    at: datetime
    given: Mapping[str, Any]
    inputs: Mapping[str, Any]
    versions: Mapping[str, int]
    published: Mapping[str, datetime]


def _answers(lakehouse: Lakehouse, log: str, *, version: int, after: datetime | None, rows: int) -> list[_Answer]:
    if not lakehouse.exists(log, own=True):
        return []
    names = lakehouse.snapshot(log).schema.names
    if "feature_versions" not in names:  # of an older release, and nothing has been logged since
        return []
    by = column("lookup_keys") if "lookup_keys" in names else "null"
    later = "" if after is None else f"and requested_at > timestamptz '{after.isoformat()}'"
    with lakehouse.connect({log: None}) as connection:
        read = connection.sql(
            f"""
            select prediction_id, requested_at, decision_time, keys, inputs, feature_versions, features_as_of, {by} as given
            from {quoted(log)}
            where model_version = {int(version)} and feature_versions is not null and keys is not null {later}
            order by requested_at desc, request_id, row
            limit {int(rows)}
            """
        ).to_arrow_table()
    return [_answer(row) for row in read.to_pylist()]


def _answer(row: Mapping[str, Any]) -> _Answer:
    inputs = json.loads(row["inputs"])
    published = json.loads(row["features_as_of"])
    return _Answer(
        prediction_id=row["prediction_id"],
        requested_at=row["requested_at"],
        at=row["decision_time"],
        given={**inputs, **json.loads(row["keys"]), **json.loads(row["given"] or "{}")},
        inputs=inputs,
        versions=json.loads(row["feature_versions"]),
        published={name: instant(at) for name, at in published.items()},
    )


# ---------------------------------------------------------------------------------------------- the comparison


def _compare(
    lakehouse: Lakehouse,
    lookup: FeatureLookup,
    answers: Sequence[_Answer],
    features: Sequence[SkewedFeature],
    kinds: Mapping[str, Kind],
) -> None:
    """Counts, for the columns of one look-up."""
    known = [
        answer
        for answer in answers
        if lookup.table in answer.versions and all(spine in answer.given for _, spine in lookup.on)
    ]
    groups: dict[int, list[_Answer]] = {}
    for answer in known:
        groups.setdefault(answer.versions[lookup.table], []).append(answer)
    there: list[_Answer] = []
    then: list[Mapping[str, Any]] = []
    for number, some in sorted(groups.items()):
        snapshot = _snapshot(lakehouse, lookup, number, some)
        if snapshot is not None:
            there += some
            then += _published(lakehouse, lookup, snapshot, some)
    today = _looked_up(lakehouse, lookup, lakehouse.snapshot(lookup.table), there, [answer.at for answer in there])
    reach = None if lookup.look_back is None else timedelta(seconds=lookup.look_back)
    for feature in features:
        kind = kinds[feature.name]
        feature.unknown = len(answers) - len(there)
        for answer, published, newest in zip(there, then, today, strict=True):
            served = _value(kind, answer.inputs[feature.name])
            feature.rows += 1
            if served != _value(kind, published[feature.name]):
                feature.skewed += 1
                feature.example = feature.example or answer.prediction_id
            elif served != _value(kind, newest[feature.name] if _reaches(newest[FOUND], answer.at, reach) else None):
                feature.behind += 1


def _snapshot(lakehouse: Lakehouse, lookup: FeatureLookup, version: int, answers: Sequence[_Answer]) -> Snapshot | None:
    """The version that was published; None where it is gone, or is of a table that was made anew since."""
    try:
        snapshot = lakehouse.snapshot(lookup.table, version)
    except NotFoundError:
        return None
    made = next((each.at for each in lakehouse.history(lookup.table) if each.version == version), None)
    if made is None or made > max(answer.requested_at for answer in answers):
        return None
    wanted = {theirs for theirs, _ in (*lookup.on, *lookup.columns)} | {lookup.time}
    return snapshot if wanted <= set(snapshot.schema.names) else None


def _published(
    lakehouse: Lakehouse, lookup: FeatureLookup, snapshot: Snapshot, answers: Sequence[_Answer]
) -> list[Mapping[str, Any]]:
    """What the online store had to give: of each key the latest row at the publication, unless it is too new or too old."""
    rows = _looked_up(lakehouse, lookup, snapshot, answers, [answer.published[lookup.table] for answer in answers])
    reach = None if lookup.look_back is None else timedelta(seconds=lookup.look_back)
    nothing = dict.fromkeys(ours for _, ours in lookup.columns)
    return [
        row if _reaches(row[FOUND], answer.at, reach) else nothing for row, answer in zip(rows, answers, strict=True)
    ]


def _looked_up(
    lakehouse: Lakehouse,
    lookup: FeatureLookup,
    snapshot: Snapshot,
    answers: Sequence[_Answer],
    moments: Sequence[datetime],
) -> list[Mapping[str, Any]]:
    """The latest row of each answer's key at a moment, of any age; when it had become available is in `FOUND`."""
    columns: dict[str, pa.Array] = {ASKED: pa.array(moments, INSTANT)}
    for theirs, ours in lookup.on:
        values = [answer.given[ours] for answer in answers]
        columns[ours] = _typed(values, snapshot.schema.field(theirs).type)
    found = dict(lookup.columns).get(lookup.time, FOUND)
    wanted = point_in_time.JoinSpec(
        relation=quoted(lookup.table),
        on=dict(lookup.on),
        time=lookup.time,
        columns={**dict(lookup.columns), lookup.time: found},
        look_back=None,
        written=WRITTEN if WRITTEN in snapshot.schema.names else None,
    )
    arrow = {PUBLISHED: pa.table(columns)}
    with lakehouse.connect({lookup.table: snapshot.version}, arrow=arrow) as connection:
        rows = point_in_time.join(connection, quoted(PUBLISHED), at=ASKED, lookups=[wanted], keep=[]).to_pylist()
    return [{**row, FOUND: row[found]} for row in rows]


def _typed(values: Iterable[object], kind: pa.DataType) -> pa.Array:
    """Keys as the log has them, in the table's type. One that is none finds nothing, as it did when it was asked."""
    listed = list(values)
    try:
        texts = [each for each in listed if isinstance(each, str)]
        if texts and not pa.types.is_string(kind):
            return pa.array([None if each is None else str(each) for each in listed], pa.string()).cast(kind)
        return pa.array(listed).cast(kind) if any(each is not None for each in listed) else pa.nulls(len(listed), kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        if len(listed) == 1:
            return pa.nulls(1, kind)
        return pa.concat_arrays([_typed([each], kind) for each in listed])


def _reaches(time: object, at: datetime, reach: timedelta | None) -> bool:
    if time is None:
        return False
    found = _moment(time)
    return found <= at and (reach is None or found >= at - reach)


def _moment(value: object) -> datetime:
    """A time of a table: without a zone it is UTC, as the join takes it."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value
    assert isinstance(value, date)
    return datetime(value.year, value.month, value.day, tzinfo=UTC)


def _value(kind: Kind, value: object) -> object:
    """As the model is given it, to compare."""
    if value is None:
        return None
    if kind == "number":
        assert isinstance(value, int | float | Decimal | str)
        number = float(value)
        return None if math.isnan(number) else number
    if kind == "string":
        return str(value)
    return _moment(datetime.fromisoformat(value) if isinstance(value, str) else value)
