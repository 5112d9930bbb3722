"""The SQL that a user may write: one SELECT over declared tables, checked before anything runs, with errors that name the line.

DuckDB parses the text, and the statement that it parsed is the one that runs: see `syntax`. The check is a list of
allowed nodes of the tree. It keeps a definition portable and reproducible. `Lakehouse.ask` keeps it away from the disk,
even if the check should miss something. sqlglot quotes names and texts (`identifiers`), and decides nothing.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn

import duckdb

from headrace.core.errors import SqlError
from headrace.core.ids import digest
from headrace.lakehouse import syntax
from headrace.lakehouse.sql_errors import duckdb_error, place, refuse, span, too_deep, unreadable, written
from headrace.lakehouse.sql_functions import CHANCE, SESSION, TABLE_FUNCTIONS, is_among

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from headrace.lakehouse.declarations import Sql
    from headrace.lakehouse.placeholders import Value
    from headrace.lakehouse.syntax import Found, Statement

FILES = re.compile(r"[/\\*]|\.(csv|tsv|parquet|json|jsonl|ndjson|db|duckdb|txt|gz|zip|zst)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Query:
    """A statement that passed the check.

    Attributes:
        sql: what the user wrote, and where.
        runs: what DuckDB made of it, which is what is executed.
        inputs: the tables it reads, sorted.
        normalized: equal for statements that differ only in layout, comments and the case of keywords.
    """

    sql: Sql
    runs: duckdb.Statement = field(compare=False, repr=False)
    inputs: tuple[str, ...]
    normalized: str


def check(sql: Sql, known: Collection[str], *, deterministic: bool = True, parameters: Collection[str] = ()) -> Query:
    """Reads one SELECT and refuses everything that it must not do.

    Args:
        sql: the statement and its file.
        known: the tables that it may name, `schema.table`.
        deterministic: whether functions of the clock and of chance are refused, as for the definition of a table: the same
            inputs give the same rows. A query at the terminal may use them. Defaults to True.
        parameters: the names of `$name` to which a value is bound when it runs. Defaults to none.

    Returns:
        The statement, ready to run.

    Raises:
        SqlError: file, line, the line itself, and what to write instead.
    """
    return _check(sql, frozenset(known), deterministic, frozenset(parameters))


@lru_cache(maxsize=512)
def _check(sql: Sql, known: frozenset[str], deterministic: bool, parameters: frozenset[str]) -> Query:
    statement = _parse(sql)
    try:
        elements = list(syntax.walk(statement.tree))
        normalized = digest(syntax.without_places(statement.tree))
    except RecursionError:
        raise too_deep(sql) from None
    _only_reads(sql, elements, parameters, deterministic=deterministic)
    inputs = _tables(sql, elements, known)
    _functions(sql, elements, deterministic=deterministic)
    return Query(sql=sql, runs=statement.runs, inputs=tuple(sorted(inputs)), normalized=normalized)


def relation(
    connection: duckdb.DuckDBPyConnection, query: Query, values: Mapping[str, Value] | None = None
) -> duckdb.DuckDBPyRelation:
    """Returns the rows of a checked statement, not yet computed; with values, DuckDB computes them at once.

    Args:
        connection: in which its tables are.
        query: the statement.
        values: name of a parameter → its value. Defaults to none.

    Raises:
        SqlError: it names something that is not there, or the types do not fit.
    """
    try:
        return connection.sql(query.runs, params=dict(values)) if values else connection.sql(query.runs)
    except (duckdb.InterruptException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error as error:
        raise explain(_placed(connection, query, error, values), query) from None


def _placed(
    connection: duckdb.DuckDBPyConnection, query: Query, error: duckdb.Error, values: Mapping[str, Value] | None
) -> duckdb.Error:
    """The same error as it is when the statement is executed: then DuckDB says where it is."""
    try:
        connection.execute(query.runs, dict(values or {}))
    except duckdb.Error as placed:
        return placed
    return error


def explain(error: duckdb.Error, query: Query, *, above: int = 0) -> SqlError:
    """Returns DuckDB's complaint about a checked statement in terms of the user's file.

    Args:
        error: what DuckDB raised.
        query: the statement that ran.
        above: how many lines came before the statement in what was executed. Defaults to 0.
    """
    return duckdb_error(error, query.sql, above=above)


def _parse(sql: Sql) -> Statement:
    """The one statement of a text, which is a SELECT."""
    if odd := unreadable(sql.text):
        raise SqlError(f"{sql.file}:1: {odd}", hint="Write one SELECT.")
    try:
        statements = syntax.statements(sql.text)
    except duckdb.Error as error:
        raise duckdb_error(error, sql) from None
    except RecursionError:
        raise too_deep(sql) from None
    if not statements:
        raise SqlError(f"{place(sql, 1)}: there is no statement.", hint="Write one SELECT.")
    if statements[0].tree is None and (len(statements) == 1 or statements[0].kind != "SELECT"):
        kind = statements[0].kind
        what = "PIVOT" if kind == "MULTI" else kind  # DuckDB makes several of a PIVOT without values
        refuse(sql, f"{what} is not a SELECT.", hint="A table is defined by one SELECT; Headrace writes it.")
    if len(statements) > 1:
        at = len(statements[0].runs.query.encode())
        hint = "Write one SELECT; use WITH for steps on the way."
        refuse(sql, "there is more than one statement.", (at, 0), hint=hint)
    return statements[0]


def _only_reads(sql: Sql, elements: Sequence[Found], parameters: frozenset[str], *, deterministic: bool) -> None:
    """SELECT, set operations and VALUES, and nothing else anywhere inside."""
    for element in elements:
        if element.what == "unknown":
            refuse(
                sql, f"{element.name} is not a SELECT.", span(sql, element), hint="Write it as a SELECT with GROUP BY."
            )
        if element.what == "parameter" and element.name not in parameters:
            refuse(sql, "a parameter has no value here.", span(sql, element), hint="Write the value.")
        if element.what == "version":
            refuse(
                sql, "the version of a table is chosen by the run.", span(sql, element), hint="Leave the version out."
            )
        if deterministic and element.what == "sample":
            reason = "a sample of rows is not the same rows each time."
            refuse(sql, reason, span(sql, element), hint="Take rows by a hash of their key.")


def _tables(sql: Sql, elements: Sequence[Found], known: frozenset[str]) -> set[str]:
    """The declared tables that the statement reads."""
    aliases = {
        str(element.node["alias"]).lower() for element in elements if element.what == "table" and element.node["alias"]
    }
    inputs: set[str] = set()
    for element in elements:
        if element.what == "table function" and element.name not in TABLE_FUNCTIONS:
            refuse(
                sql,
                f"{element.name} reads something that is not a declared table.",
                span(sql, element),
                hint="Declare an hr.Source for outside data. "
                "Of table functions there are range, generate_series and unnest.",
            )
        if element.what == "table":
            if len(element.parts) != 2 or element.name not in known:
                _unknown(sql, element, known | element.steps, aliases)
            inputs.add(element.name)
    return inputs


def _unknown(sql: Sql, element: Found, candidates: frozenset[str], aliases: set[str]) -> NoReturn:
    name, at = element.name, span(sql, element)
    if len(element.parts) == 1 and (FILES.search(name) or written(sql, element)[:1] in ("'", '"')):
        reason = f"{name!r} is not a declared table; files cannot be read."
        refuse(sql, reason, at, hint="Declare an hr.Source for it.")
    if len(element.parts) > 2:
        refuse(sql, f"{name!r} names a database.", at, hint="Write schema.table, as it was declared.")
    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if not near and "." not in name:
        near = [full for full in sorted(candidates) if full.split(".")[-1] == name][:1]
    proposal = f"did you mean {near[0]!r}?" if near else _some(candidates)
    hint = f"{name!r} is the alias of a table; write its full name again." if name in aliases else ""
    try:
        refuse(sql, f"there is no table {name!r}: {proposal}", at, hint=hint)
    except SqlError as error:
        error.unknown_table = name
        raise


def _some(known: Iterable[str]) -> str:
    names = sorted(known)
    return (
        f"there is {', '.join(repr(name) for name in names[:10])}{' …' if len(names) > 10 else ''}."
        if names
        else "none is declared."
    )


def _functions(sql: Sql, elements: Sequence[Found], *, deterministic: bool) -> None:
    for element in elements:
        if element.what not in ("function", "table function", "word"):
            continue
        qualify = (
            f'A column of this name is written with its table: t."{element.name}".' if element.what == "word" else ""
        )
        if is_among(element, SESSION):
            refuse(sql, f"{element.name} reads the session, not the tables.", span(sql, element), hint=qualify)
        if deterministic and is_among(element, CHANCE):
            refuse(
                sql,
                f"{element.name} gives another value each time, so the same inputs would not give the same table.",
                span(sql, element),
                hint=qualify or "Take the time from a column of an input; a spine has the moment of each decision.",
            )
