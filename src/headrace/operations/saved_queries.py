"""Saved queries: a SELECT with parameters and a chart, kept under a name, and answered as `headrace sql` answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.access.rights import roles
from headrace.core.errors import ConfigError
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.sql import ROWS, SECONDS, QueryResult, query
from headrace.queries.records import CHART_KINDS, PARAMETER_KINDS, Chart, ChartKind, Parameter, ParameterKind, values_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from headrace.queries.alert_rules import QueryAlertRule
    from headrace.queries.records import SavedQuery
    from headrace.queries.store import Queries
    from headrace.workspace.workspace import Workspace

__all__ = [
    "CHART_KINDS",
    "PARAMETER_KINDS",
    "Chart",
    "ChartKind",
    "Parameter",
    "ParameterKind",
    "SavedQueryReport",
    "delete_query",
    "list_queries",
    "run_query",
    "save_query",
    "show_query",
    "values_of",
]

LONGEST_NAME = 100  # characters
LONGEST = 100_000  # characters of a SELECT
MOST = 20  # parameters


@dataclass(frozen=True, kw_only=True)
class SavedQueryReport(Record):
    """A saved query.

    Attributes:
        name: of it.
        sql: the SELECT, with placeholders `:name`.
        parameters: one for each placeholder: its name, its kind (text, number, date) and its default, None where it has none.
        chart: how its answer is drawn: the kind, and the columns x, y and value.
        version: 1, and one more each time that it is saved; `replaces` of `save_query`.
        saved: when, last.
        saved_by: who.
        alerts: the rules on its answer, by their conditions.
    """

    name: str
    sql: str
    parameters: tuple[Parameter, ...]
    chart: Chart
    version: int
    saved: datetime
    saved_by: str
    alerts: tuple[QueryAlertRule, ...]


@operation("query list")
def list_queries(workspace: Workspace) -> list[SavedQueryReport]:
    """The saved queries of an environment, by name."""
    rules: dict[str, list[QueryAlertRule]] = {}
    for rule in _rules(workspace):
        rules.setdefault(rule.query, []).append(rule)
    return [_report(each, rules.get(each.name, ())) for each in _queries(workspace).list()]


@operation("query show", of="name")
def show_query(workspace: Workspace, name: str) -> SavedQueryReport:
    """One saved query.

    Raises:
        NotFoundError: there is none of this name.
    """
    return _report(_queries(workspace).get(name), _rules(workspace, name))


@operation("query save", of="name")
def save_query(
    workspace: Workspace,
    name: str,
    sql: str,
    *,
    parameters: Sequence[Parameter] = (),
    chart: Chart | None = None,
    replaces: int | None = None,
) -> SavedQueryReport:
    """Keeps a SELECT under a name. It is read as when it is asked, and not run.

    Args:
        workspace: the environment.
        name: of the query, at most 100 characters that can be seen.
        sql: the SELECT.
        parameters: one for each of its placeholders.
        chart: how its answer is drawn; None: as a table.
        replaces: the version that was looked at and is replaced; None: it is new.

    Raises:
        ConfigError: the name, the length, or a default is not possible.
        RefusedError: it replaces one with rules, which takes the right of `query alert`.
        SqlError: it is no SELECT over tables that can be read, or lacks a parameter.
        ConflictError: there is one of this name, or somebody else has saved or deleted it meanwhile.
    """
    from headrace.lakehouse.adhoc import check_question

    _check_name(name)
    if replaces is not None:
        _check_silences(workspace, name, "replace")
    check_length(sql)
    if len(parameters) > MOST:
        raise ConfigError(f"the query has {len(parameters)} parameters.", hint=f"It may have {MOST}.")
    check_question(workspace.lakehouse, sql, [each.name for each in parameters])
    for each in parameters:
        if each.default is not None:
            each.value(each.default)
    return _report(
        _queries(workspace).save(
            name,
            sql,
            parameters=parameters,
            chart=chart or Chart(),
            by=workspace.access.me().name,
            replaces=replaces,
        ),
        _rules(workspace, name),
    )


@operation("query delete", of="name")
def delete_query(workspace: Workspace, name: str, *, version: int | None = None) -> None:
    """Removes a saved query, with the rules on it; their alerts are closed.

    Args:
        workspace: the environment.
        name: of the query.
        version: that was looked at; None: whichever there is.

    Raises:
        NotFoundError: there is none of this name.
        RefusedError: there are rules on it, which takes the right of `query alert`.
        ConflictError: somebody else has saved it meanwhile.
    """
    _check_silences(workspace, name, "delete")
    _queries(workspace).delete(name, by=workspace.access.me().name, version=version)
    workspace.alerts.retire_queries()


@operation("sql", of="name")
def run_query(
    workspace: Workspace,
    name: str,
    values: Mapping[str, str] | None = None,
    *,
    timeout: float = SECONDS,
    max_rows: int = ROWS,
    cancelled: Callable[[], bool] | None = None,
) -> QueryResult:
    """Answers a saved query as it is now, with the right and the limits of any other SELECT.

    Args:
        workspace: the environment.
        name: of the query.
        values: name of a parameter → its value as text; those that are missing have their defaults.
        timeout: the time that it may take, in seconds.
        max_rows: the number of rows that the answer may have.
        cancelled: asked several times a second whether it is to end now; None: nobody ends it.

    Raises:
        NotFoundError: there is no such query, or it has no such parameter.
        ConfigError: a value is missing, or is none of its kind.
        SqlError: it names what is not there any more.
        LimitError: it takes too long, is cancelled, or its answer or its memory is too large.
    """
    found = _queries(workspace).get(name)
    bound = values_of(found.parameters, values or {})
    return query(workspace, found.sql, timeout=timeout, max_rows=max_rows, values=bound, cancelled=cancelled)


def _queries(workspace: Workspace) -> Queries:
    from headrace.queries.store import Queries

    return Queries(workspace.state)


def _rules(workspace: Workspace, name: str | None = None) -> list[QueryAlertRule]:
    from headrace.queries.alert_store import QueryAlertRules

    return QueryAlertRules(workspace.state).list(name)


def _check_silences(workspace: Workspace, name: str, verb: str) -> None:
    """Refuses to end the alerts of a query for whoever may not end them by themselves."""
    if _rules(workspace, name):
        needed = roles("query alert", lowest=workspace.is_lowest)
        workspace.access.me().require(*needed, to=f"{verb} the query {name!r}, on which alerts stand")


def _report(found: SavedQuery, rules: Sequence[QueryAlertRule]) -> SavedQueryReport:
    return SavedQueryReport(**vars(found), alerts=tuple(rules))


def check_length(sql: str) -> None:
    """Refuses a SELECT that is longer than one may be.

    Raises:
        ConfigError: says how long it is.
    """
    if len(sql) > LONGEST:
        raise ConfigError(f"the SELECT has {len(sql):,} characters.", hint=f"It has at most {LONGEST:,}.")


def _check_name(name: str) -> None:
    if not name or name != name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise ConfigError(
            f"{name[:LONGEST_NAME]!r} cannot be the name of a query.",
            hint=f"It has 1 to {LONGEST_NAME} characters that can be seen, and no space at its ends.",
        )
