"""The alerts of a rule on a saved query: at most one that holds, and one while its query cannot be answered.

The windows of such a rule are the steps in which it is evaluated, such as whole hours: within one of them, its alert
opens once, however often the query is asked, and what a person has resolved stays closed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from headrace.core.clock import duration
from headrace.monitoring.alert_records import ALERTS, close_alert, matches, open_again, open_alert, row_of
from headrace.queries.tables import QUERY_ALERTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, RowMapping

    from headrace.core.ids import Json
    from headrace.queries.alert_rules import Outcome

UNKNOWN = ": cannot be evaluated"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class QueryRule:
    """A rule on a saved query within one transaction."""

    connection: Connection
    query: str
    rule: str

    @property
    def names(self) -> tuple[str, str]:
        """The rules that its alerts may have: its own, and that it cannot be evaluated."""
        return self.rule, f"{self.rule}{UNKNOWN}"

    def bring_to(self, outcome: Outcome, at: datetime) -> bool:
        """Makes its alerts what an answer says, and keeps the answer with the rule.

        Args:
            outcome: of the answer.
            at: when it was given.

        Returns:
            Whether there is such a rule, still.
        """
        mine = (QUERY_ALERTS.c.query == self.query, QUERY_ALERTS.c.rule == self.rule)
        declared = self.connection.execute(select(QUERY_ALERTS).where(*mine)).mappings().first()
        if declared is None:
            return False
        self.connection.execute(update(QUERY_ALERTS).where(*mine).values(evaluated=at, outcome=outcome.reason))
        known, unknown = self.names
        if outcome.holds is not None:
            self._bring(declared, known, outcome, at, holds=outcome.holds)
        self._bring(declared, unknown, outcome, at, holds=outcome.holds is None)
        return True

    def _bring(self, declared: RowMapping, rule: str, outcome: Outcome, at: datetime, *, holds: bool) -> None:
        about, window = {"query": self.query, "rule": rule}, _window(at, declared["every"])
        last = select(ALERTS).where(*matches(about)).order_by(ALERTS.c.id.desc())
        row = self.connection.execute(last).mappings().first()
        if row is None and holds:
            self._open(declared, about, outcome, at, window)
        if row is None:
            return
        if row["status"] != "closed":
            self._look(row, outcome, at, window, holds=holds)
            if not holds:
                close_alert(self.connection, row_of(self.connection, row["id"]), window, outcome.reason)
        elif row["resolved_by"] is not None and row["better_since"] is None:
            if holds and window > row["looked_at"]:
                self._look(row, outcome, at, window, holds=True)
                open_again(self.connection, row)
            elif not holds:
                self._set(row, better_since=window)
        elif holds and row["window"] >= window:
            self._look(row, outcome, at, window, holds=True)
            open_again(self.connection, row)
        elif holds:
            self._open(declared, about, outcome, at, window)

    def _open(
        self, declared: RowMapping, about: Mapping[str, str], outcome: Outcome, at: datetime, window: datetime
    ) -> None:
        values = {"severity": declared["severity"], "owner": declared["owner"], "window": window, "looked_at": window}
        evidence: dict[str, Json] = {
            "rule": self.rule,
            "reason": outcome.reason,
            "windows": [_answer(outcome, at, holds=True)],
        }
        open_alert(self.connection, about, {**values, "evidence": evidence})

    def _look(self, row: Any, outcome: Outcome, at: datetime, window: datetime, *, holds: bool) -> None:
        """Keeps the last answer beside the first one."""
        evidence: dict[str, Any] = dict(row["evidence"])
        first: Sequence[Json] = evidence["windows"][:1]
        evidence["windows"] = [*first, _answer(outcome, at, holds=holds)]
        self._set(row, evidence=evidence, looked_at=max(window, row["looked_at"]))

    def _set(self, row: Any, **values: object) -> None:
        self.connection.execute(update(ALERTS).where(ALERTS.c.id == row["id"]).values(**values))


def retire_undeclared(connection: Connection) -> None:
    """Closes alerts of rules on saved queries that are there no more."""
    declared = connection.execute(select(QUERY_ALERTS.c.query, QUERY_ALERTS.c.rule))
    rules = {(query, name) for query, rule in declared for name in QueryRule(connection, query, rule).names}
    standing = select(ALERTS).where(ALERTS.c.query.is_not(None), ALERTS.c.status != "closed")
    for row in connection.execute(standing).mappings().all():
        if (row["query"], row["rule"]) not in rules:
            close_alert(connection, row, None, "the rule or its query was deleted")


def _window(at: datetime, every: str) -> datetime:
    """Beginning of the step in which a moment is."""
    return at - (at - EPOCH) % duration(every)


def _answer(outcome: Outcome, at: datetime, *, holds: bool) -> dict[str, Json]:
    finite = outcome.value is None or math.isfinite(outcome.value)
    return {
        "start": at.isoformat(),
        "end": at.isoformat(),
        "value": outcome.value if finite else str(outcome.value),
        "low": None,
        "high": None,
        "broken": holds,
        "significant": None,
        "explanation": outcome.reason,
    }
