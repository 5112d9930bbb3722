"""Rows for a model whose spine has neither a key nor a time: both are added, as they are to the spine."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.core.clock import now
from headrace.core.ids import digest
from headrace.lakehouse import log
from headrace.lakehouse.declarations import ARRIVED_AT, ROW_ID
from headrace.lakehouse.identifiers import column, quoted
from headrace.scoring.columns import AT, key_columns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from headrace.features.plan import FeaturePlan
    from headrace.lakehouse.lakehouse import Lakehouse

DIGEST = 32  # characters, as those of the spine have


@dataclass(frozen=True, kw_only=True)
class FirstMoments:
    """The moments that a table of predictions has for keys made from content, so that they do not change.

    Attributes:
        lakehouse: the tables.
        tables: of predictions; the first that is there is read.
        model: whose predictions count.
    """

    lakehouse: Lakehouse
    tables: tuple[str, ...]
    model: str

    def of(self, plan: FeaturePlan, keys: pa.ChunkedArray) -> Mapping[str, datetime]:
        """Key → the earliest moment that a prediction of the model has for it; keys without a prediction are left out."""
        known = next((name for name in self.tables if self.lakehouse.exists(name, own=True)), None)
        if known is None:
            return {}
        snapshot, key = self.lakehouse.snapshot(known), key_columns(plan.keys)[ROW_ID]
        if not {key, AT, "model"} <= set(snapshot.schema.names):
            return {}
        wanted = pa.table({key: keys.cast(pa.string())})
        with self.lakehouse.connect({known: snapshot.version}, arrow={"wanted": wanted}) as connection:
            found = connection.execute(
                f"""
                select {column(key)}::varchar, min(epoch_us({column(AT)}::timestamptz))
                from {quoted(known)} semi join wanted using ({column(key)}) where model = ? group by all
                """,
                [self.model],
            ).fetchall()
        microseconds = pa.array([moment for _, moment in found], pa.timestamp("us", "UTC")).to_pylist()
        return {name: moment for (name, _), moment in zip(found, microseconds, strict=True)}


def added(plan: FeaturePlan, there: list[str]) -> list[str]:
    """The columns that are added to rows with these: none where the spine has a key and a time of its own."""
    if plan.keys != (ROW_ID,) or plan.at != ARRIVED_AT:
        return []
    return [name for name in (ROW_ID, ARRIVED_AT) if name not in there]


def with_arrivals(
    rows: pa.Table, plan: FeaturePlan, written: datetime, first_moments: FirstMoments | None = None
) -> pa.Table:
    """The rows with what they lack: a key made from the content of each, and its moment.

    Args:
        rows: the needed columns.
        plan: of the version that scores.
        written: when the file or the table was changed last: the moment of a row that has no prediction yet.
        first_moments: of rows that have one, which keep their moment, and so the identity of the prediction, when the
            same content is written again. Defaults to none.
    """
    wanted = added(plan, rows.column_names)
    if ROW_ID in wanted:
        seen = Counter[str]()
        keys: list[str] = []
        for row in rows.to_pylist():
            content = digest({name: str(value) for name, value in row.items()})[:DIGEST]
            seen[content] += 1
            keys.append(content if seen[content] == 1 else f"{content}-{seen[content]}")
        rows = rows.append_column(ROW_ID, pa.array(keys, pa.string()))
    if ARRIVED_AT in wanted:
        known = first_moments.of(plan, rows.column(ROW_ID)) if first_moments else {}
        moments = [known.get(str(key), written) for key in rows.column(ROW_ID).to_pylist()]
        rows = rows.append_column(ARRIVED_AT, pa.array(moments, pa.timestamp("us", "UTC")))
    return rows


def last_write(lakehouse: Lakehouse, tables: Mapping[str, int]) -> datetime:
    """When rows or columns of one of these tables were changed last; now, where no log says so.

    Args:
        lakehouse: where they are.
        tables: name → version.
    """
    snapshots = [lakehouse.snapshot(name, version) for name, version in tables.items()]
    changes = [log.entry(each.place, each.data_version) for each in snapshots]
    return max((each.at for each in changes if each is not None), default=now())
