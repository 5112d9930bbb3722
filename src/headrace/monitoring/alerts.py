"""Alerts: rules that were broken often enough. Each is reported once, and stays open until the values recover.

The state of a rule depends only on the judged windows of a version, in their order: evaluated one by one, all at once
or twice, they lead to the same alerts. An alert opens with a broken window when `broken` of the last `windows` are; it
closes when `windows` in a row are not, and then none opens with a window that begins before the cool-down is over. Late
labels may change earlier windows: then the existing alert is kept, closed or opened again, and never doubled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import JSON, Column, Integer, MetaData, String, Table, Text, UniqueConstraint, insert, select, update

from headrace.access.audit import AUDIT, record
from headrace.core.clock import duration, now
from headrace.core.errors import NotFoundError, RefusedError
from headrace.core.events import CHANNELS, EVENTS, publish
from headrace.core.failpoints import reach
from headrace.core.state import Instant

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
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
    Column("reason", Text, nullable=False),
    Column("closed", Instant),
    Column("better_since", Instant),  # the window that closed it; null: closed without one
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
        explanation: for a person.
    """

    start: datetime
    end: datetime
    value: float | None
    low: float | None = None
    high: float | None = None
    judged: bool = True
    explanation: str = ""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A rule of a model version that is or was broken.

    Attributes:
        window: beginning of the window with which it was broken often enough.
        evidence: the windows that were looked at.
        opened: when it was found.
        reason: of whoever acknowledged it.
        better_since: beginning of the window with which it was better again.
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
    reason: str
    closed: datetime | None
    better_since: datetime | None

    @property
    def active(self) -> bool:
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
        """Opens and closes alerts of a rule; gives those that hold at the end, at most one.

        Args:
            model: its name.
            version: whose windows they are.
            rule: declared.
            windows: all windows of the version so far. Those that are not judged neither break a rule nor mend it.
            owner: who is told.
        """
        judged = sorted((each for each in windows if each.judged and _has_value(each)), key=_start)
        last = max((each.start for each in windows), default=None)
        with self.state.begin() as connection:
            if last is not None:
                _Rule(connection, model, version, rule, owner).bring_to(_spans(rule, judged), last)
            reach(f"alerts.evaluated:{rule.name}")
        mine = [each for each in self.active(model) if (each.version, each.rule) == (version, rule.name)]
        return [each for each in mine if last is not None and each.window <= last]

    def retire(self, model: str, judged: Collection[tuple[int, str]]) -> list[Alert]:
        """Closes alerts that nobody looks at any more: of another version, or of a rule that is not declared now.

        Args:
            model: its name.
            judged: (version, name of a rule) that are still evaluated.

        Returns:
            Those that were closed.
        """
        with self.state.begin() as connection:
            mine = select(ALERTS).where(ALERTS.c.model == model, ALERTS.c.status != "closed")
            gone = [row for row in connection.execute(mine).mappings() if (row["version"], row["rule"]) not in judged]
            for row in gone:
                _close(connection, row, None, "it is not judged any more")
        return [self.get(row["id"]) for row in gone]

    def list(self, *, status: Status | None = None, model: str | None = None) -> list[Alert]:
        """Alerts, the latest first."""
        wanted = select(ALERTS).order_by(ALERTS.c.id.desc())
        if status is not None:
            wanted = wanted.where(ALERTS.c.status == status)
        if model is not None:
            wanted = wanted.where(ALERTS.c.model == model)
        with self.state.read() as connection:
            return [_alert(row) for row in connection.execute(wanted).mappings()]

    def active(self, model: str | None = None) -> list[Alert]:
        """Alerts that hold: open or acknowledged."""
        return [each for each in self.list(model=model) if each.active]

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

    def ack(self, alert: int, *, by: str, reason: str = "") -> Alert:
        """Somebody has seen it and takes care. Again changes the reason, where there is another one.

        Raises:
            NotFoundError: there is none of this number.
            RefusedError: it does not hold any more.
        """
        self.get(alert)
        with self.state.begin() as connection:
            found = _alert(connection.execute(select(ALERTS).where(ALERTS.c.id == alert)).mappings().one())
            if not found.active:
                raise RefusedError(
                    f"alert {alert} was closed at {found.closed:%Y-%m-%d %H:%M} UTC: it is better again."
                )
            values = {
                "status": "acknowledged",
                "acknowledged": now(),
                "acknowledged_by": by,
                "reason": reason or found.reason,
            }
            connection.execute(update(ALERTS).where(ALERTS.c.id == alert).values(**values))
            told: dict[str, Json] = {"alert": alert, "rule": found.rule, "reason": reason}
            subject = f"{found.model}/{found.version}"
            record(connection, by, "alert.acknowledged", subject, told)
            publish(connection, "alert.acknowledged", subject, {**told, "by": by})
        return self.get(alert)


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch during which a rule is broken.

    Attributes:
        seen: the windows that were looked at when it began; the last one broke it.
        better: the window with which it was better again; None while it holds.
    """

    seen: Sequence[Measured]
    better: Measured | None

    @property
    def start(self) -> datetime:
        """Beginning of the window with which the rule was broken."""
        return self.seen[-1].start


@dataclass(frozen=True)
class _Rule:
    """A rule of a version within one transaction."""

    connection: Connection
    model: str
    version: int
    rule: AlertRule
    owner: str

    def bring_to(self, spans: Sequence[Span], last: datetime) -> None:
        """Makes the alerts that stand what the windows say.

        What lies after the last window that was given is left alone: then somebody looks at an earlier moment.
        """
        left = {row["window"]: row for row in self._standing()}
        taken = [left.pop(span.start, None) for span in spans]
        for place, span in enumerate(spans):
            overlapping = [row for row in left.values() if taken[place] is None and _overlaps(row, span)]
            if overlapping:  # labels that came late made the stretch begin with another window
                taken[place] = left.pop(overlapping[0]["window"])
        for row in left.values():
            if row["status"] != "closed" and row["window"] <= last:
                _close(self.connection, row, last, "labels that came late say otherwise")
        for row, span in zip(taken, spans, strict=True):
            self._bring(row, span, last)

    def _standing(self) -> Sequence[Any]:
        mine = (ALERTS.c.model == self.model, ALERTS.c.version == self.version, ALERTS.c.rule == self.rule.name)
        return self.connection.execute(select(ALERTS).where(*mine).order_by(ALERTS.c.id)).mappings().all()

    def _bring(self, row: Any, span: Span, last: datetime) -> None:
        if row is None:
            row = self._open(span)
        elif span.better is None and row["status"] == "closed" and _has_come_back(row, last):
            values = {"status": "open", "closed": None, "better_since": None}
            self.connection.execute(update(ALERTS).where(ALERTS.c.id == row["id"]).values(**values))
            told: dict[str, Json] = {"rule": self.rule.name, "owner": self.owner, "again": True}
            publish(
                self.connection,
                "alert.opened",
                _subject(row),
                {"alert": row["id"], **told, "evidence": dict(row["evidence"])},
            )
        if span.better is not None and row["status"] != "closed":
            _close(self.connection, row, span.better.start, f"unbroken in the last {self.rule.windows} judged windows")

    def _open(self, span: Span) -> Any:
        evidence = _evidence(self.rule, span)
        values = {"model": self.model, "version": self.version, "rule": self.rule.name, "window": span.start}
        self.connection.execute(
            insert(ALERTS).values(**values, status="open", evidence=evidence, owner=self.owner, opened=now(), reason="")
        )
        row = next(row for row in self._standing() if row["window"] == span.start)
        told: dict[str, Json] = {"rule": self.rule.name, "owner": self.owner, "again": False}
        publish(self.connection, "alert.opened", _subject(row), {"alert": row["id"], **told, "evidence": evidence})
        return row


def _overlaps(row: Any, span: Span) -> bool:
    end = row["better_since"] or (row["window"] if row["status"] == "closed" else None)
    return (end is None or span.start <= end) and (span.better is None or row["window"] <= span.better.start)


def _has_come_back(row: Any, last: datetime) -> bool:
    """Whether the windows reach what closed an alert: given fewer of them, it is still the past that is looked at."""
    return row["better_since"] is None or last >= row["better_since"]


def _close(connection: Connection, row: Any, since: datetime | None, reason: str) -> None:
    values = {"status": "closed", "closed": now(), "better_since": since}
    connection.execute(update(ALERTS).where(ALERTS.c.id == row["id"]).values(**values))
    told: dict[str, Json] = {
        "alert": row["id"],
        "rule": row["rule"],
        "owner": row["owner"],
        "better_since": since.isoformat() if since else None,
        "reason": reason,
    }
    publish(connection, "alert.closed", _subject(row), told)


def _subject(row: Any) -> str:
    return f"{row['model']}/{row['version']}"


def _spans(rule: AlertRule, windows: Sequence[Measured]) -> list[Span]:
    """The stretches during which a rule is broken, by judged windows in their order."""
    spans: list[Span] = []
    silent_until = None
    for place, window in enumerate(windows):
        latest = windows[max(0, place + 1 - rule.windows) : place + 1]
        broken = sum(_broken(rule, each) for each in latest)
        if spans and spans[-1].better is None:
            if not broken:
                spans[-1] = replace(spans[-1], better=window)
                silent_until = window.end + duration(rule.cool_down)
        elif broken >= rule.broken and _broken(rule, window) and (silent_until is None or window.start >= silent_until):
            spans.append(Span(seen=latest, better=None))
    return spans


def _has_value(window: Measured) -> bool:
    """NaN is none: it is neither below nor above a limit, so it would look unbroken."""
    return window.value is not None and not math.isnan(window.value)


def _broken(rule: AlertRule, window: Measured) -> bool:
    assert window.value is not None  # windows without a value are not looked at
    return window.value < rule.below if rule.below is not None else window.value > (rule.above or 0.0)


def _evidence(rule: AlertRule, span: Span) -> dict[str, Json]:
    """What was seen when an alert opened, and how much of it chance could have done."""
    windows: list[Json] = [_window(rule, each) for each in span.seen]
    broken = [each for each in span.seen if _broken(rule, each)]
    certain = sum(_significant(rule, each) is True for each in broken)
    unknown = all(_significant(rule, each) is None for each in broken)
    limit = f"{'below' if rule.below is not None else 'above'} {rule.below if rule.below is not None else rule.above:g}"
    told = f"{rule.metric} was {limit} in {len(broken)} of the last {len(span.seen)} judged windows"
    told += "" if unknown else f", in {certain} of them with the whole 95 % interval"
    return {"metric": rule.metric, "below": rule.below, "above": rule.above, "reason": told, "windows": windows}


def _window(rule: AlertRule, window: Measured) -> dict[str, Json]:
    return {
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "value": window.value,
        "low": window.low,
        "high": window.high,
        "broken": _broken(rule, window),
        "significant": _significant(rule, window),
        "explanation": window.explanation,
    }


def _significant(rule: AlertRule, window: Measured) -> bool | None:
    """Whether the whole interval is beyond the limit; None without an interval."""
    if window.low is None or window.high is None:
        return None
    return window.high < rule.below if rule.below is not None else window.low > (rule.above or 0.0)


def _start(window: Measured) -> datetime:
    return window.start


def _alert(row: Any) -> Alert:
    return Alert(**dict(row))
