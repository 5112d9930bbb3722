"""Ad hoc SQL: one SELECT over the latest version of every readable table, within limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from headrace.core.errors import LimitError, SqlError
from headrace.lakehouse.declarations import Sql
from headrace.lakehouse.sql import check, explain, relation

if TYPE_CHECKING:
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.sql import Query

MEMORY = "50%"  # of the machine's, for a question of a user; beyond it spills
SECONDS = 60.0
ROWS = 1_000_000
BYTES = 2**30  # of an answer
BATCH = 10_000  # rows


@dataclass(frozen=True, kw_only=True)
class QueryLimits:
    """What an ad hoc question may take.

    Attributes:
        seconds: of time.
        rows: of the answer.
        bytes: of the answer.
    """

    seconds: float = SECONDS
    rows: int = ROWS
    bytes: int = BYTES


def ask(lakehouse: Lakehouse, text: str, limits: QueryLimits | None = None) -> pa.Table:
    """Answers a SELECT.

    Raises:
        SqlError: it does not parse, is no SELECT, or reads what is not a table of the lakehouse.
        LimitError: it takes too long, or its answer or its memory is too large.
    """
    limits = limits or QueryLimits()
    query = check(Sql(text, "<query>"), [name.name for name in lakehouse.names()], deterministic=False)
    try:
        return lakehouse.ask(
            dict.fromkeys(query.inputs),
            lambda connection: _answer(connection, query, limits),
            memory=MEMORY,
            seconds=limits.seconds,
        )
    except TimeoutError:
        raise LimitError(
            f"the question took longer than {limits.seconds:g} seconds.",
            hint="Ask for less, with WHERE on a column that narrows it, or give it more time: --timeout SECONDS",
        ) from None


def _answer(connection: duckdb.DuckDBPyConnection, query: Query, limits: QueryLimits) -> pa.Table:
    found = relation(connection, query)
    if twice := sorted({name for name in found.columns if found.columns.count(name) > 1}):
        raise SqlError(
            f"the answer has more than one column {', '.join(map(repr, twice))}.",
            hint="Name each column once: a.x AS a_x.",
        )
    batches: list[pa.RecordBatch] = []
    rows = size = 0
    try:
        reader = found.to_arrow_reader(BATCH)
        for batch in reader:
            batches.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
            _check_size(rows, size, limits)
    except duckdb.OutOfMemoryException as error:
        raise LimitError(
            f"the question needs more than {MEMORY} of the memory: {str(error).splitlines()[0]}",
            hint="Ask for less: fewer columns, a WHERE, or an aggregate before a join.",
        ) from None
    except duckdb.Error as error:
        raise explain(error, query) from None
    except OSError as error:  # what goes wrong while the answer comes is told by Arrow
        raise SqlError(f"the question cannot be answered: {str(error).splitlines()[0]}") from None
    return pa.Table.from_batches(batches, reader.schema)


def _check_size(rows: int, size: int, limits: QueryLimits) -> None:
    if rows > limits.rows:
        raise LimitError(
            f"the answer has more than {limits.rows:,} rows.",
            hint="Add a LIMIT, aggregate, or allow more: --max-rows ROWS",
        )
    if size > limits.bytes:
        raise LimitError(
            f"the answer is larger than {limits.bytes / 2**20:,.0f} MiB, after {rows:,} rows.",
            hint="Add a LIMIT, name fewer columns, or aggregate.",
        )
