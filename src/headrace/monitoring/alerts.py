"""Alerts: rules that were broken often enough. Each is reported once, and stays open until the values recover.

The state of a rule depends only on the judged windows of a version, in their order: evaluated one by one, all at once
or twice, they lead to the same alerts. An alert opens with a broken window when `broken` of the last `windows` are; it
closes when `windows` in a row are not, and then none opens with a window that begins before the cool-down is over. Late
labels may change earlier windows: then the existing alert is kept, closed or opened again, and never doubled. A rule on
a saved query has one alert that holds at most.

A person acknowledges an alert, mutes it until a moment (nobody is notified before), or resolves it: it is closed, and
opens again when its rule is broken in a later window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from headrace.access.audit import AUDIT
from headrace.core.clock import now
from headrace.core.errors import ConfigError, ConflictError, NotFoundError, RefusedError
from headrace.core.events import CHANNELS, EVENTS, Event
from headrace.core.failpoints import reach
from headrace.monitoring.alert_records import ALERTS, Alert, alert_of, close_alert, report_act, row_of, urgency
from headrace.monitoring.alert_windows import WindowRule
from headrace.monitoring.query_alerts import QueryRule, retire_undeclared
from headrace.queries.tables import QUERY_ALERTS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from headrace.core.state import State
    from headrace.monitoring.alert_records import Status
    from headrace.monitoring.alert_windows import Measured
    from headrace.monitoring.declarations import AlertRule
    from headrace.queries.alert_rules import Outcome, QueryAlertRule


class Alerts:
    """The alerts of one environment."""

    def __init__(self, state: State) -> None:
        self.state = state
        state.create(ALERTS, QUERY_ALERTS, AUDIT, EVENTS, CHANNELS)

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
        last = max((each.start for each in windows), default=None)
        with self.state.begin() as connection:
            if last is not None:
                WindowRule(connection, model, version, rule, owner).bring_to(windows)
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
                close_alert(connection, row, None, "it is not judged any more")
        return [self.get(row["id"]) for row in gone]

    def judge(self, rule: QueryAlertRule, outcome: Outcome, at: datetime) -> Sequence[Alert]:
        """Opens and closes the alerts of a rule on a saved query; gives those that hold.

        Args:
            rule: as it was read; where it was removed meanwhile, nothing is opened.
            outcome: what the answer says.
            at: when the query was answered.
        """
        with self.state.begin() as connection:
            mine = QueryRule(connection, rule.query, rule.rule)
            there = mine.bring_to(outcome, at)
        held = (each for each in self.active() if each.query == rule.query and each.rule in mine.names)
        return list(held) if there else []

    def retire_queries(self) -> None:
        """Closes the alerts of rules on saved queries that are there no more."""
        with self.state.begin() as connection:
            retire_undeclared(connection)

    def list(
        self,
        *,
        status: Status | None = None,
        model: str | None = None,
        query: str | None = None,
        active: bool = False,
        closed_last: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Alert]:
        """Alerts, the latest first.

        Args:
            status: only those in this state.
            model: only those of this model.
            query: only those of this saved query.
            active: only those that hold.
            closed_last: whether those that nobody takes care of come first, the severest on top, then those that are
                acknowledged, then those that are muted, then all that are closed.
            limit: the number of alerts; None: all.
            offset: how many are left out before them.
        """
        wanted = select(ALERTS)
        if closed_last:
            wanted = wanted.order_by(*urgency())
        wanted = wanted.order_by(ALERTS.c.id.desc()).limit(limit).offset(offset)
        if active:
            wanted = wanted.where(ALERTS.c.status.in_(("open", "acknowledged")))
        for column, value in ((ALERTS.c.status, status), (ALERTS.c.model, model), (ALERTS.c.query, query)):
            if value is not None:
                wanted = wanted.where(column == value)
        with self.state.read() as connection:
            return [alert_of(row) for row in connection.execute(wanted).mappings()]

    def active(self, model: str | None = None) -> list[Alert]:
        """Alerts that hold: open or acknowledged."""
        return self.list(model=model, active=True)

    def get(self, alert: int) -> Alert:
        """One alert.

        Raises:
            NotFoundError: there is none of this number.
        """
        with self.state.read() as connection:
            row = connection.execute(select(ALERTS).where(ALERTS.c.id == alert)).mappings().first()
            known = [] if row else connection.execute(select(ALERTS.c.id).order_by(ALERTS.c.id.desc())).scalars().all()
        if row is None:
            raise NotFoundError(
                "alert", str(alert), [str(each) for each in known], hint="`headrace alert list` shows them."
            )
        return alert_of(row)

    def history(self, alert: int) -> list[Event]:
        """What became of an alert, the latest first: opened, acknowledged, muted, resolved, closed.

        Raises:
            NotFoundError: there is none of this number.
        """
        about = self.get(alert).subject
        wanted = select(EVENTS).where(EVENTS.c.subject == about, EVENTS.c.name.like("alert.%"))
        with self.state.read() as connection:
            rows = connection.execute(wanted.order_by(EVENTS.c.id.desc())).mappings()
            return [Event(**dict(row)) for row in rows if row["payload"]["alert"] == alert]

    def ack(self, alert: int, *, by: str, reason: str = "") -> Alert:
        """Somebody has seen it and takes care. Again changes the reason, where there is another one.

        Raises:
            NotFoundError: there is none of this number.
            RefusedError: it does not hold any more.
        """
        self.get(alert)
        with self.state.begin() as connection:
            found = alert_of(row_of(connection, alert))
            if not found.active:
                raise RefusedError(
                    f"alert {alert} was closed at {found.closed:%Y-%m-%d %H:%M} UTC{_by(found)}.",
                    hint="There is nothing to take care of.",
                )
            self._change(
                connection,
                alert,
                status="acknowledged",
                acknowledged=now(),
                acknowledged_by=by,
                reason=reason or found.reason,
            )
            report_act(connection, "alert.acknowledged", found, by=by, reason=reason)
        return self.get(alert)

    def mute(self, alert: int, *, by: str, until: datetime, reason: str) -> Alert:
        """Nobody is notified of it before a moment, nor of the next alert of its rule. Again changes the moment.

        Raises:
            NotFoundError: there is none of this number.
            ConfigError: the moment has passed, or there is no reason.
            ConflictError: it does not hold any more.
        """
        self.get(alert)
        _check_reason(reason, "alert is muted")
        if until <= now():
            raise ConfigError(
                f"an alert cannot be muted until {until:%Y-%m-%d %H:%M:%S} UTC: that has passed.",
                hint=f"It is {now():%Y-%m-%d %H:%M} UTC now. Write a later moment.",
            )
        with self.state.begin() as connection:
            found = _required_active(connection, alert)
            self._change(connection, alert, muted_until=until, muted_by=by, mute_reason=reason)
            report_act(connection, "alert.muted", found, by=by, reason=reason, until=until)
        return self.get(alert)

    def resolve(self, alert: int, *, by: str, reason: str) -> Alert:
        """Closes it by hand. It opens again when its rule is broken in a window after those that were looked at.

        Raises:
            NotFoundError: there is none of this number.
            ConfigError: there is no reason.
            ConflictError: it was closed meanwhile, by whom the message says.
        """
        self.get(alert)
        _check_reason(reason, "alert is resolved")
        with self.state.begin() as connection:
            found = _required_active(connection, alert)
            self._change(connection, alert, status="closed", closed=now(), resolved_by=by, resolution=reason)
            report_act(connection, "alert.resolved", found, by=by, reason=reason)
        return self.get(alert)

    def _change(self, connection: Connection, alert: int, **values: Any) -> None:
        connection.execute(update(ALERTS).where(ALERTS.c.id == alert).values(**values))


def _required_active(connection: Connection, alert: int) -> Alert:
    found = alert_of(row_of(connection, alert))
    if not found.active:
        reason = f": {found.resolution}" if found.resolution else ""
        raise ConflictError(
            f"alert {alert} was closed at {found.closed:%Y-%m-%d %H:%M:%S} UTC{_by(found)}{reason}",
            hint="Nothing was changed.",
        )
    return found


def _by(alert: Alert) -> str:
    if alert.resolved_by is not None:
        return f" by {alert.resolved_by}"
    return "; it is better again" if alert.better_since is not None else ""


def _check_reason(reason: str, what: str) -> None:
    if not reason.strip():
        raise ConfigError(f"an {what} for a reason.", hint="Write one: others read it.")
