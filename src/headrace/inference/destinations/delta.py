"""Predictions into a table of the lakehouse: a partition is one commit, under the partition's id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.inference.destinations.base import Written
from headrace.inference.destinations.difference import difference, nearby
from headrace.lakehouse.commit import Append, Overwrite, Upsert
from headrace.lakehouse.sql import quoted
from headrace.scoring.columns import FEATURES, ID

if TYPE_CHECKING:
    from headrace.lakehouse.commit import Change
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot


class DeltaTable:
    """See Destination.

    Args:
        lakehouse: of the environment.
        table: its name; made with the first predictions.
    """

    def __init__(self, lakehouse: Lakehouse, table: str) -> None:
        self.name = table
        self._lakehouse = lakehouse

    def write(self, predictions: pa.Table, *, id: str) -> Written:  # noqa: A002
        """See Destination."""

        def change(snapshot: Snapshot | None) -> Change | None:
            if snapshot is None:
                return Append(predictions)
            there, mine = snapshot.schema.field(FEATURES).type, predictions.schema.field(FEATURES).type
            if there == mine:
                return self._changed(snapshot, predictions)
            both = _both(there, mine)  # another version was made of other features
            if both == there:
                return self._changed(snapshot, _widened(predictions, both))
            return _rewritten(snapshot.to_arrow(), predictions, both)

        commit = self._lakehouse.commit(self.name, id, change)
        return Written(rows=commit.rows_written, version=commit.version)

    def stands(self) -> bool:
        """See Destination."""
        return self._lakehouse.exists(self.name, own=True)

    def close(self) -> None:
        """See Destination."""

    def _changed(self, snapshot: Snapshot, predictions: pa.Table) -> Change | None:
        standing = f"(from {quoted(snapshot.name)} where {nearby(predictions)})"
        with self._lakehouse.connect({snapshot.name: snapshot.version}, arrow={"new": predictions}) as connection:
            found = difference(connection, predictions.schema, standing, snapshot.schema.names)
        if found.rows.num_rows == 0:
            return None
        return Upsert(found.rows, key=(ID,)) if found.replace else Append(found.rows)


def _both(there: pa.DataType, mine: pa.DataType) -> pa.DataType:
    """A struct with the fields of two; one that both have keeps the type that it has there."""
    known = {field.name: field for field in mine} | {field.name: field for field in there}
    names = dict.fromkeys(field.name for field in (*there, *mine))
    return pa.struct([known[name] for name in names])


def _widened(rows: pa.Table, features: pa.DataType) -> pa.Table:
    """The same rows, with all of these features; those that they were not made from are null."""
    given = rows.column(FEATURES).combine_chunks()
    there = {field.name for field in given.type}
    columns = [
        given.field(field.name) if field.name in there else pa.nulls(len(given), field.type) for field in features
    ]
    place = rows.schema.get_field_index(FEATURES)
    return rows.set_column(place, FEATURES, pa.StructArray.from_arrays(columns, fields=list(features)))


def _rewritten(before: pa.Table, predictions: pa.Table, features: pa.DataType) -> Overwrite:
    """The whole table with features that it did not have: Delta cannot add a field to a struct."""
    new = set(predictions.column(ID).to_pylist())
    stays = before.filter(pa.array([each not in new for each in before.column(ID).to_pylist()], pa.bool_()))
    return Overwrite(
        pa.concat_tables([_widened(stays, features), _widened(predictions, features)], promote_options="default")
    )
