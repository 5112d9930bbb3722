"""Batch scoring: decisions of one stretch of time, through one model version, into a table; each exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.core.clock import now
from headrace.features.rows import full_rows
from headrace.lakehouse.commit import Append, Overwrite, Upsert
from headrace.lakehouse.sql import column, quoted
from headrace.scoring.prediction_id import prediction_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import pandas as pd

    from headrace.features.plan import FeaturePlan
    from headrace.lakehouse.commit import Change, Commit
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.scoring.version import LoadedVersion

ID = "prediction_id"
AT = "predicted_for"
FEATURES = "features"


def score(
    lakehouse: Lakehouse,
    version: LoadedVersion,
    into: str,
    *,
    versions: Mapping[str, int],
    since: datetime,
    until: datetime,
    id: str,  # noqa: A002  # the name that a commit gives it
    sample: float = 1.0,
) -> tuple[Commit | None, int]:
    """Scores the decisions in `since <= at < until`.

    Args:
        lakehouse: where the features are, and where predictions go.
        version: the model.
        into: the table of predictions; made when it is not there.
        versions: table name → version to read, for the spine and every feature table.
        since: the first moment.
        until: the first moment that is left out.
        id: the write's identity: repeated with the same id, nothing is written twice.
        sample: the share of the decisions to score, by key.

    Returns:
        The commit (None when every prediction already stood there) and the number of decisions.
    """
    rows = full_rows(lakehouse, version.plan, versions, since=since, until=until, sample=sample)
    predictions = predict(version, rows)
    if predictions.num_rows == 0:
        return None, 0

    def change(snapshot: Snapshot | None) -> Change | None:
        if snapshot is None:
            return Append(predictions)
        there, mine = snapshot.schema.field(FEATURES).type, predictions.schema.field(FEATURES).type
        if there == mine:
            return _difference(lakehouse, snapshot, predictions)
        both = _both(there, mine)  # another version was made of other features
        if both == there:
            return _difference(lakehouse, snapshot, _widened(predictions, both))
        return _rewritten(snapshot.to_arrow(), predictions, both)

    return lakehouse.commit(into, id, change), predictions.num_rows


def predict(version: LoadedVersion, rows: pa.Table) -> pa.Table:
    """Prediction records for full rows: id, keys, moment, model, version, the task's outputs, the features that they
    were made from, and when it was computed.

    The id is a digest of model, version, key and moment: the same decision scored again by the same version has the
    same id, on every path.
    """
    plan = version.plan
    features, outputs = version.explain(rows.to_pandas())
    identity = [rows.column(name).to_pylist() for name in (*plan.keys, plan.at)]
    ids = [prediction_id(version.model, version.number, key, at) for *key, at in zip(*identity, strict=True)]
    columns = {
        ID: pa.array(ids, pa.string()),
        **{name: rows.column(name) for name in plan.keys},
        AT: rows.column(plan.at),
        "model": pa.array([version.model] * len(ids), pa.string()),
        "model_version": pa.array([version.number] * len(ids), pa.int64()),
        **{str(name): pa.array(values) for name, values in outputs.items()},
        FEATURES: _struct(plan, features),
        "scored_at": pa.array([now()] * len(ids), pa.timestamp("us", "UTC")),
    }
    return pa.table(columns)


def _struct(plan: FeaturePlan, features: pd.DataFrame) -> pa.ChunkedArray:
    types = {"number": pa.float64(), "string": pa.string()}
    columns = {
        feature.name: pa.array(features[feature.name], type=types[feature.kind], from_pandas=True)
        for feature in plan.features
    }
    return pa.table(columns).to_struct_array()


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


def _difference(lakehouse: Lakehouse, snapshot: Snapshot, predictions: pa.Table) -> Change | None:
    """What is new or other than what stands there, `scored_at` aside; an append when nothing has to be replaced."""
    compared = [name for name in predictions.column_names if name not in (ID, "scored_at")]
    differs = " or ".join(
        f"n.{column(name)} is distinct from o.{column(name)}"
        if name in snapshot.schema.names
        else f"n.{column(name)} is not null"  # of a class that no version knew before
        for name in compared
    )
    with lakehouse.connect({snapshot.name: snapshot.version}, arrow={"new": predictions}) as connection:
        changed = connection.sql(
            f"""
            select n.*, o.{ID} is not null as _stands
            from new n left join {quoted(snapshot.name)} o using ({ID})
            where o.{ID} is null or {differs}
            """
        ).to_arrow_table()
    if changed.num_rows == 0:
        return None
    rows = changed.drop_columns(["_stands"])
    return Upsert(rows, key=(ID,)) if any(changed.column("_stands").to_pylist()) else Append(rows)
