"""Prediction records: the columns that are stored for each scored decision, the same on every path."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.core.clock import now
from headrace.core.errors import UserCodeError
from headrace.scoring.columns import AT, FEATURES, ID, IN_SAMPLE, VERSIONS, key_columns
from headrace.scoring.prediction_id import prediction_ids

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

    from headrace.features.plan import FeaturePlan
    from headrace.scoring.version import LoadedVersion

TYPES: Mapping[str, pa.DataType] = {"number": pa.float64(), "string": pa.string()}
ByColumn = Callable[[Sequence[Any]], Mapping[str, Sequence[float]]]
"""Inputs by column (arrays of float64, NaN where one is missing; texts or None) → the task's outputs by column, to the bits of `predict`."""


def predict(version: LoadedVersion, rows: pa.Table, by_column: ByColumn | None = None) -> pa.Table:
    """Prediction records for full rows: id, keys, moment, model, version, the task's outputs, the features that they
    were made from, and when it was computed.

    The id is a digest of model, version, key and moment: the same decision scored again by the same version has the
    same id, on every path.

    Args:
        version: that predicts.
        rows: full rows.
        by_column: the same version's way by column, where it has one: it needs no DataFrame.
    """
    if by_column is not None and (made := _by_column(version, rows, by_column)) is not None:
        return made
    return record(version, rows, *version.predict_table(rows))


def record(version: LoadedVersion, rows: pa.Table, features: pd.DataFrame, outputs: pd.DataFrame) -> pa.Table:
    """The same, of outputs that there are.

    Args:
        version: that made them.
        rows: full rows.
        features: that these came to, same length.
        outputs: of the task, same length.
    """
    made = {str(name): pa.array(values) for name, values in outputs.items()}
    return _record(version, rows, _struct(version.plan, features), made)


def _by_column(version: LoadedVersion, rows: pa.Table, by_column: ByColumn) -> pa.Table | None:
    """None where a column is of another type than features are, or where `output` has to say what is wrong."""
    inputs = {column.name: rows.column(column.name) for column in version.plan.inputs}
    for column in version.plan.inputs:
        if inputs[column.name].type != TYPES.get(column.kind):
            return None
    given = [each.to_numpy() if pa.types.is_floating(each.type) else each.to_pylist() for each in inputs.values()]
    try:
        outputs = by_column(given)
    except UserCodeError:
        return None
    names = [each.name for each in version.plan.features]
    features = pa.StructArray.from_arrays([_known(inputs[name]) for name in names], names)
    return _record(version, rows, features, {name: pa.array(values, pa.float64()) for name, values in outputs.items()})


def _known(column: pa.ChunkedArray) -> pa.Array:
    """In one piece; NaN is missing."""
    found = column.combine_chunks()
    if not pa.types.is_floating(found.type):
        return found
    functions: Any = pc  # made when it is imported: no type says what there is
    odd = functions.is_nan(found)
    return functions.if_else(odd, None, found) if functions.any(odd).as_py() else found


def _record(
    version: LoadedVersion, rows: pa.Table, features: pa.StructArray, outputs: Mapping[str, pa.Array]
) -> pa.Table:
    plan = version.plan
    keys = [rows.column(name) for name in plan.keys]
    ids = prediction_ids(version.model, version.number, keys, rows.column(plan.at))
    columns = {
        ID: ids,
        **dict(zip(key_columns(plan.keys).values(), keys, strict=True)),
        AT: rows.column(plan.at),
        "model": pa.repeat(pa.scalar(version.model, pa.string()), len(ids)),
        "model_version": pa.repeat(pa.scalar(version.number, pa.int64()), len(ids)),
        **outputs,
        FEATURES: features,
        "scored_at": pa.repeat(pa.scalar(now(), pa.timestamp("us", "UTC")), len(ids)),
    }
    return pa.table(columns)


def with_versions(predictions: pa.Table, versions: Mapping[str, int]) -> pa.Table:
    """The same records with the versions of the tables that their features were read from: a JSON text, table → version."""
    told = pa.scalar(json.dumps(dict(sorted(versions.items()))), pa.string())
    place = predictions.schema.get_field_index("scored_at")
    return predictions.add_column(place, VERSIONS, pa.repeat(told, predictions.num_rows))


def with_in_sample(predictions: pa.Table, fitted: tuple[datetime, datetime]) -> pa.Table:
    """The same records, each marked whether its decision lies in the time that the version was fitted on.

    Args:
        predictions: the records.
        fitted: the first and the last decision of the fit.
    """
    moments = predictions.column(AT).cast(pa.timestamp("us", "UTC"))
    first, last = (pa.scalar(each, pa.timestamp("us", "UTC")) for each in fitted)
    functions: Any = pc  # made when it is imported: no type says what there is
    inside = functions.and_(functions.greater_equal(moments, first), functions.less_equal(moments, last))
    return predictions.add_column(predictions.schema.get_field_index("scored_at"), IN_SAMPLE, inside)


def _struct(plan: FeaturePlan, features: pd.DataFrame) -> pa.StructArray:
    columns = [pa.array(features[each.name], type=TYPES[each.kind], from_pandas=True) for each in plan.features]
    # pandas 3 keeps texts in chunks
    whole = [each.combine_chunks() if isinstance(each, pa.ChunkedArray) else each for each in columns]
    return pa.StructArray.from_arrays(whole, [each.name for each in plan.features])
