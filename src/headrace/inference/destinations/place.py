"""Whether two destinations are the same place, however each is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError
from headrace.inference.declarations import Database, Files

if TYPE_CHECKING:
    from headrace.environments.config import Environment
    from headrace.inference.declarations import Into

DEFAULT_SCHEMA = {"sqlite": "main", "postgresql": "public", "mssql": "dbo"}  # elsewhere it is the database


def folder(declared: Files, environment: Environment) -> Path:
    """Where files lie, links followed."""
    return (environment.root / declared.path).resolve()


def overlap(one: Path, other: Path) -> bool:
    """Whether two folders are one, or one lies inside the other."""
    return one.is_relative_to(other) or other.is_relative_to(one)


def same(one: Into, other: Into, environment: Environment) -> bool:
    """Whether what is written into one may be in the other: a table, or a folder inside another, of whatever format.

    A database is known by its kind and its own name, for a host has many; one whose URL cannot be read may be any.
    """
    if isinstance(one, Files) and isinstance(other, Files):
        return overlap(folder(one, environment), folder(other, environment))
    if isinstance(one, Database) and isinstance(other, Database):
        of_one, of_other = _database(one, environment), _database(other, environment)
        if of_one is None or of_other is None:
            return _table(one) == _table(other)
        return of_one == of_other and _in_schema(one, of_one) == _in_schema(other, of_other)
    return one == other


def _database(declared: Database, environment: Environment) -> tuple[str, str] | None:
    """Its kind and its name, a file's with links followed; None where its URL is not known."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if declared.name not in environment.databases:
        return None
    try:
        url = make_url(environment.database_url(declared.name))
    except (ConfigError, ArgumentError, ValueError):
        return None
    kind = url.get_backend_name()
    if kind == "sqlite":
        named = (url.database or "").removeprefix("file:").partition("?")[0]
        return kind, str(Path(named).resolve())
    said = url.query.get("dbname")  # of PostgreSQL's drivers; it goes first
    return kind, said if isinstance(said, str) else url.database or url.username or ""


def _table(declared: Database) -> str:
    return declared.table.rpartition(".")[2].lower()


def _in_schema(declared: Database, database: tuple[str, str]) -> tuple[str, str]:
    schema = declared.table.rpartition(".")[0].lower()
    return schema or DEFAULT_SCHEMA.get(database[0], database[1].lower()), _table(declared)
