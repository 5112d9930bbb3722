"""The fingerprint of the catalog document that an environment wrote last, stored in its state database.

Others can write into the catalog. An environment takes figures over only from a document with this fingerprint: its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Column, Integer, MetaData, String, Table, delete, insert, select

if TYPE_CHECKING:
    from headrace.core.state import State

WRITTEN = Table(
    "catalog_document",
    MetaData(),
    Column("one", Integer, primary_key=True, autoincrement=False),  # there is one row
    Column("fingerprint", String(32), nullable=False),
)


def read(state: State) -> str | None:
    """The fingerprint; None before the first document was written."""
    row = state.one(select(WRITTEN.c.fingerprint), WRITTEN)
    return None if row is None else row.fingerprint


def keep(state: State, fingerprint: str) -> None:
    """Stores the fingerprint in place of the former one."""
    state.create(WRITTEN)
    with state.begin() as connection:
        connection.execute(delete(WRITTEN))
        connection.execute(insert(WRITTEN).values(one=1, fingerprint=fingerprint))
