"""What monitoring has stored of a version: its quality by window, and the drift of each column by window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.clock import instant
from headrace.core.errors import DeclarationError
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.stored_monitoring import open_stored

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from headrace.deployment.declarations import Deployment
    from headrace.monitoring.declarations import Granularity
    from headrace.monitoring.drift import Verdict
    from headrace.monitoring.metric_tables import StoredDrift
    from headrace.monitoring.performance import Quality
    from headrace.operations.stored_monitoring import StoredMonitoring
    from headrace.registry.records import Stage
    from headrace.workspace.workspace import Workspace

WINDOWS = 12
RUNS = 50  # of monitoring, in which a verdict is looked for


@dataclass(frozen=True, kw_only=True)
class WindowQuality(Record):
    """A metric of a version in one window, on all of its rows.

    Attributes:
        start: of the window.
        end: the first moment after it.
        metric: its name.
        value: in the unit of the metric; None where it is not defined, such as an AUC of one class.
        low: the lower end of the 95 % interval; None where there is none.
        high: its upper end.
        rows: the number of predictions.
        labelled: the number of those whose label is known.
        label_coverage: the share of the predictions whose label is known, between 0 and 1.
        judged: whether it counts for alerts: the window is mature and has enough labels.
        reason: why there is no value, or why it does not count; empty where it counts.
        reopened: whether the window had been judged before labels came late.
        estimated: what was to be expected without labels; None where there is no estimate.
    """

    start: datetime
    end: datetime
    metric: str
    value: float | None
    low: float | None
    high: float | None
    rows: int
    labelled: int
    label_coverage: float
    judged: bool
    reason: str
    reopened: bool
    estimated: float | None


@dataclass(frozen=True, kw_only=True)
class ColumnDrift(Record):
    """A feature or an output of a version in one window, against the reference.

    Attributes:
        start: of the window.
        end: the first moment after it.
        column: its name.
        psi: population stability index.
        p_value: of that index by chance alone.
        js_distance: Jensen-Shannon distance.
        wasserstein: first Wasserstein distance, in the column's unit; None for texts.
        percent_null_delta: the percentage of missing values, window less reference.
        energy_distance: of the vectors of texts, from 0 to 1; None for what is no text, which has a PSI.
        new_share: the share of the rows with a text that the reference does not have, between 0 and 1; None for what is no text
            by its categories.
        new_categories: these texts, the most frequent first, five at most.
        verdict: `ok`, `warn`, `alert` or `not judged`; None where the ledger has no verdict any more.
        reasons: of the verdict, in words.
    """

    start: datetime
    end: datetime
    column: str
    psi: float | None
    p_value: float | None
    js_distance: float | None
    wasserstein: float | None
    percent_null_delta: float | None
    energy_distance: float | None
    new_share: float | None
    new_categories: tuple[str, ...]
    verdict: Verdict | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RuleReport(Record):
    """A rule of alerts.

    Attributes:
        rule: as declared.
        metric: that it looks at.
        limit: that is not to be passed, in the unit of the metric.
        below: whether the rule is broken below the limit, or above it.
    """

    rule: str
    metric: str
    limit: float
    below: bool


@dataclass(frozen=True, kw_only=True)
class MonitoringReport(Record):
    """What monitoring has stored of a version.

    Attributes:
        env: the environment.
        model: its name.
        version: the number of the version.
        stage: `None`, `Staging`, `Production` or `Archived`.
        granularity: the length of the windows, as declared: `1h`, `1d`, `1w` or `1mo`. Without a declaration it is `1d`, and
            quality is by month.
        predictions: the table of predictions that is monitored.
        windows: the number of windows that are shown.
        earlier: the number of windows that are stored and not shown because they are earlier.
        later: the number of windows that are stored and not shown because they are later.
        versions: the numbers of all versions of which something is stored.
        rules: of alerts, as declared.
        drift_warn: the population stability index over which a column may be a `warn`.
        drift_alert: the same of an `alert`.
        embedding_warn: the energy distance of texts over which a column may be a `warn`.
        embedding_alert: the same of an `alert`.
        quality: by window, then in the order of the metrics of the model.
        drift: by window, then by column.
    """

    env: str
    model: str
    version: int
    stage: Stage
    granularity: Granularity
    predictions: str
    windows: int
    earlier: int
    later: int
    versions: tuple[int, ...]
    rules: tuple[RuleReport, ...]
    drift_warn: float
    drift_alert: float
    embedding_warn: float
    embedding_alert: float
    quality: tuple[WindowQuality, ...]
    drift: tuple[ColumnDrift, ...]


@operation("monitor show", of="name")
def show_monitoring(
    workspace: Workspace,
    name: str,
    *,
    version: int | None = None,
    windows: int = WINDOWS,
    until: datetime | None = None,
    drift_windows: int | None = None,
) -> MonitoringReport:
    """The latest windows of a version as `headrace run score` and `run monitor` stored them last.

    Nothing is measured: a window that was never monitored is not there.

    Args:
        workspace: the environment.
        name: of the model.
        version: its number; None: the one in Production, else the newest one of which something is stored, else the newest.
        windows: how many of the latest windows; at least 1.
        until: the beginning of the last window; None: of all that are stored.
        drift_windows: of how many of these windows, the latest ones, drift is given; None: of all of them.

    Raises:
        NotFoundError: there is no such model or version, or the model has no deployment.
        DeclarationError: fewer than one window is asked for.
    """
    from headrace.monitoring import drift, quality, text_drift

    if windows < 1:
        raise DeclarationError(f"{windows} windows cannot be shown.", hint="Ask for 1 or more; 12 is the default.")
    with open_stored(workspace, name, version) as stored:
        shown, starts = stored.version, stored.starts
        there = [each for each in starts if until is None or each <= until]
        kept = there[-windows:]
        drifting = kept if drift_windows is None else kept[len(kept) - min(drift_windows, len(kept)) :]
        qualities: list[Quality] = []
        if kept and quality.TABLE in stored.tables.names:
            qualities = quality.stored(
                workspace.lakehouse,
                name,
                shown.version,
                stored.measured,
                since=kept[0],
                until=kept[-1],
                sliced=False,
                connection=stored.tables.connection,
            )
        drifts = stored.drift(workspace.lakehouse, since=drifting[0], until=drifting[-1]) if drifting else []
    return MonitoringReport(
        env=workspace.environment.name,
        model=name,
        version=shown.version,
        stage=shown.stage,
        granularity=stored.granularity,
        predictions=stored.deployment.score.table,
        windows=len(kept),
        earlier=len(there) - len(kept),
        later=len(starts) - len(there),
        versions=stored.versions,
        rules=_rules(stored.deployment),
        drift_warn=drift.WARN,
        drift_alert=drift.ALERT,
        embedding_warn=text_drift.WARN,
        embedding_alert=text_drift.ALERT,
        quality=tuple(row for each in qualities for row in _quality(each)),
        drift=judged_drift(workspace, stored, drifts),
    )


def judged_drift(
    workspace: Workspace, stored: StoredMonitoring, drifts: Sequence[StoredDrift]
) -> tuple[ColumnDrift, ...]:
    """Drift with the verdicts that runs of monitoring left in the ledger.

    Args:
        workspace: the environment.
        stored: the version.
        drifts: that is stored of it.
    """
    verdicts = _verdicts(workspace, stored, {each.start: each.end for each in drifts})
    return tuple(_drift(each, verdicts.get(each.start, {})) for each in drifts)


def _rules(deployment: Deployment) -> tuple[RuleReport, ...]:
    rules = deployment.monitor.alerts if deployment.monitor else ()
    found: list[RuleReport] = []
    for each in rules:
        limit = each.below if each.below is not None else each.above
        if limit is not None:
            found.append(RuleReport(rule=each.name, metric=each.metric, limit=limit, below=each.below is not None))
    return tuple(found)


def _quality(window: Quality) -> Iterator[WindowQuality]:
    for each in window.measures:
        if each.slice_key is not None:
            continue
        yield WindowQuality(
            start=window.start,
            end=window.end,
            metric=each.metric,
            value=each.value,
            low=each.low,
            high=each.high,
            rows=each.rows,
            labelled=each.labelled,
            label_coverage=window.coverage,
            judged=each.judged,
            reason=each.reason,
            reopened=window.reopened,
            estimated=each.estimated,
        )


def _drift(stored: StoredDrift, verdicts: Mapping[str, tuple[Verdict, Sequence[str]]]) -> ColumnDrift:
    verdict, reasons = verdicts.get(stored.column, (None, ()))
    return ColumnDrift(**vars(stored), verdict=verdict, reasons=tuple(reasons))


def _verdicts(
    workspace: Workspace, stored: StoredMonitoring, ends: Mapping[datetime, datetime]
) -> dict[datetime, dict[str, tuple[Verdict, Sequence[str]]]]:
    """Window → column → the latest verdict and its reasons, as runs of monitoring left them in the ledger.

    Args:
        workspace: the environment.
        stored: the version that was monitored.
        ends: the beginning of each window → its end.
    """
    from headrace.pipelines.monitor import FORMATS
    from headrace.pipelines.outputs.monitor import WindowDrift

    version = stored.version
    left = {f"window {start:{FORMATS[stored.granularity]}} of version {version.version}": start for start in ends}
    found: dict[datetime, dict[str, tuple[Verdict, Sequence[str]]]] = {}
    for run in workspace.ledger.runs(f"monitor {version.model}", limit=RUNS) if left else ():
        for step in workspace.ledger.steps(run.id, named=list(left)):
            window = None if step.output is None else WindowDrift.from_json(step.output)
            if window is None:
                continue
            start = instant(window.start)
            if ends.get(start) == instant(window.end):
                found[start] = {each["column"]: (each["verdict"], each["reasons"]) for each in window.columns}
                left.pop(step.name, None)
        if not left:
            break
    return found
