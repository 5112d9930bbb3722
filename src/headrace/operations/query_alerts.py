"""Rules on saved queries: what their answers are compared with, how often, and their evaluation."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.clock import duration, now
from headrace.core.errors import BusyError, ConfigError
from headrace.operations.alerts import report_alert
from headrace.operations.job import RunReport, announce, open_job, steps
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.schedule_rules import last_run
from headrace.operations.sync import tell_people
from headrace.pipelines import query_alerts as pipeline
from headrace.queries.alert_rules import SEVERITIES, QueryAlertRule, Severity, condition
from headrace.queries.alert_store import QueryAlertRules
from headrace.queries.store import Queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.operations.alerts import AlertReport
    from headrace.operations.job import Announcer, Listener
    from headrace.workspace.workspace import Workspace

__all__ = [
    "SEVERITIES",
    "QueryAlertReport",
    "QueryMonitorReport",
    "Severity",
    "declare_query_alert",
    "due_rules",
    "judge_due_rules",
    "monitor_queries",
    "remove_query_alert",
]

JOB = "monitor queries"
LONGEST_OWNER = 200  # characters


@dataclass(frozen=True, kw_only=True)
class QueryAlertReport(Record):
    """A rule on a saved query, and what its answer says now.

    Attributes:
        query: the name of the query.
        rule: the condition, as it is kept.
        severity: of its alerts.
        owner: of its alerts.
        every: how often it is evaluated.
        holds: whether an alert would be open now.
        reason: what the answer says, in words.
    """

    query: str
    rule: str
    severity: Severity
    owner: str
    every: str
    holds: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class QueryMonitorReport(RunReport):
    """What the evaluation of rules on saved queries found.

    Attributes:
        alerts: of saved queries, that hold now.
        rules: how many were evaluated.
    """

    alerts: tuple[AlertReport, ...]
    rules: int


@operation("query alert", of="name")
def declare_query_alert(
    workspace: Workspace,
    name: str,
    when: str,
    *,
    every: str = "1h",
    severity: Severity = "warning",
    owner: str = "",
) -> QueryAlertReport:
    """Keeps a rule on a saved query, which is asked once, so that a rule that cannot be evaluated is refused.

    Args:
        workspace: the environment.
        name: of the query. Each parameter needs a default.
        when: the condition: a column of the first row, a sign and a number, as `late > 0.1`, or the number of rows,
            `rows > 0`. A rule with the same condition is replaced.
        every: how often it is evaluated, as `15m`; at least a minute.
        severity: of its alerts: `info`, `warning` or `critical`.
        owner: who takes care; empty: whoever declares it.

    Raises:
        NotFoundError: there is no such query.
        ConfigError: the condition, the severity, the owner or `every` is not possible, or the answer has no such number.
        SqlError: the query names what is not there any more.
        LimitError: its answer takes too long, or is too large.
    """
    wanted, me = condition(when), workspace.access.me().name
    if severity not in SEVERITIES:
        raise ConfigError(f"{severity!r} is no severity.", hint=f"There is {', '.join(SEVERITIES)}.")
    if duration(every) < duration("1m"):
        raise ConfigError(f"{every!r} is too often.", hint="A query is asked once a minute at most: 1m.")
    if duration(every) > duration("366d"):
        raise ConfigError(f"{every!r} is too rare.", hint="A query is asked once in 366d at least.")
    if not (owner or me).isprintable() or len(owner) > LONGEST_OWNER:
        raise ConfigError(f"{owner[:LONGEST_OWNER]!r} cannot be an owner.", hint="Write a name or an address.")
    found = Queries(workspace.state).get(name)
    outcome = pipeline.outcome_of(workspace.lakehouse, found, wanted)
    if outcome.unfit:
        raise ConfigError(f"the rule {str(wanted)!r} cannot be evaluated: {outcome.reason}.")
    rule = QueryAlertRules(workspace.state).declare(
        name, wanted, severity=severity, owner=owner.strip() or me, every=every, by=me
    )
    return QueryAlertReport(
        query=rule.query,
        rule=rule.rule,
        severity=rule.severity,
        owner=rule.owner,
        every=rule.every,
        holds=outcome.holds is not False,
        reason=outcome.reason,
    )


@operation("query alert", of="name")
def remove_query_alert(workspace: Workspace, name: str, when: str) -> None:
    """Removes a rule on a saved query; its alerts are closed.

    Args:
        workspace: the environment.
        name: of the query.
        when: the condition of the rule.

    Raises:
        NotFoundError: there is no such query, or no such rule on it.
        ConfigError: it is no condition.
    """
    QueryAlertRules(workspace.state).remove(name, condition(when), by=workspace.access.me().name)
    workspace.alerts.retire_queries()


@operation("run monitor")
def monitor_queries(
    workspace: Workspace,
    *,
    due: bool = False,
    listen: Listener | None = None,
    begin: Announcer | None = None,
) -> QueryMonitorReport:
    """Evaluates the rules on saved queries; gives their alerts that hold.

    Args:
        workspace: the environment.
        due: whether those alone that are due.
        listen: called with each step that ends.
        begin: called once before the first step.
    """
    rules = QueryAlertRules(workspace.state).list()
    chosen = [each for each in rules if each.due] if due else rules
    announce(workspace, begin, steps=len(chosen))
    run = _judge(workspace, chosen, listen)
    tell_people(workspace)
    return QueryMonitorReport(
        run=run,
        env=workspace.environment.name,
        steps=steps(workspace, run),
        alerts=tuple(report_alert(each) for each in workspace.alerts.active() if each.query is not None),
        rules=len(chosen),
    )


def judge_due_rules(workspace: Workspace, *, listen: Listener | None) -> None:
    """Evaluates the rules on saved queries that are due, unless another process does; without one, nothing is run."""
    rules = [each for each in QueryAlertRules(workspace.state).list() if each.due]
    if rules:
        with suppress(BusyError):
            _judge(workspace, rules, listen)


def due_rules(workspace: Workspace) -> list[QueryAlertRule]:
    """The rules that the scheduler evaluates now: what is due, unless the last evaluation failed too short a time ago."""
    rules = [each for each in QueryAlertRules(workspace.state).list() if each.due]
    last = last_run(workspace, JOB) if rules else None
    if last is None or last.status != "failed":
        return rules
    return [each for each in rules if last.started + duration(each.every) <= now()]


def _judge(workspace: Workspace, rules: Sequence[QueryAlertRule], listen: Listener | None) -> str:
    """Evaluates rules as a run; returns its id."""
    with open_job(workspace, JOB, {}, listen) as run:
        pipeline.evaluate(workspace.lakehouse, Queries(workspace.state), workspace.alerts, run, rules)
        return run.id
