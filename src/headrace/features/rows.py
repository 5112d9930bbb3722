"""Full rows: the spine with every feature as of its decision, from pinned table versions."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from headrace.features import point_in_time
from headrace.lakehouse.sql import column, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa

    from headrace.features.plan import FeaturePlan, LookUp
    from headrace.lakehouse.lakehouse import Lakehouse

PARTS = 10_000  # in which keys are divided to sample
WRITTEN = "_written_at"  # when a feature table's row was last written; breaks ties


def full_rows(
    lakehouse: Lakehouse,
    plan: FeaturePlan,
    versions: Mapping[str, int],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    keep: Sequence[str] = (),
    sample: float = 1.0,
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

    Returns:
        The spine's rows in key order, each exactly once. Types are those of the tables.
    """
    columns = list(dict.fromkeys((*plan.keys, plan.at, *keep, *plan.spine_columns)))
    needed = dict.fromkeys((*columns, *(spine for lookup in plan.lookups for _, spine in lookup.on)))
    bounds = [
        f"{column(plan.at)} {sign} timestamptz '{moment.isoformat()}'"
        for sign, moment in ((">=", since), ("<", until))
        if moment
    ]
    if sample < 1:
        texts = ", ".join(f"{column(key)}::varchar" for key in plan.keys)
        bounds.append(f"md5_number_lower(concat_ws(chr(31), {texts})) % {PARTS} < {round(sample * PARTS)}")
    spine = (
        f"(select {', '.join(column(name) for name in needed)} from {quoted(plan.spine)}"
        f"{' where ' + ' and '.join(bounds) if bounds else ''} order by {', '.join(column(name) for name in plan.keys)})"
    )
    with lakehouse.connect({name: versions[name] for name in plan.tables}) as connection:
        lookups = [
            _lookup(lookup, lakehouse.snapshot(lookup.table, versions[lookup.table]).schema) for lookup in plan.lookups
        ]
        return point_in_time.join(connection, spine, at=plan.at, lookups=lookups, keep=columns)


def _lookup(planned: LookUp, schema: pa.Schema) -> point_in_time.Lookup:
    return point_in_time.Lookup(
        relation=quoted(planned.table),
        on=dict(planned.on),
        time=planned.time,
        columns=dict(planned.columns),
        look_back=None if planned.look_back is None else timedelta(seconds=planned.look_back),
        written=WRITTEN if WRITTEN in schema.names else None,
    )
