"""Prediction records: the columns that are stored for each scored decision, the same on every path."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.core.clock import now
from headrace.scoring.columns import AT, FEATURES, ID, IN_SAMPLE, VERSIONS, key_columns
from headrace.scoring.prediction_id import prediction_ids

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import pandas as pd

    from headrace.features.plan import FeaturePlan
    from headrace.scoring.version import LoadedVersion


def predict(version: LoadedVersion, rows: pa.Table) -> pa.Table:
    """Prediction records for full rows: id, keys, moment, model, version, the task's outputs, the features that they
    were made from, and when it was computed.

    The id is a digest of model, version, key and moment: the same decision scored again by the same version has the
    same id, on every path.
    """
    return record(version, rows, *version.predict_table(rows))


def record(version: LoadedVersion, rows: pa.Table, features: pd.DataFrame, outputs: pd.DataFrame) -> pa.Table:
    """The same, of outputs that there are.

    Args:
        version: that made them.
        rows: full rows.
        features: that these came to, same length.
        outputs: of the task, same length.
    """
    plan = version.plan
    keys = [rows.column(name) for name in plan.keys]
    ids = prediction_ids(version.model, version.number, keys, rows.column(plan.at))
    columns = {
        ID: ids,
        **dict(zip(key_columns(plan.keys).values(), keys, strict=True)),
        AT: rows.column(plan.at),
        "model": pa.repeat(pa.scalar(version.model, pa.string()), len(ids)),
        "model_version": pa.repeat(pa.scalar(version.number, pa.int64()), len(ids)),
        **{str(name): pa.array(values) for name, values in outputs.items()},
        FEATURES: _struct(plan, features),
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
    types = {"number": pa.float64(), "string": pa.string()}
    columns = [pa.array(features[each.name], type=types[each.kind], from_pandas=True) for each in plan.features]
    whole = [
        each.combine_chunks() if isinstance(each, pa.ChunkedArray) else each for each in columns
    ]  # texts of pandas 3
    return pa.StructArray.from_arrays(whole, [each.name for each in plan.features])
