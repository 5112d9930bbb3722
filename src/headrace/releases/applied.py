"""Which code was applied to an environment, and what it declared then: the state that a plan compares with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Column, Integer, MetaData, String, Table, Text, insert, select

from headrace.access.audit import AUDIT, record
from headrace.core.clock import now
from headrace.core.state import Instant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Row

    from headrace.core.ids import Json
    from headrace.core.state import State

APPLIED = Table(
    "applied_code",
    MetaData(),
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("release", String(200)),
    Column("commit", String(64)),
    Column("tree", String(64), nullable=False),
    Column("declared", JSON, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", String(200), nullable=False),
    Column("at", Instant, nullable=False),
)


@dataclass(frozen=True, kw_only=True)
class AppliedCode:
    """Code that was applied to an environment.

    Attributes:
        id: counts up; the last one is what the environment is.
        release: the tag; None where commits run.
        commit: git's id of the commit; None for a working tree that is in none.
        tree: the id of the code.
        declared: object → attribute → value, as `headrace plan` compares them.
        reason: why, of a rollback; else empty.
        by: who.
        at: when it was done.
    """

    id: int
    release: str | None
    commit: str | None
    tree: str
    declared: Mapping[str, Mapping[str, Any]]
    reason: str
    by: str
    at: datetime


def current(state: State) -> AppliedCode | None:
    """What was applied last; None before the first time."""
    return _read(state.one(select(APPLIED).order_by(APPLIED.c.id.desc()).limit(1), APPLIED))


def history(state: State, *, limit: int = 20) -> list[AppliedCode]:
    """What was applied, the latest first."""
    state.create(APPLIED)
    with state.read() as connection:
        rows = connection.execute(select(APPLIED).order_by(APPLIED.c.id.desc()).limit(limit)).all()
    return [found for row in rows if (found := _read(row)) is not None]


def keep(
    state: State,
    *,
    release: str | None,
    commit: str | None,
    tree: str,
    declared: Mapping[str, Mapping[str, Json]],
    reason: str,
    by: str,
    environment: str,
) -> None:
    """Notes that code was applied, with an entry in the audit record."""
    state.create(APPLIED, AUDIT)
    values: dict[str, Any] = {"release": release, "commit": commit, "tree": tree, "reason": reason, "by": by}
    with state.begin() as connection:
        connection.execute(insert(APPLIED).values(**values, declared=declared, at=now()))
        details: dict[str, Json] = {"release": release, "commit": commit, "tree": tree, "reason": reason}
        record(connection, by, "code.applied", environment, details)


def _read(row: Row[Any] | None) -> AppliedCode | None:
    return None if row is None else AppliedCode(**dict(zip(APPLIED.c.keys(), row, strict=True)))
