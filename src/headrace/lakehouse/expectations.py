"""Expectations of rows: a row that breaks one is repaired, quarantined or counted, or nothing is written.

The order is fixed, whatever the order of the declarations: first repairs, each applied to the result of the one before;
then quarantine, which takes a row out of the table; then the remaining rows must meet every `"fail"`, and are counted
for every `"warn"`. So a row that is quarantined for a null key does not fail the table for the same null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import duckdb

from headrace.core.errors import DataError, SqlError
from headrace.lakehouse.declarations import ColumnRepair
from headrace.lakehouse.identifiers import column, literal
from headrace.lakehouse.ieee import with_ieee_comparisons
from headrace.lakehouse.sql_expression import check_expression

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.lakehouse.declarations import Expectation, Otherwise, Table

REASON = "_reason"
EXAMPLES = 3
Action = Literal["fail", "quarantine", "warn", "repair"]


@dataclass(frozen=True, kw_only=True)
class ExpectationResult:
    """What one expectation found.

    Attributes:
        predicate: as declared.
        action: what was done with rows that broke it.
        rows: how many rows it was put to.
        broken: for how many it was false or null.
    """

    predicate: str
    action: Action
    rows: int
    broken: int


@dataclass(frozen=True, kw_only=True)
class _Promise:
    """An expectation with what is asked of DuckDB: comparisons as IEEE 754 has them."""

    declared: Expectation
    sql: str

    @property
    def predicate(self) -> str:
        """As declared."""
        return self.declared.predicate

    @property
    def otherwise(self) -> Otherwise:
        """As declared."""
        return self.declared.otherwise


def action_of(expectation: Expectation) -> Action:
    """What happens to a row that breaks it, as one word."""
    return "repair" if isinstance(expectation.otherwise, ColumnRepair) else expectation.otherwise


def apply(connection: duckdb.DuckDBPyConnection, made: str, held: str, table: Table) -> list[ExpectationResult]:
    """Judges the rows of the temporary table `made`: repairs in place, moves quarantined rows to a new table `held`.

    `held` has the columns of `made` and `_reason`: the predicates that a row broke, joined by `; ` in declared order.

    Returns:
        One record an expectation, in declared order.

    Raises:
        SqlError: an expectation or repair does not parse or bind, or fails on a value; names the declaration's line.
        DataError: a `"fail"` expectation is broken, or a repair left its predicate broken; shows some of the rows.
    """
    columns = [name for name, *_ in connection.execute(f"DESCRIBE {made}").fetchall()]
    promises = [_check(connection, made, table, expectation, columns) for expectation in table.expect]
    try:
        repaired = _repair(connection, made, table, promises)
        rows = _count(connection, made)
        set_apart = _quarantine(connection, made, held, promises)
        rest = _judge(connection, made, table, promises)
    except duckdb.Error as error:
        raise _said(f"{table.where}: the expectations of {table.name!r}", error) from None
    counts = {**repaired, **set_apart, **rest}
    left = _count(connection, made)
    return [
        ExpectationResult(
            predicate=each.predicate,
            action=action_of(each),
            rows=left if action_of(each) in ("fail", "warn") else rows,
            broken=counts[index],
        )
        for index, each in enumerate(table.expect)
    ]


def _repair(
    connection: duckdb.DuckDBPyConnection, made: str, table: Table, promises: Sequence[_Promise]
) -> dict[int, int]:
    """Replaces columns where predicates do not hold, in declared order; then all these predicates must hold."""
    repairs = {i: each for i, each in enumerate(promises) if isinstance(each.otherwise, ColumnRepair)}
    counts = {index: _broken(connection, made, [each])[0] for index, each in repairs.items()}
    for index, each in repairs.items():
        assert isinstance(each.otherwise, ColumnRepair)
        set_to = ", ".join(f"{column(name)} = ({text}\n)" for name, text in each.otherwise.columns.items())
        counts[index] = _broken(connection, made, [each])[0]
        if counts[index]:
            connection.execute(f"UPDATE {made} SET {set_to} WHERE {_fails(each)}")
    for index, each in repairs.items():
        if counts[index] and (left := _broken(connection, made, [each])[0]):
            raise DataError(
                f"{table.where}: {left} rows of {table.name!r} break {each.predicate!r} even after its repair. Nothing was written.",
                findings=_examples(connection, made, table, each),
                hint="Repair so that the expectation holds, or quarantine.",
            )
    return counts


def _quarantine(
    connection: duckdb.DuckDBPyConnection, made: str, held: str, promises: Sequence[_Promise]
) -> dict[int, int]:
    """Moves rows that break a quarantine expectation out of `made`; one row each, with all the reasons."""
    apart = {i: each for i, each in enumerate(promises) if each.otherwise == "quarantine"}
    counts = dict(zip(apart, _broken(connection, made, list(apart.values())), strict=True))
    reasons = "".join(f", CASE WHEN {_fails(each)} THEN {literal(each.predicate)} END" for each in apart.values())
    where = " OR ".join(_fails(each) for each in apart.values()) if any(counts.values()) else "false"
    connection.execute(
        f"CREATE TEMP TABLE {held} AS SELECT *, concat_ws('; ', NULL{reasons}) AS {column(REASON)} FROM {made} WHERE {where}"
    )
    if any(counts.values()):
        connection.execute(f"DELETE FROM {made} WHERE {where}")
    return counts


def _judge(
    connection: duckdb.DuckDBPyConnection, made: str, table: Table, promises: Sequence[_Promise]
) -> dict[int, int]:
    """Counts what breaks the other expectations; stops at those that must hold."""
    rest = {i: each for i, each in enumerate(promises) if each.otherwise in ("fail", "warn")}
    counts = dict(zip(rest, _broken(connection, made, list(rest.values())), strict=True))
    for index, each in rest.items():
        if each.otherwise == "fail" and counts[index]:
            raise DataError(
                f"{table.where}: {counts[index]} of {_count(connection, made)} rows of {table.name!r} break "
                f"{each.predicate!r}. Nothing was written.",
                findings=_examples(connection, made, table, each),
                hint="Correct the SELECT or the data, or declare otherwise='quarantine', 'warn' or hr.repair(…).",
            )
    return counts


def _fails(promise: _Promise) -> str:
    return f"NOT coalesce(({promise.sql}\n), false)"  # the line feed ends a comment in the predicate


def _broken(connection: duckdb.DuckDBPyConnection, made: str, promises: Sequence[_Promise]) -> list[int]:
    """For how many rows each predicate is false or null; one pass for all."""
    if not promises:
        return []
    counts = ", ".join(f"count(*) FILTER (WHERE {_fails(each)})" for each in promises)
    row = connection.execute(f"SELECT {counts} FROM {made}").fetchall()[0]
    return [int(count) for count in row or ()]


def _count(connection: duckdb.DuckDBPyConnection, made: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {made}").fetchall()[0]
    return int(row[0]) if row else 0


def _examples(connection: duckdb.DuckDBPyConnection, made: str, table: Table, promise: _Promise) -> list[str]:
    """Some rows that break it: what identifies them, and the columns that it looks at."""
    words = promise.predicate.lower()
    columns = [name for name, *_ in connection.execute(f"DESCRIBE {made}").fetchall()]
    named = [name for name in columns if name in table.identity or name.lower() in words]
    return example_rows(connection, f"FROM {made} WHERE {_fails(promise)}", named)


def example_rows(connection: duckdb.DuckDBPyConnection, rest: str, columns: Sequence[str]) -> list[str]:
    """The first rows of a query, each as `name=value` pairs of some columns."""
    listed = ", ".join(f"CAST({column(name)} AS VARCHAR)" for name in columns)
    rows = connection.execute(f"SELECT {listed} {rest} LIMIT {EXAMPLES}").fetchall()
    return [
        ", ".join(f"{name}={'null' if value is None else value}" for name, value in zip(columns, row, strict=True))
        for row in rows
    ]


def _check(
    connection: duckdb.DuckDBPyConnection, made: str, table: Table, expectation: Expectation, columns: Sequence[str]
) -> _Promise:
    """Parses and binds the predicate and its repairs one by one, so that an error names the right one."""
    where = str(table.where)
    predicate = check_expression(expectation.predicate, columns, where=where, role="expectation")
    kind = _bind(connection, made, predicate, f"{where}: expectation {predicate!r}")
    if kind != "BOOLEAN":
        raise SqlError(f"{where}: expectation {predicate!r} is {kind}, neither true nor false.")
    if isinstance(expectation.otherwise, ColumnRepair):
        for name, text in expectation.otherwise.columns.items():
            check_expression(column(name), columns, where=where, role=f"repair of {name!r}")
            check_expression(text, columns, where=where, role=f"repair of {name!r}")
            _bind(connection, made, text, f"{where}: repair of {name!r} {text!r}")

    def type_of(part: str) -> str | None:
        try:
            return _bind(connection, made, part, "")
        except SqlError:
            return None

    compared = with_ieee_comparisons(predicate, type_of)
    if compared != predicate:  # DuckDB wrote it, and what it wrote is judged like what the user wrote
        compared = check_expression(compared, columns, where=where, role="expectation, as NaN is compared,")
    return _Promise(declared=expectation, sql=compared)


def _bind(connection: duckdb.DuckDBPyConnection, made: str, text: str, what: str) -> str:
    """The type of an expression over `made`."""
    try:
        row = connection.execute(f"DESCRIBE SELECT (\n{text}\n) FROM {made}").fetchall()[0]
    except duckdb.Error as error:
        raise _said(what, error) from None
    return str(row[1]) if row else ""


def _said(what: str, error: duckdb.Error) -> SqlError:
    return SqlError(f"{what}: {str(error).splitlines()[0]}")
