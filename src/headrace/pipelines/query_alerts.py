"""Query alerts: asks each saved query that a rule stands on, and opens and closes the alerts of the rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.clock import now
from headrace.core.errors import HeadraceError
from headrace.lakehouse.adhoc import QueryLimits, ask
from headrace.lakehouse.values import rows_of
from headrace.pipelines.outputs.query_alerts import JudgedQuery
from headrace.queries.alert_rules import Condition, Outcome, condition, judge
from headrace.queries.records import values_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.jobs.run import Run, StepContext
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.monitoring.alert_records import Alert
    from headrace.monitoring.alerts import Alerts
    from headrace.queries.alert_rules import QueryAlertRule
    from headrace.queries.records import SavedQuery
    from headrace.queries.store import Queries

SECONDS = 60.0  # that a query may take


def outcome_of(lakehouse: Lakehouse, query: SavedQuery, wanted: Condition) -> Outcome:
    """What the answer to a query says of a condition, each parameter at its default.

    Raises:
        ConfigError: a parameter has no default.
        SqlError: the query names what is not there.
        LimitError: the answer takes too long, or is too large.
    """
    values = values_of(query.parameters, {})
    answer = ask(lakehouse, query.sql, QueryLimits(seconds=SECONDS), values=values)
    first = rows_of(answer.slice(0, 1))
    return judge(wanted, answer.column_names, answer.num_rows, first[0] if first else {})


def evaluate(
    lakehouse: Lakehouse, queries: Queries, alerts: Alerts, run: Run, rules: Sequence[QueryAlertRule]
) -> list[Alert]:
    """Evaluates rules on saved queries, a step each; gives their alerts that hold.

    A query that cannot be answered fails no step: it opens an alert that says why.

    Args:
        lakehouse: that is asked.
        queries: the saved ones.
        alerts: of the environment.
        run: the open run.
        rules: to evaluate.
    """
    alerts.retire_queries()
    return [alert for rule in rules for alert in _evaluate(lakehouse, queries, alerts, run, rule)]


def _evaluate(lakehouse: Lakehouse, queries: Queries, alerts: Alerts, run: Run, rule: QueryAlertRule) -> list[Alert]:
    def do(_: StepContext) -> JudgedQuery:
        try:
            outcome = outcome_of(lakehouse, queries.get(rule.query), condition(rule.rule))
        except HeadraceError as error:
            outcome = Outcome(holds=None, value=None, reason=error.what)
        held = alerts.judge(rule, outcome, now())
        return JudgedQuery(alerts=[each.id for each in held], reason=outcome.reason)

    key = {"run": run.id, "query": rule.query, "rule": rule.rule}
    judged = run.step(f"query {rule.query}: {rule.rule}", key, do, output=JudgedQuery)
    return [alerts.get(number) for number in judged.output.alerts]
