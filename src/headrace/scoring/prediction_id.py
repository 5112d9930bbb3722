"""The id of a prediction: the same on every path for one decision that one version scored."""

# pyarrow.compute makes its functions when it is imported
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from headrace.core.ids import canonical, digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb
    import pyarrow as pa

FEW = 300  # rows that are quicker done one by one
ESCAPED = r"[^ !#-\[\]-~]"  # what JSON writes in another way


def prediction_id(model: str, version: int, key: Iterable[object], at: object) -> str:
    """A digest of model, version, the decision's key and its moment (UTC where it has no zone)."""
    return digest([model, version, *map(plain, key), plain(at)])


def prediction_ids(model: str, version: int, key: Sequence[pa.ChunkedArray], at: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same ids for columns of keys and moments: their JSON is put together by column instead of by row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(at) < FEW:
        rows = zip(*(column.to_pylist() for column in (*key, at)), strict=True)
        return pa.chunked_array(
            [pa.array([prediction_id(model, version, each, when) for *each, when in rows], pa.string())]
        )
    begin = canonical([model, version])[:-1]
    texts = pc.binary_join_element_wise(begin, *(_json(column) for column in (*key, at)), ",")
    with _engine().cursor() as connection:
        connection.register("given", pa.table({"text": texts}))
        return connection.sql("select left(sha256(text || ']'), 32) as id from given").to_arrow_table()["id"]


def plain(value: object) -> object:
    """An instant in UTC, a whole number without a fraction: as a table gives it and as a request may."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    """One for the process: opening it takes longer than a chunk of rows. One thread, so that rows stay in their order."""
    import duckdb

    return duckdb.connect(":memory:", config={"threads": 1})


def _json(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Each value as `digest` would write it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        return pc.fill_null(column.cast(pa.string()), "null")
    if pa.types.is_timestamp(column.type) and column.type.unit in ("s", "ms", "us"):
        return pc.fill_null(_instants(column), "null")
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        odd = pc.fill_null(pc.match_substring_regex(column, ESCAPED), fill_value=True)
        if not pc.any(odd).as_py():
            return pc.binary_join_element_wise('"', column.cast(pa.string()), '"', "")
    return _one_by_one(column)


def _instants(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO 8601 in UTC, with microseconds where there are any, in quotes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wall = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64()).cast(pa.timestamp("us"))
    seconds = pc.floor_temporal(wall, unit="second")
    whole = pc.equal(wall, seconds)
    texts = seconds.cast(pa.timestamp("s")).cast(pa.string())
    if not pc.all(whole).as_py():
        texts = pc.if_else(whole, texts, wall.cast(pa.string()))
    iso = pc.binary_replace_slice(texts, 10, 11, "T")
    return pc.binary_join_element_wise('"', iso, '+00:00"', "")


def _one_by_one(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Of other types: each different value once, in Python."""
    import pyarrow as pa

    coded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    texts = pa.array([canonical([plain(value)])[1:-1] for value in coded.dictionary.to_pylist()], pa.string())
    return pa.chunked_array([texts.take(coded.indices)], pa.string())
