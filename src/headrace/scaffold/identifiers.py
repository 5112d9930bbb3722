"""Columns of a user's file as SQL and Python take them."""

from __future__ import annotations

import keyword
import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def identifiers(columns: Iterable[str]) -> dict[str, str]:
    """Column → a name that SQL and Python take as it is; no two are equal."""
    names: dict[str, str] = {}
    for each in columns:
        name = identifier(each, otherwise="column")
        while name in names.values() or name in reserved():
            name += "_"
        names[each] = name
    return names


def identifier(text: str, *, otherwise: str) -> str:
    """A text as the name of a variable; `otherwise` begins one that has no letter to begin with."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:50]
    if not plain or plain[0].isdigit():
        plain = f"{otherwise}_{plain}".rstrip("_")
    return f"{plain}_" if keyword.iskeyword(plain) else plain


def aliased(column: str, name: str) -> str:
    """A column under another name, in a SELECT."""
    shown = sql_column(column)
    return shown if column == name else f"{shown} as {sql_column(name)}"


def sql_column(name: str) -> str:
    """A column as SQL: quoted where it must be."""
    from headrace.lakehouse.identifiers import column

    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in reserved() else column(name)


@cache
def reserved() -> frozenset[str]:
    """Words that DuckDB takes for its own."""
    import duckdb

    with duckdb.connect() as connection:
        rows = connection.execute("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'")
        return frozenset(str(name) for (name,) in rows.fetchall())
