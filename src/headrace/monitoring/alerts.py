"""Alerts: rules that were broken often enough, each told once, open until it is better again.

The state of a rule follows from the windows alone, in their order: evaluated one by one, all at once or twice, the same
alerts come out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import JSON, Column, Integer, MetaData, String, Table, Text, UniqueConstraint, insert, select, update

from headrace.access.audit import AUDIT, record
from headrace.core.clock import duration, now
from headrace.core.errors import NotFoundError, RefusedError
from headrace.core.events import CHANNELS, EVENTS, publish
from headrace.core.state import Instant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from headrace.core.ids import Json
    from headrace.core.state import State
    from headrace.monitoring.declarations import AlertRule

Status = Literal["open", "acknowledged", "closed"]
metadata = MetaData()

ALERTS = Table(
    "alerts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    Column("rule", String(200), nullable=False),
    Column("window", Instant, nullable=False),  # the one that broke the rule for good
    Column("status", String(16), nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("opened", Instant, nullable=False),
    Column("acknowledged", Instant),
    Column("acknowledged_by", String(200)),
    Column("note", Text, nullable=False),
    Column("closed", Instant),
    UniqueConstraint("model", "version", "rule", "window"),  # one alert for one cause, however often it is looked at
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a rule looks at in one window.

    Attributes:
        value: of the metric; None where there is none.
        low: of its interval, where there is one.
        high: of its interval.
        judged: whether the window counts: enough rows, and its labels have had time to come.
        told: what explains it, for a person.
    """

    start: datetime
    end: datetime
    value: float | None
    low: float | None = None
    high: float | None = None
    judged: bool = True
    told: str = ""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A rule of a model version that is or was broken.

    Attributes:
        window: beginning of the window with which it was broken often enough.
        evidence: the windows that were looked at.
        opened: when it was found.
    """

    id: int
    model: str
    version: int
    rule: str
    window: datetime
    status: Status
    evidence: Mapping[str, Json]
    owner: str
    opened: datetime
    acknowledged: datetime | None
    acknowledged_by: str | None
    note: str
    closed: datetime | None

    @property
    def living(self) -> bool:
        """Whether it still holds."""
        return self.status != "closed"


class Alerts:
    """The alerts of one environment."""

    def __init__(self, state: State) -> None:
        self.state = state
        state.create(ALERTS, AUDIT, EVENTS, CHANNELS)

    def evaluate(
        self, model: str, version: int, rule: AlertRule, windows: Sequence[Measured], *, owner: str = ""
    ) -> list[Alert]:
        """Opens and closes alerts of a rule by all windows of a version so far; gives those that hold at the end.

        Windows that are not judged are passed over: they neither break a rule nor mend it.
        """
        spans = _spans(rule, sorted((each for each in windows if each.judged and each.value is not None), key=_start))
        with self.state.begin() as connection:
            for seen, until in spans:
                self._note(connection, model, version, rule, seen, until, owner)
        return [
            each for each in self.list(model=model) if each.living and (each.version, each.rule) == (version, rule.name)
        ]

    def list(self, *, status: Status | None = None, model: str | None = None) -> list[Alert]:
        """Alerts, the latest first."""
        wanted = select(ALERTS).order_by(ALERTS.c.id.desc())
        if status is not None:
            wanted = wanted.where(ALERTS.c.status == status)
        if model is not None:
            wanted = wanted.where(ALERTS.c.model == model)
        with self.state.read() as connection:
            return [_alert(row) for row in connection.execute(wanted).mappings()]

    def living(self, model: str | None = None) -> list[Alert]:
        """Alerts that hold: open or acknowledged."""
        return [each for each in self.list(model=model) if each.living]

    def get(self, alert: int) -> Alert:
        """One alert.

        Raises:
            NotFoundError: there is none of this number.
        """
        known = {each.id: each for each in self.list()}
        if alert not in known:
            raise NotFoundError(
                "alert", str(alert), [str(each) for each in known], hint="`headrace alert list` shows them."
            )
        return known[alert]

    def ack(self, alert: int, *, by: str, note: str = "") -> Alert:
        """Somebody has seen it and takes care. Again changes the note.

        Raises:
            NotFoundError: there is none of this number.
            RefusedError: it does not hold any more.
        """
        found = self.get(alert)
        if not found.living:
            raise RefusedError(f"alert {alert} was closed at {found.closed:%Y-%m-%d %H:%M} UTC: it is better again.")
        with self.state.begin() as connection:
            values = {"status": "acknowledged", "acknowledged": now(), "acknowledged_by": by, "note": note}
            connection.execute(update(ALERTS).where(ALERTS.c.id == alert, ALERTS.c.status != "closed").values(**values))
            record(
                connection, by, "alert.acknowledged", f"{found.model}/{found.version}", {"alert": alert, "note": note}
            )
            publish(connection, "alert.acknowledged", f"{found.model}/{found.version}", {"alert": alert, "by": by})
        return self.get(alert)

    def _note(
        self,
        connection: Connection,
        model: str,
        version: int,
        rule: AlertRule,
        seen: Sequence[Measured],
        until: Measured | None,
        owner: str,
    ) -> None:
        """One span during which the rule is broken: opened once, closed once."""
        last = seen[-1]
        mine = (
            ALERTS.c.model == model,
            ALERTS.c.version == version,
            ALERTS.c.rule == rule.name,
            ALERTS.c.window == last.start,
        )
        row = connection.execute(select(ALERTS).where(*mine)).mappings().first()
        subject, at = f"{model}/{version}", now()
        told: dict[str, Json] = {
            "rule": rule.name,
            "window": last.start.isoformat(),
            "value": last.value,
            "owner": owner,
        }
        if row is None:
            windows: list[Json] = [_evidence(rule, each) for each in seen]
            evidence: dict[str, Json] = {"windows": windows}
            opened = {"model": model, "version": version, "rule": rule.name, "window": last.start, "owner": owner}
            connection.execute(insert(ALERTS).values(**opened, status="open", evidence=evidence, opened=at, note=""))
            publish(connection, "alert.opened", subject, {**told, "evidence": evidence})
        if until is not None and (row is None or row["status"] != "closed"):
            connection.execute(update(ALERTS).where(*mine).values(status="closed", closed=at))
            publish(connection, "alert.closed", subject, {**told, "better_since": until.start.isoformat()})


def _spans(rule: AlertRule, windows: Sequence[Measured]) -> list[tuple[Sequence[Measured], Measured | None]]:
    """The stretches during which a rule is broken: (windows that broke it, the window with which it was better again).

    It is better again when none of the last windows breaks it. After that it is silent for the cool-down.
    """
    spans: list[tuple[Sequence[Measured], Measured | None]] = []
    silent_until = None
    for place, window in enumerate(windows):
        latest = windows[max(0, place + 1 - rule.windows) : place + 1]
        bad = [each for each in latest if _broken(rule, each)]
        if spans and spans[-1][1] is None:
            if not bad:
                spans[-1] = (spans[-1][0], window)
                silent_until = window.start + duration(rule.cool_down)
        elif len(bad) >= rule.broken and (silent_until is None or window.start >= silent_until):
            spans.append((latest, None))
    return spans


def _broken(rule: AlertRule, window: Measured) -> bool:
    assert window.value is not None  # windows without a value are not looked at
    return window.value < rule.below if rule.below is not None else window.value > (rule.above or 0.0)


def _evidence(rule: AlertRule, window: Measured) -> dict[str, Json]:
    """A window as it was seen; significant: the whole interval is beyond the limit."""
    beyond = (
        (window.high is not None and window.high < rule.below)
        if rule.below is not None
        else (window.low is not None and rule.above is not None and window.low > rule.above)
    )
    return {
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "value": window.value,
        "low": window.low,
        "high": window.high,
        "broken": _broken(rule, window),
        "significant": beyond,
        "told": window.told,
    }


def _start(window: Measured) -> datetime:
    return window.start


def _alert(row: Any) -> Alert:
    return Alert(**dict(row))
