"""Quoting of names and texts in SQL: identifiers, strings, and JSON pointers."""

from __future__ import annotations

from sqlglot import exp

DIALECT = "duckdb"


def quoted(name: str) -> str:
    """Returns a column name, or a table's `schema.table`, with each of its parts as a quoted identifier."""
    return ".".join(exp.to_identifier(part, quoted=True).sql(DIALECT) for part in name.split("."))


def column(name: str) -> str:
    """Returns a column name as one quoted identifier, with the dots in it."""
    return exp.to_identifier(name, quoted=True).sql(DIALECT)


def json_pointer(name: str) -> str:
    """Returns the JSON pointer (RFC 6901) to a member of an object, for DuckDB's JSON functions."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def literal(value: str) -> str:
    """Returns a text as an SQL string."""
    return exp.Literal.string(value).sql(DIALECT)
