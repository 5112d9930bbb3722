"""Predictions for stores without structs: the features, and anything else that is nested, as JSON text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.lakehouse.identifiers import column
from headrace.lakehouse.scan import connect

if TYPE_CHECKING:
    import pyarrow as pa


def flat(predictions: pa.Table) -> pa.Table:
    """The same rows in the same order; every column is a number, a text, a truth value, a time or bytes."""
    import pyarrow as pa

    nested = [field.name for field in predictions.schema if pa.types.is_nested(field.type)]
    with connect([], {"given": predictions.select(nested)}, threads=1) as connection:
        listed = ", ".join(f"to_json({column(name)})::varchar as {column(name)}" for name in nested)
        texts = connection.sql(f"select {listed} from given").to_arrow_table()
    for name in nested:
        predictions = predictions.set_column(predictions.schema.get_field_index(name), name, texts.column(name))
    return predictions
