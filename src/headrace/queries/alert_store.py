"""The rules on saved queries in the state database. Each change is in the audit record, in the same transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from headrace.access.audit import AUDIT, record
from headrace.core.clock import now
from headrace.core.errors import ConfigError, NotFoundError
from headrace.queries.alert_rules import QueryAlertRule
from headrace.queries.store import required
from headrace.queries.tables import QUERIES, QUERY_ALERTS

if TYPE_CHECKING:
    from headrace.core.state import State
    from headrace.queries.alert_rules import Condition, Severity

MOST = 20  # rules on a query


class QueryAlertRules:
    """The rules on the saved queries of one environment."""

    def __init__(self, state: State) -> None:
        self.state = state
        state.create(QUERIES, QUERY_ALERTS, AUDIT)

    def list(self, query: str | None = None) -> list[QueryAlertRule]:
        """The rules on a query, or on all, by name and condition."""
        wanted = select(QUERY_ALERTS).order_by(QUERY_ALERTS.c.query, QUERY_ALERTS.c.rule)
        if query is not None:
            wanted = wanted.where(QUERY_ALERTS.c.query == query)
        with self.state.read() as connection:
            return [QueryAlertRule(**dict(row)) for row in connection.execute(wanted).mappings()]

    def declare(
        self, query: str, condition: Condition, *, severity: Severity, owner: str, every: str, by: str
    ) -> QueryAlertRule:
        """Keeps a rule; one with the same condition is replaced.

        Args:
            query: on which it stands.
            condition: that is reported.
            severity: of its alerts.
            owner: of its alerts.
            every: how often it is evaluated.
            by: who declares it.

        Raises:
            NotFoundError: there is no such query.
            ConfigError: the query has as many rules as it may have.
        """
        rule = str(condition)
        values: dict[str, Any] = {"severity": severity, "owner": owner, "every": every}
        stamped = {**values, "declared": now(), "declared_by": by}
        mine = (QUERY_ALERTS.c.query == query, QUERY_ALERTS.c.rule == rule)
        with self.state.begin() as connection:
            required(connection, query)
            known = connection.execute(select(QUERY_ALERTS.c.rule).where(mine[0])).scalars().all()
            if rule in known:
                connection.execute(update(QUERY_ALERTS).where(*mine).values(**stamped))
            elif len(known) >= MOST:
                raise ConfigError(f"the query {query!r} has {len(known)} rules.", hint=f"It may have {MOST}.")
            else:
                connection.execute(insert(QUERY_ALERTS).values(query=query, rule=rule, outcome="", **stamped))
            record(connection, by, "query.alert_declared", query, {"rule": rule, **values})
            row = connection.execute(select(QUERY_ALERTS).where(*mine)).mappings().one()
            return QueryAlertRule(**dict(row))

    def remove(self, query: str, condition: Condition, *, by: str) -> None:
        """Removes a rule.

        Raises:
            NotFoundError: there is no such query, or no such rule on it.
        """
        rule = str(condition)
        with self.state.begin() as connection:
            required(connection, query)
            mine = QUERY_ALERTS.c.query == query
            known = connection.execute(select(QUERY_ALERTS.c.rule).where(mine)).scalars().all()
            if rule not in known:
                raise NotFoundError(f"rule on {query!r}", rule, known)
            connection.execute(delete(QUERY_ALERTS).where(mine, QUERY_ALERTS.c.rule == rule))
            record(connection, by, "query.alert_removed", query, {"rule": rule})
