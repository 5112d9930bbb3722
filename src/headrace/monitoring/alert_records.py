"""An alert as it is kept, and how it is opened and closed: each change is reported in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import (
    JSON,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    case,
    insert,
    select,
    update,
)

from headrace.access.audit import record
from headrace.core.clock import now
from headrace.core.events import publish
from headrace.core.state import Instant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from headrace.core.ids import Json
    from headrace.queries.alert_rules import Severity

Status = Literal["open", "acknowledged", "closed"]

ALERTS = Table(
    "alerts",
    MetaData(),
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", String(200)),  # of a model version, or of a saved query: one of the two
    Column("version", Integer),
    Column("query", String(100)),
    Column("rule", String(200), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("window", Instant, nullable=False),  # the one that broke the rule for good
    Column("looked_at", Instant, nullable=False),  # the last window that was looked at while it held
    Column("status", String(16), nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("opened", Instant, nullable=False),
    Column("acknowledged", Instant),
    Column("acknowledged_by", String(200)),
    Column("reason", Text, nullable=False),
    Column("muted_until", Instant),
    Column("muted_by", String(200)),
    Column("mute_reason", Text, nullable=False),
    Column("closed", Instant),
    Column("better_since", Instant),  # the window that closed it; null: closed without one
    Column("resolved_by", String(200)),
    Column("resolution", Text, nullable=False),
    # one alert for one cause, however often it is looked at
    UniqueConstraint("model", "version", "rule", "window"),
    UniqueConstraint("query", "rule", "window"),
    Index("alerts_by_status", "status", "id"),
)


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A rule that is or was broken: of a model version, or of a saved query.

    Attributes:
        model: whose version it is about; None for a saved query.
        version: of the model; None for a saved query.
        query: the saved query that it is about; None for a model version.
        window: beginning of the window with which it was broken often enough; of a query, the moment of the answer, to a
            whole step of its rule.
        looked_at: beginning of the last window that was looked at while it held.
        evidence: the windows that were looked at.
        opened: when it was found.
        reason: of whoever acknowledged it.
        muted_until: nobody is notified before; None: it was never muted.
        better_since: beginning of the window with which it was better again.
        resolved_by: who closed it by hand; None: nobody did.
        resolution: the reason of that person.
    """

    id: int
    model: str | None
    version: int | None
    query: str | None
    rule: str
    severity: Severity
    window: datetime
    looked_at: datetime
    status: Status
    evidence: Mapping[str, Json]
    owner: str
    opened: datetime
    acknowledged: datetime | None
    acknowledged_by: str | None
    reason: str
    muted_until: datetime | None
    muted_by: str | None
    mute_reason: str
    closed: datetime | None
    better_since: datetime | None
    resolved_by: str | None
    resolution: str

    @property
    def active(self) -> bool:
        """Whether it still holds."""
        return self.status != "closed"

    @property
    def muted(self) -> bool:
        """Whether it holds and nobody is notified now."""
        return self.active and self.muted_until is not None and self.muted_until > now()

    @property
    def subject(self) -> str:
        """As events name what it is about: `late/1`, `query/late by day`."""
        return f"{self.model}/{self.version}" if self.query is None else f"query/{self.query}"

    @property
    def about(self) -> str:
        """What it is about, for people."""
        return f"{self.model} version {self.version}" if self.query is None else f"query {self.query!r}"


def alert_of(row: Any) -> Alert:
    """A row as an alert."""
    return Alert(**dict(row))


def report_act(
    connection: Connection,
    act: Literal["alert.acknowledged", "alert.muted", "alert.resolved"],
    alert: Alert,
    *,
    by: str,
    reason: str,
    until: datetime | None = None,
) -> None:
    """What somebody does about an alert, for the audit record and as an event."""
    told: dict[str, Json] = {"alert": alert.id, "rule": alert.rule, "reason": reason}
    told |= {} if until is None else {"until": until.isoformat()}
    record(connection, by, act, alert.subject, told)
    publish(connection, act, alert.subject, {**told, "by": by, "muted": alert.muted})


def open_alert(connection: Connection, about: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """A new alert; while one of the same rule is muted, it is, too.

    Args:
        connection: of the transaction.
        about: model, version and rule, or query and rule.
        values: severity, window, looked_at, evidence and owner.

    Returns:
        Its row.
    """
    values = {**about, **values, **_mute(connection, about), "status": "open", "opened": now()}
    done = connection.execute(insert(ALERTS).values(**values, reason="", resolution=""))
    row = row_of(connection, done.inserted_primary_key[0])  # pyright: ignore[reportOptionalSubscript]
    _opened(connection, row, again=False)
    return row


def open_again(connection: Connection, row: Any) -> None:
    """An alert that was closed holds again."""
    values = {"status": "open", "closed": None, "better_since": None, "resolved_by": None, "resolution": ""}
    connection.execute(update(ALERTS).where(ALERTS.c.id == row["id"]).values(**values))
    _opened(connection, row_of(connection, row["id"]), again=True)


def close_alert(connection: Connection, row: Any, since: datetime | None, reason: str) -> None:
    """An alert holds no more.

    Args:
        connection: of the transaction.
        row: of the alert.
        since: the window with which it was better again; None: there is none.
        reason: for it, in words.
    """
    alert = alert_of(row)
    told: dict[str, Json] = {
        "alert": alert.id,
        "rule": alert.rule,
        "owner": alert.owner,
        "better_since": since.isoformat() if since else None,
        "reason": reason,
        "evidence": dict(alert.evidence),
        "muted": alert.muted,
    }
    publish(connection, "alert.closed", alert.subject, told)
    values = {"status": "closed", "closed": now(), "better_since": since}
    connection.execute(update(ALERTS).where(ALERTS.c.id == alert.id).values(**values))


def matches(about: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """The rows about the same rule of the same model version, or of the same query."""
    return [ALERTS.c[name] == value for name, value in about.items()]


def urgency() -> tuple[ColumnElement[int], ColumnElement[int]]:
    """The order in which alerts need a person: open, acknowledged, muted, closed; in each, the severest first."""
    closed = ALERTS.c.status == "closed"
    rank = case((closed, 3), (ALERTS.c.muted_until > now(), 2), (ALERTS.c.status == "acknowledged", 1), else_=0)
    severity = case((ALERTS.c.severity == "critical", 0), (ALERTS.c.severity == "warning", 1), else_=2)
    return rank, case((closed, 0), else_=severity)


def row_of(connection: Connection, alert: int) -> Any:
    """The row of an alert that is there."""
    return connection.execute(select(ALERTS).where(ALERTS.c.id == alert)).mappings().one()


def _opened(connection: Connection, row: Any, *, again: bool) -> None:
    alert = alert_of(row)
    told: dict[str, Json] = {
        "alert": alert.id,
        "rule": alert.rule,
        "severity": alert.severity,
        "owner": alert.owner,
        "again": again,
        "evidence": dict(alert.evidence),
        "muted": alert.muted,
    }
    publish(connection, "alert.opened", alert.subject, told)


def _mute(connection: Connection, about: Mapping[str, Any]) -> dict[str, Any]:
    wanted = select(ALERTS).where(*matches(about), ALERTS.c.muted_until > now()).order_by(ALERTS.c.muted_until.desc())
    row = connection.execute(wanted).mappings().first()
    if row is None:
        return {"mute_reason": ""}
    return {name: row[name] for name in ("muted_until", "muted_by", "mute_reason")}
