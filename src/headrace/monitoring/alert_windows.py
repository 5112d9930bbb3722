"""The windows of a model version beside a rule: the stretches during which it is broken, and the alerts that follow."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from headrace.core.clock import duration
from headrace.monitoring.alert_records import ALERTS, close_alert, matches, open_again, open_alert

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from headrace.core.ids import Json
    from headrace.monitoring.declarations import AlertRule


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
class Span:
    """A stretch during which a rule is broken.

    Attributes:
        seen: the windows that were looked at when it began; the last one broke it.
        held: beginning of the last window with which it was broken often enough.
        better: the window with which it was better again; None while it holds.
    """

    seen: Sequence[Measured]
    held: datetime
    better: Measured | None

    @property
    def start(self) -> datetime:
        """Beginning of the window with which the rule was broken."""
        return self.seen[-1].start


@dataclass(frozen=True)
class WindowRule:
    """A rule of a version within one transaction."""

    connection: Connection
    model: str
    version: int
    rule: AlertRule
    owner: str

    @property
    def about(self) -> dict[str, str | int]:
        """Whose alerts these are."""
        return {"model": self.model, "version": self.version, "rule": self.rule.name}

    def bring_to(self, windows: Sequence[Measured]) -> None:
        """Makes the alerts that stand what all windows so far say.

        What lies after the last window that was given is left alone: then somebody looks at an earlier moment.
        """
        judged = sorted((each for each in windows if each.judged and _has_value(each)), key=_start)
        spans, last = _spans(self.rule, judged), max(each.start for each in windows)
        left = {row["window"]: row for row in self._standing()}
        taken = [left.pop(span.start, None) for span in spans]
        for place, span in enumerate(spans):
            overlapping = [row for row in left.values() if taken[place] is None and _overlaps(row, span)]
            if overlapping:  # labels that came late made the stretch begin with another window
                taken[place] = left.pop(overlapping[0]["window"])
        for row in left.values():
            if row["status"] != "closed" and row["window"] <= last:
                close_alert(self.connection, row, last, "labels that came late say otherwise")
        for row, span in zip(taken, spans, strict=True):
            self._bring(row, span, last)
        looked = (*matches(self.about), ALERTS.c.status != "closed", ALERTS.c.looked_at < last)
        self.connection.execute(update(ALERTS).where(*looked).values(looked_at=last))

    def _standing(self) -> Sequence[Any]:
        wanted = select(ALERTS).where(*matches(self.about)).order_by(ALERTS.c.id)
        return self.connection.execute(wanted).mappings().all()

    def _bring(self, row: Any, span: Span, last: datetime) -> None:
        if row is None:
            row = self._open(span, last)
        elif span.better is None and row["status"] == "closed" and _has_come_back(row, span, last):
            open_again(self.connection, row)
        if span.better is not None and row["status"] != "closed":
            reason = f"unbroken in the last {self.rule.windows} judged windows"
            close_alert(self.connection, row, span.better.start, reason)

    def _open(self, span: Span, last: datetime) -> Any:
        values = {"severity": "warning", "window": span.start, "looked_at": last, "owner": self.owner}
        return open_alert(self.connection, self.about, {**values, "evidence": _evidence(self.rule, span)})


def _overlaps(row: Any, span: Span) -> bool:
    closed = row["looked_at" if row["resolved_by"] else "window"] if row["status"] == "closed" else None
    end = row["better_since"] or closed
    return (end is None or span.start <= end) and (span.better is None or row["window"] <= span.better.start)


def _has_come_back(row: Any, span: Span, last: datetime) -> bool:
    """Whether the windows reach what closed an alert: given fewer of them, it is still the past that is looked at.

    What a person has resolved comes back with a later window that breaks the rule often enough.
    """
    if row["resolved_by"] is not None:
        return span.held > row["looked_at"]
    return row["better_since"] is None or last >= row["better_since"]


def _spans(rule: AlertRule, windows: Sequence[Measured]) -> list[Span]:
    """The stretches during which a rule is broken, by judged windows in their order."""
    spans: list[Span] = []
    silent_until = None
    for place, window in enumerate(windows):
        latest = windows[max(0, place + 1 - rule.windows) : place + 1]
        broken = sum(_broken(rule, each) for each in latest)
        holds = broken >= rule.broken and _broken(rule, window)
        if spans and spans[-1].better is None:
            if holds:
                spans[-1] = replace(spans[-1], held=window.start)
            elif not broken:
                spans[-1] = replace(spans[-1], better=window)
                silent_until = window.end + duration(rule.cool_down)
        elif holds and (silent_until is None or window.start >= silent_until):
            spans.append(Span(seen=latest, held=window.start, better=None))
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
