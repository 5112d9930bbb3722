"""The audit record: what was done, and by whom. Append-only; each entry contains the hash of the one before."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    cast,
    func,
    insert,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.exc import DBAPIError

from headrace.core.clock import now
from headrace.core.errors import DataError
from headrace.core.ids import digest
from headrace.core.state import Instant, is_transient

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from headrace.core.ids import Json
    from headrace.core.state import State

metadata = MetaData()
BEGINNING = "0" * 32

AUDIT = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("who", String(200), nullable=False),
    Column("action", String(100), nullable=False),
    Column("object", String(300), nullable=False),
    Column("details", JSON, nullable=False),
    Column("previous", String(32), nullable=False, unique=True),  # a chain cannot fork, whoever writes at the same time
    Column("hash", String(32), nullable=False),
)


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One thing that was done.

    Attributes:
        previous: the hash of the entry before.
        hash: over everything else here.
    """

    id: int
    at: datetime
    who: str
    action: str
    object: str
    details: Mapping[str, Json]
    previous: str
    hash: str


@dataclass(frozen=True, kw_only=True)
class Head:
    """The end of a record: whoever keeps it elsewhere notices when what came before is not there any more."""

    count: int
    hash: str


class Audit:
    """The audit record of one environment."""

    def __init__(self, state: State) -> None:
        self.state = state
        state.create(AUDIT)

    def entries(self, *, limit: int | None = None, offset: int = 0, word: str = "") -> list[AuditEntry]:
        """The entries, the latest first.

        Args:
            limit: the number of entries; None: all.
            offset: how many are left out before them.
            word: only those that have it in who, action, object or details, however it is capitalised.
        """
        wanted = select(AUDIT).order_by(AUDIT.c.id.desc()).limit(limit).offset(offset)
        if word:
            kept = json.dumps(word)[1:-1]  # as it stands in the details
            texts = ((AUDIT.c.who, word), (AUDIT.c.action, word), (AUDIT.c.object, word))
            where = [column.icontains(text, autoescape=True) for column, text in texts]
            where.append(type_coerce(cast(AUDIT.c.details, Text), Text).icontains(kept, autoescape=True))
            wanted = wanted.where(or_(*where))
        with self.state.read() as connection:
            return [AuditEntry(**dict(row)) for row in connection.execute(wanted).mappings()]

    def head(self) -> Head:
        """How many entries there are, and the hash of the last one."""
        last = select(AUDIT.c.hash).order_by(AUDIT.c.id.desc()).limit(1)
        with self.state.read() as connection:
            count = connection.execute(select(func.count()).select_from(AUDIT)).scalar() or 0
            return Head(count=count, hash=connection.execute(last).scalar() or BEGINNING)

    def missing(self, heads: Iterable[str]) -> list[str]:
        """Those of these hashes that no entry has: what was recorded up to there was taken away or replaced."""
        with self.state.read() as connection:
            known = {BEGINNING, *connection.execute(select(AUDIT.c.hash)).scalars()}
        return [each for each in heads if each not in known]

    def verify(self) -> AuditEntry | None:
        """The first entry that was changed, or that does not follow the one before; None when the chain is whole.

        What was cut off at the end cannot be seen from the inside: `missing` tells of heads that were kept elsewhere.
        """
        previous = BEGINNING
        for entry in reversed(self.entries()):
            if entry.previous != previous or entry.hash != _hash(vars(entry)):
                return entry
            previous = entry.hash
        return None


def record(connection: Connection, who: str, action: str, subject: str, details: Mapping[str, Json]) -> None:
    """Appends an entry in the caller's transaction, which `State.begin` opened: there is one writer at a time.

    Raises:
        DataError: it cannot be written. The caller's transaction, with what it tells of, is to be given up.
    """
    try:
        _append(connection, who, action, subject, details)
    except DBAPIError as error:
        if is_transient(error):  # `State.begin` says what it was
            raise
        raise DataError(
            f"{action} of {subject} cannot be written into the audit record: {str(error.orig).strip()}.",
            hint="Nothing is done that is not recorded.",
        ) from error


def _append(connection: Connection, who: str, action: str, subject: str, details: Mapping[str, Json]) -> None:
    last = connection.execute(select(AUDIT.c.hash).order_by(AUDIT.c.id.desc()).limit(1)).scalar()
    values: dict[str, Any] = {
        "at": now(),
        "who": who,
        "action": action,
        "object": subject,
        "details": dict(details),
        "previous": last or BEGINNING,
    }
    connection.execute(insert(AUDIT).values(**values, hash=_hash(values)))


def _hash(values: Mapping[str, Any]) -> str:
    return digest([values[name] for name in ("previous", "at", "who", "action", "object", "details")])
