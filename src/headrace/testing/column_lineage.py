"""The columns of sources that a column of a table is computed from, through however many SELECTs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import DataError
from headrace.lakehouse.declarations import Sql, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.environments.project import Project

Column = tuple[str, str]  # table and column


def origins(project: Project, table: str, column: str, schemas: Mapping[str, Sequence[str]]) -> frozenset[Column]:
    """The columns that the values of a column are computed from. What only filters or sorts rows is not among them.

    Args:
        project: whose tables are declared with a SELECT.
        table: its name.
        column: of it.
        schemas: table → the names of its columns, of every table that was built.

    Raises:
        DataError: a SELECT cannot be followed.
    """
    selects = {each.name: each.sql for each in project.all(Table) if isinstance(each.sql, Sql)}
    found: set[Column] = set()
    waiting, seen = [(table, column)], {(table, column)}
    while waiting:
        where, name = waiting.pop()
        sql = selects.get(where)
        if sql is None:
            found.add((where, name))
            continue
        for each in _read(sql.text, name, where, schemas):
            if each not in seen:
                seen.add(each)
                waiting.append(each)
    return frozenset(found)


def _read(sql: str, column: str, table: str, schemas: Mapping[str, Sequence[str]]) -> list[Column]:
    """The columns of tables that one SELECT computes a column from."""
    from sqlglot import exp
    from sqlglot.errors import SqlglotError
    from sqlglot.lineage import lineage

    nested: dict[str, dict[str, dict[str, str]]] = {}
    for name, columns in schemas.items():
        schema, _, short = name.partition(".")
        nested.setdefault(schema, {})[short] = dict.fromkeys(columns, "unknown")
    try:
        root = lineage(column, sql, schema=nested, dialect="duckdb")
    except (SqlglotError, ValueError) as error:
        raise DataError(f"the SELECT of {table!r} cannot be followed: {str(error).splitlines()[0]}") from error
    return [
        (f"{node.expression.db}.{node.expression.name}", node.name.rpartition(".")[2].strip('"'))
        for node in root.walk()
        if isinstance(node.expression, exp.Table) and node.expression.db
    ]
