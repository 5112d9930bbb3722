"""Widening of a column whose new values do not fit: the wider type, refusals, and the message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import DataError
from headrace.lakehouse.columns import NAMES, change_of_type, common, conform, stored, type_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from headrace.lakehouse.snapshot import Snapshot


def beside_table(
    made: pa.Table, there: Snapshot, *, where: str, table: str, declared: Mapping[str, pa.DataType]
) -> pa.Table:
    """Rows that replace those of a table, in types that hold the values of both: the table's own, or wider ones.

    A column of the table that holds no value yet takes the type that comes.

    Raises:
        DataError: there is no such type, a value does not fit it, or another type is declared.
    """
    types: dict[str, pa.DataType] = {}
    for field in there.schema:
        was, index = stored(field.type) or field.type, made.schema.get_field_index(field.name)
        if index < 0:
            continue
        now = made.schema.field(index).type
        both = common(was, now)
        if both is None and there.without_values([field.name]):
            both = now
        if both is None or both != declared.get(field.name, both):
            raise changed_type(where, table, field.name, was, now)
        types[field.name] = both
    return conform(made, types, what=f"{where}: {table}")


def changed_type(where: str, table: str, name: str, was: pa.DataType, now: pa.DataType) -> DataError:
    """The refusal of a column whose type would change, to one that does not hold its values, under those who read it."""
    keep = f"Keep the type with schema=hr.Schema({name}={type_name(was)!r}), or" if was in NAMES else "To change it,"
    return DataError(
        f"{where}: column {name!r} of {table!r} was {type_name(was)} and would now be {type_name(now)}. Nothing was written.",
        hint=f"{keep} make the table anew, which is for dev: headrace table drop {table} && headrace run refresh. "
        "Elsewhere give the column a new name.",
    )


def widened(current: pa.Schema, schema: pa.Schema) -> list[str]:
    """The columns of a table whose type is another in a schema that `fitting` gave, in words."""
    there = {field.name: stored(field.type) or field.type for field in current}
    return [
        change_of_type(field.name, there[field.name], stored(field.type) or field.type)
        for field in schema
        if field.name in there and (stored(field.type) or field.type) != there[field.name]
    ]
