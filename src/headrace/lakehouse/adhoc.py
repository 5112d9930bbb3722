"""Ad hoc SQL: one SELECT over the latest version of every readable table, within limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import duckdb
import pyarrow as pa

from headrace.core.errors import CutShortError, LimitError, SqlError
from headrace.lakehouse.declarations import Sql
from headrace.lakehouse.placeholders import as_duckdb, check_values
from headrace.lakehouse.sql import check, explain, relation

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.placeholders import Value
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


def ask(
    lakehouse: Lakehouse,
    text: str,
    limits: QueryLimits | None = None,
    *,
    values: Mapping[str, Value] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> pa.Table:
    """Answers a SELECT.

    Args:
        lakehouse: whose tables it may read.
        text: the SELECT, with placeholders `:name`.
        limits: what it may take; None: the defaults.
        values: name of a placeholder → the value that is bound to it; None: there is none.
        cancelled: asked several times a second whether it is to end now; None: nobody ends it.

    Raises:
        SqlError: it does not parse, is no SELECT, reads what is not a table of the lakehouse, or lacks a value.
        LimitError: it takes too long, is cancelled, or its answer or its memory is too large.
    """
    limits, values = limits or QueryLimits(), values or {}
    query = check_question(lakehouse, text, values)
    try:
        return lakehouse.ask(
            dict.fromkeys(query.inputs),
            lambda connection: _answer(connection, query, limits, values),
            memory=MEMORY,
            seconds=limits.seconds,
            cancelled=cancelled,
        )
    except InterruptedError:
        raise CutShortError("the question was cancelled.", hint="Nothing was changed. It can be asked again.") from None
    except SqlError as error:
        _shown_as_written(error, values)
    except TimeoutError:
        raise CutShortError(
            f"the question took longer than {limits.seconds:g} seconds.",
            hint="Ask for less, with WHERE on a column that narrows it, or give it more time: --timeout SECONDS",
        ) from None


def check_question(lakehouse: Lakehouse, text: str, names: Collection[str]) -> Query:
    """Reads a SELECT without running it.

    Args:
        lakehouse: whose tables it may read.
        text: the SELECT, with placeholders `:name`.
        names: of the placeholders that have a value.

    Raises:
        SqlError: it does not parse, is no SELECT, reads what is not a table of the lakehouse, or lacks a value.
    """
    check_values(text, names)
    known = [name.name for name in lakehouse.names()]
    try:
        with lakehouse.hinting():
            return check(Sql(as_duckdb(text), "<query>"), known, deterministic=False, parameters=names)
    except SqlError as error:
        _shown_as_written(error, names)


def _shown_as_written(error: SqlError, names: Collection[str]) -> NoReturn:
    """The same error, with placeholders as they were written."""
    for name in names:
        error.what = error.what.replace(f"${name}", f":{name}")
        error.findings = tuple(each.replace(f"${name}", f":{name}") for each in error.findings)
    raise error


def _answer(
    connection: duckdb.DuckDBPyConnection, query: Query, limits: QueryLimits, values: Mapping[str, Value]
) -> pa.Table:
    try:
        found = relation(connection, query, values)
    except duckdb.OutOfMemoryException as error:
        raise _too_much_memory(error) from None
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
        raise _too_much_memory(error) from None
    except duckdb.Error as error:
        raise explain(error, query) from None
    except OSError as error:  # what goes wrong while the answer comes is told by Arrow
        raise SqlError(f"the question cannot be answered: {str(error).splitlines()[0]}") from None
    return pa.Table.from_batches(batches, reader.schema)


def _too_much_memory(error: duckdb.Error) -> LimitError:
    return LimitError(
        f"the question needs more than {MEMORY} of the memory: {str(error).splitlines()[0]}",
        hint="Ask for less: fewer columns, a WHERE, or an aggregate before a join.",
    )


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
