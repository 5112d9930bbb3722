"""Predictions into a table of the lakehouse: a partition is one commit, under the partition's id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.inference.destinations.base import ScoredRows
from headrace.inference.destinations.difference import difference, nearby
from headrace.lakehouse.columns import common
from headrace.lakehouse.identifiers import quoted
from headrace.lakehouse.rows import fit
from headrace.lakehouse.writes import Append, Upsert
from headrace.scoring.columns import FEATURES, ID, check_predictions

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.writes import Change


class DeltaTable:
    """See Destination.

    Args:
        lakehouse: of the environment.
        table: its name; made with the first predictions.
    """

    def __init__(self, lakehouse: Lakehouse, table: str) -> None:
        self.name = table
        self._lakehouse = lakehouse

    def write(self, predictions: pa.Table, *, id: str) -> ScoredRows:  # noqa: A002
        """See Destination."""

        def change(snapshot: Snapshot | None) -> Change | None:
            if snapshot is None:
                return Append(predictions)
            check_predictions(self.name, snapshot.schema.names)
            there = snapshot.schema.field(FEATURES).type
            both = common(there, predictions.schema.field(FEATURES).type)
            if both is None:
                return Append(predictions)  # which is refused, with the feature whose type changed
            rows = _with_features(self.name, predictions, both)
            # another version was made of other features: then the commit writes the table anew, once
            return self._changed(snapshot, rows) if both == there else Upsert(rows, key=(ID,))

        commit = self._lakehouse.commit(self.name, id, change)
        return ScoredRows(rows=commit.rows_written, version=commit.version)

    def identity(self) -> str | None:
        """See Destination."""
        return self._lakehouse.snapshot(self.name).id if self._lakehouse.exists(self.name, own=True) else None

    def close(self) -> None:
        """See Destination."""

    def _changed(self, snapshot: Snapshot, predictions: pa.Table) -> Change | None:
        standing = f"(from {quoted(snapshot.name)} where {nearby(predictions)})"
        with self._lakehouse.connect({snapshot.name: snapshot.version}, arrow={"new": predictions}) as connection:
            if not connection.sql(f"select 1 from {standing} limit 1").fetchall():
                return Append(predictions)  # as they are: comparing takes as long as writing
            found = difference(connection, predictions.schema, standing, snapshot.schema.names)
        if found.rows.num_rows == 0:
            return None
        return Upsert(found.rows, key=(ID,)) if found.replace else Append(found.rows)


def _with_features(name: str, rows: pa.Table, features: pa.DataType) -> pa.Table:
    """The same rows, with all of these features; those that they were not made from are null.

    Raises:
        DataError: a value does not fit the type that the table's own have.
    """
    place = rows.schema.get_field_index(FEATURES)
    return fit(name, rows, rows.schema.set(place, rows.schema.field(place).with_type(features)))
