"""Releases that an admin lets run without an attestation, in the state database of the environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Column, MetaData, String, Table, Text, delete, insert, select
from sqlalchemy.exc import IntegrityError

from headrace.access.audit import AUDIT, record
from headrace.core.clock import now
from headrace.core.state import Instant

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.core.state import State

OVERRIDES = Table(
    "release_overrides",
    MetaData(),
    Column("commit", String(64), primary_key=True),
    Column("tag", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", String(200), nullable=False),
    Column("at", Instant, nullable=False),
)


@dataclass(frozen=True, kw_only=True)
class Override:
    """A release that runs without an attestation.

    Attributes:
        tag: the tag that it was allowed by.
        commit: its commit, which is what counts.
        reason: why.
        by: the admin.
        at: when.
    """

    tag: str
    commit: str
    reason: str
    by: str
    at: datetime


def find_override(state: State, commit: str) -> Override | None:
    """What an admin said of a commit; None where nobody did."""
    row = state.one(select(OVERRIDES).where(OVERRIDES.c.commit == commit), OVERRIDES)
    return None if row is None else Override(**dict(zip(OVERRIDES.c.keys(), row, strict=True)))


def allow(state: State, *, tag: str, commit: str, reason: str, by: str) -> Override:
    """Lets a commit run without an attestation; again is the same, and keeps the first reason."""
    state.create(OVERRIDES, AUDIT)
    made = Override(tag=tag, commit=commit, reason=reason, by=by, at=now())
    try:
        with state.begin() as connection:
            connection.execute(insert(OVERRIDES).values(**vars(made)))
            record(connection, by, "release.allowed", tag, {"commit": commit, "reason": reason})
    except IntegrityError:  # somebody was first
        before = find_override(state, commit)
        return before or allow(state, tag=tag, commit=commit, reason=reason, by=by)  # withdrawn meanwhile: once more
    return made


def withdraw(state: State, *, tag: str, commit: str, reason: str, by: str) -> bool:
    """A commit may not run without an attestation any more; False where it could not before. Both stay in the audit record."""
    state.create(OVERRIDES, AUDIT)
    with state.begin() as connection:
        gone = connection.execute(delete(OVERRIDES).where(OVERRIDES.c.commit == commit)).rowcount
        if gone:
            record(connection, by, "release.allowance_withdrawn", tag, {"commit": commit, "reason": reason})
    return bool(gone)
