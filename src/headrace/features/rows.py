"""Full rows: the spine with every feature as of its decision, from pinned table versions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from headrace.features import point_in_time
from headrace.lakehouse.identifiers import column, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa

    from headrace.features.plan import FeatureLookup, FeaturePlan
    from headrace.lakehouse.lakehouse import Lakehouse

PARTS = 10_000  # in which keys are divided to sample
WRITTEN = "_written_at"  # when a feature table's row was last written; breaks ties


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """Rows that stand for the spine: its keys, the moment, and those of its columns that the plan needs, in its types.

    Attributes:
        relation: SQL of them, over `tables` and `arrow`.
        tables: table → version.
        arrow: views of tables in memory.
    """

    relation: str
    tables: Mapping[str, int] = field(default_factory=dict[str, int])
    arrow: Mapping[str, pa.Table] = field(default_factory=dict[str, "pa.Table"])

    @classmethod
    def of_spine(cls, plan: FeaturePlan, versions: Mapping[str, int]) -> Decisions:
        """The spine itself."""
        return cls(relation=quoted(plan.spine), tables={plan.spine: versions[plan.spine]})


def needed(plan: FeaturePlan) -> list[str]:
    """The columns of the spine that full rows are made with."""
    looked_up = (spine for lookup in plan.lookups for _, spine in lookup.on)
    return list(dict.fromkeys((*plan.keys, plan.at, *plan.spine_columns, *looked_up)))


def within(
    plan: FeaturePlan,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    sample: float = 1.0,
    part: tuple[int, int] = (0, 1),
) -> str:
    """SQL that holds for the decisions in `since <= at < until`, of a share by key, of part n of m by key."""
    bounds = [
        f"{column(plan.at)} {sign} timestamptz '{moment.isoformat()}'"
        for sign, moment in ((">=", since), ("<", until))
        if moment
    ]
    texts = ", ".join(f"{column(key)}::varchar" for key in plan.keys)
    place = f"md5_number_lower(concat_ws(chr(31), {texts}))"
    if sample < 1:
        bounds.append(f"{place} % {PARTS} < {round(sample * PARTS)}")
    if part[1] > 1:
        bounds.append(f"{place} // {PARTS} % {part[1]} = {part[0]}")
    return " and ".join(bounds) or "true"


def full_rows(
    lakehouse: Lakehouse,
    plan: FeaturePlan,
    versions: Mapping[str, int],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    keep: Sequence[str] = (),
    sample: float = 1.0,
    part: tuple[int, int] = (0, 1),
    decisions: Decisions | None = None,
) -> pa.Table:
    """One row for each decision in `since <= at < until`: keys, the moment, and the plan's input columns.

    Args:
        lakehouse: where the tables are.
        plan: what to look up.
        versions: table name → version, for each of `plan.tables`.
        since: the first moment; None for all.
        until: the first moment that is left out; None for all.
        keep: more columns of the spine, for slices.
        sample: the share of the decisions, always the same ones by a hash of the key.
        part: n of m, counted from 0: these parts of the decisions, by another hash of the key.
        decisions: rows that stand for the spine; the spine itself unless given.

    Returns:
        The spine's rows in key order, each exactly once. Types are those of the tables.
    """
    columns = list(dict.fromkeys((*plan.keys, plan.at, *keep, *plan.spine_columns)))
    given = decisions or Decisions.of_spine(plan, versions)
    read = ", ".join(column(name) for name in dict.fromkeys((*columns, *needed(plan))))
    spine = (
        f"(select {read} from {given.relation}"
        f" where {within(plan, since=since, until=until, sample=sample, part=part)}"
        f" order by {', '.join(column(name) for name in plan.keys)})"
    )
    looked_up = {lookup.table: versions[lookup.table] for lookup in plan.lookups}
    with lakehouse.connect({**given.tables, **looked_up}, arrow=given.arrow) as connection:
        lookups = [
            _lookup(lookup, lakehouse.snapshot(lookup.table, versions[lookup.table]).schema) for lookup in plan.lookups
        ]
        return point_in_time.join(connection, spine, at=plan.at, lookups=lookups, keep=columns)


def _lookup(planned: FeatureLookup, schema: pa.Schema) -> point_in_time.JoinSpec:
    return point_in_time.JoinSpec(
        relation=quoted(planned.table),
        on=dict(planned.on),
        time=planned.time,
        columns=dict(planned.columns),
        look_back=None if planned.look_back is None else timedelta(seconds=planned.look_back),
        written=WRITTEN if WRITTEN in schema.names else None,
    )
