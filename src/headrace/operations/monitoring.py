"""What monitoring has stored of a version: its quality by window, and the drift of each column by window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.clock import instant
from headrace.core.errors import DeclarationError
from headrace.operations.job import one_deployment
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from headrace.deployment.declarations import Deployment
    from headrace.monitoring.declarations import Granularity
    from headrace.monitoring.drift import Verdict
    from headrace.monitoring.metric_tables import StoredDrift
    from headrace.monitoring.performance import Quality
    from headrace.pipelines.outputs.monitor import WindowDrift
    from headrace.registry.records import Stage, Version
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
    verdict: Verdict | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MonitoringReport(Record):
    """What monitoring has stored of a version.

    Attributes:
        env: the environment.
        model: its name.
        version: the number of the version.
        stage: `None`, `Staging`, `Production` or `Archived`.
        granularity: the length of the windows, as declared: `1h`, `1d`, `1w` or `1mo`.
        predictions: the table of predictions that is monitored.
        windows: the number of windows that are shown.
        earlier: the number of windows that are stored and not shown, all of them earlier.
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
    quality: tuple[WindowQuality, ...]
    drift: tuple[ColumnDrift, ...]


@operation("monitor show", of="name")
def show_monitoring(
    workspace: Workspace, name: str, *, version: int | None = None, windows: int = WINDOWS
) -> MonitoringReport:
    """The quality and the drift of a version by window, as `headrace run score` and `run monitor` stored them last.

    Nothing is measured: a window that was never monitored is not there.

    Args:
        workspace: the environment.
        name: of the model.
        version: its number; None: the one in Production, else the newest one of which something is stored, else the newest.
        windows: how many of the latest windows; at least 1.

    Raises:
        NotFoundError: there is no such model or version, or the model has no deployment.
        DeclarationError: fewer than one window is asked for.
    """
    from headrace.monitoring.declarations import Monitor

    if windows < 1:
        raise DeclarationError(f"{windows} windows cannot be shown.", hint="Ask for 1 or more; 12 is the default.")
    workspace.registry.versions(name)  # an unknown model is answered with those that there are
    deployment = one_deployment(workspace.project, name)
    granularity = (deployment.monitor or Monitor()).window
    shown, qualities, drifts = _stored(workspace, deployment, granularity, version)
    starts = sorted({*(each.start for each in qualities), *(each.start for each in drifts)})
    kept = frozenset(starts[-windows:])
    verdicts = _verdicts(workspace, shown, {each.start: each.end for each in drifts if each.start in kept})
    return MonitoringReport(
        env=workspace.environment.name,
        model=name,
        version=shown.version,
        stage=shown.stage,
        granularity=granularity,
        predictions=deployment.score.table,
        windows=len(kept),
        earlier=len(starts) - len(kept),
        quality=tuple(row for each in qualities if each.start in kept for row in _quality(each)),
        drift=tuple(_drift(each, verdicts.get(each.start, {})) for each in drifts if each.start in kept),
    )


def _stored(
    workspace: Workspace, deployment: Deployment, granularity: Granularity, version: int | None
) -> tuple[Version, list[Quality], list[StoredDrift]]:
    """The version that is to be shown, and all that is stored of it."""
    from headrace.monitoring import metric_tables, quality

    registry, model = workspace.registry, deployment.name
    current = registry.current(model, "Production") if version is None else registry.get(model, version)
    versions = [current] if current is not None else list(reversed(registry.versions(model)))
    found = [(versions[0], list[quality.Quality](), list[metric_tables.StoredDrift]())]
    for each in versions:
        qualities = quality.stored(workspace.lakehouse, model, each.version, granularity)
        drifts = metric_tables.stored_drift(
            workspace.lakehouse, deployment.score.table, model=model, version=each.version, granularity=granularity
        )
        if qualities or drifts:
            found = [(each, qualities, drifts)]
            break
    return found[0]


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
    workspace: Workspace, version: Version, ends: Mapping[datetime, datetime]
) -> dict[datetime, dict[str, tuple[Verdict, Sequence[str]]]]:
    """Window → column → the latest verdict and its reasons, as runs of monitoring left them in the ledger.

    Args:
        workspace: the environment.
        version: that was monitored.
        ends: the beginning of each window → its end.
    """
    found: dict[datetime, dict[str, tuple[Verdict, Sequence[str]]]] = {}
    for run in workspace.ledger.runs(f"monitor {version.model}", limit=RUNS):
        if found.keys() >= ends.keys():
            break
        for window in _windows(workspace, run.id, version):
            start = instant(window.start)
            if ends.get(start) == instant(window.end):
                found.setdefault(start, {each["column"]: (each["verdict"], each["reasons"]) for each in window.columns})
    return found


def _windows(workspace: Workspace, run: str, version: Version) -> Iterator[WindowDrift]:
    """The windows that a run of monitoring judged for a version, or found judged."""
    from headrace.pipelines.outputs.monitor import WindowDrift

    for step in workspace.ledger.steps(run):
        if step.output is None or not (
            step.name.startswith("window ") and step.name.endswith(f" of version {version.version}")
        ):
            continue
        window = WindowDrift.from_json(step.output)
        if window is not None:
            yield window
