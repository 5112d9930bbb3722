"""Rows without a key and without a time, kept with a key made from their content and the moment when each arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import DataError
from headrace.lakehouse.declarations import ARRIVED_AT, ROW_ID
from headrace.lakehouse.identifiers import column, quoted
from headrace.lakehouse.materialize import write_rows
from headrace.lakehouse.parsed_file import OWN

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import pyarrow as pa

    from headrace.lakehouse.declarations import ArrivalTable
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.materialize import Materialized

CONTENT, PLACE = "__content", "__place"
EXACT = 2**53  # whole numbers up to it are float64s


def build(lakehouse: Lakehouse, table: ArrivalTable, *, version: int, moment: datetime) -> Materialized:
    """Brings the table to the rows that its source has; a row that was there keeps its key and its moment.

    A key is the MD5 of the row's columns that are not null, in the order of their names: it stays the same when columns
    are in another order, when a column is added that is null in the row, and when whole numbers become fractions because
    another row has one. The second of two equal rows has `-2` at the end of its key.

    Args:
        lakehouse: where the source is and the table will be.
        table: the declaration.
        version: of the source.
        moment: of this refresh: when rows that were not there before arrived.

    Raises:
        DataError: the source has no row, or a column that is called as one of the two that are added. Nothing was written.
    """
    source = table.source.name
    schema = {field.name: field.type for field in lakehouse.snapshot(source, version).schema if field.name not in OWN}
    _check(table, list(schema))
    rows = _computed(lakehouse, table, version, schema, moment)
    if not rows.num_rows:
        raise DataError(
            f"{table.where}: source {source!r} has no rows.", hint="At least one row with a header is needed."
        )
    return write_rows(lakehouse, table, rows)


def _check(table: ArrivalTable, names: list[str]) -> None:
    if taken := [name for name in names if name.lower() in (ROW_ID, ARRIVED_AT)]:
        raise DataError(
            f"{table.where}: source {table.source.name!r} has a column {taken[0]!r}, as Headrace calls what it adds to rows "
            "without a key and a time.",
            hint="Rename it in the file, or declare hr.Table(…, key=…, time=…) over the source: its rows have both.",
        )


def _computed(
    lakehouse: Lakehouse, table: ArrivalTable, version: int, schema: Mapping[str, pa.DataType], moment: datetime
) -> pa.Table:
    there = lakehouse.exists(table.name)  # also another environment's, whose moments go on
    listed = ", ".join(f"numbered.{column(name)}" for name in schema)
    # concat() leaves nulls out, and is no deeper with a thousand columns than with one, as a chain of || would be
    pairs = ", ".join(f"{_text(name)} || '=' || {_value(name, schema[name])} || chr(10)" for name in sorted(schema))
    known = f"LEFT JOIN {quoted(table.name)} AS there USING ({ROW_ID})" if there else ""
    arrived = f"coalesce(there.{ARRIVED_AT}, $moment)" if there else "$moment"
    with lakehouse.connect(
        {table.source.name: version, **({table.name: None} if there else {})}, threads=1
    ) as connection:
        return connection.sql(
            f"""
            WITH read AS (SELECT *, md5(concat({pairs})) AS {CONTENT} FROM {quoted(table.source.name)}),
            placed AS (SELECT *, row_number() OVER (PARTITION BY {CONTENT}) AS {PLACE} FROM read),
            numbered AS (
                SELECT *, CASE {PLACE} WHEN 1 THEN {CONTENT} ELSE {CONTENT} || '-' || {PLACE} END AS {ROW_ID} FROM placed
            )
            SELECT {ROW_ID}, ({arrived})::TIMESTAMPTZ AS {ARRIVED_AT}, {listed} FROM numbered {known}
            """,
            params={"moment": moment},
        ).to_arrow_table()


def _value(name: str, kind: pa.DataType) -> str:
    """A value as text: a number as a float64 has it, where that is the number."""
    from pyarrow import types

    plain = column(name)
    if types.is_integer(kind):
        return f"CASE WHEN abs({plain}::HUGEINT) <= {EXACT} THEN to_json({plain}::DOUBLE) ELSE to_json({plain}) END"
    return f"to_json({plain}::DOUBLE)" if types.is_floating(kind) else f"to_json({plain})"


def _text(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
