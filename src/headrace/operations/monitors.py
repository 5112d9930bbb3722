"""Every monitored model of an environment: how it does, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from headrace.core.clock import instant
from headrace.core.text import counted
from headrace.deployment.declarations import Deployment
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from headrace.monitoring.alert_records import Alert
    from headrace.monitoring.declarations import Granularity
    from headrace.pipelines.outputs.monitor import WindowDrift
    from headrace.registry.records import Stage, Version
    from headrace.workspace.workspace import Workspace

Health = Literal["ok", "warn", "alert", "not judged", "nothing stored"]
RUNS = 3  # of monitoring, in which the latest window is looked for: the last ones may have been cut off
LOUD = ("warn", "alert")


@dataclass(frozen=True, kw_only=True)
class MonitoredModel(Record):
    """A deployed model and how it does, by what monitoring has stored last.

    Attributes:
        model: its name.
        version: the number of the version: in Production, else the newest one of which quality is stored, else the newest; None
            where there is no version.
        stage: of the version.
        granularity: the length of the windows: `1h`, `1d`, `1w` or `1mo`.
        predictions: the table of predictions that is monitored.
        health: `alert`: an alert holds; `warn`: columns have drifted in the latest window; `not judged`: too little is known;
            `nothing stored`: it was never monitored; else `ok`.
        reasons: of the health, in words.
        since: when the oldest alert that holds was opened; else the beginning of the latest window of drift; None where there is neither.
        quality_start: the beginning of the latest window whose quality is judged, else of the latest one; None without quality.
        quality_end: the first moment after it.
        metric: the main metric of the model; None without quality.
        value: of the metric in that window.
        low: the lower end of its 95 % interval.
        high: its upper end.
        estimated: what was to be expected without labels; None where there is no estimate.
        label_coverage: the share of the predictions of that window whose label is known, between 0 and 1.
        drift_start: the beginning of the latest window of drift; None where there is none.
        drift_end: the first moment after it.
        columns: how many columns were compared in it.
        drifted: the names of those with a `warn` or an `alert`, the worst first.
        alerts: the ids of the alerts that hold.
    """

    model: str
    version: int | None
    stage: Stage | None
    granularity: Granularity
    predictions: str
    health: Health
    reasons: tuple[str, ...]
    since: datetime | None
    quality_start: datetime | None
    quality_end: datetime | None
    metric: str | None
    value: float | None
    low: float | None
    high: float | None
    estimated: float | None
    label_coverage: float | None
    drift_start: datetime | None
    drift_end: datetime | None
    columns: int
    drifted: tuple[str, ...]
    alerts: tuple[int, ...]


@operation("monitor show")
def list_monitored(workspace: Workspace) -> tuple[MonitoredModel, ...]:
    """Every model that has a deployment, those that need somebody first."""
    from headrace.monitoring.history import latest_quality

    qualities = latest_quality(workspace.lakehouse)
    holding: dict[str, list[Alert]] = {}
    for alert in workspace.alerts.active():
        if alert.model is not None:
            holding.setdefault(alert.model, []).append(alert)
    order = ("alert", "warn", "not judged", "nothing stored", "ok")
    found = [
        _monitored(workspace, each, qualities, holding.get(each.name, [])) for each in workspace.project.all(Deployment)
    ]
    return tuple(sorted(found, key=lambda each: (order.index(each.health), each.model)))


def _monitored(
    workspace: Workspace,
    deployment: Deployment,
    qualities: Mapping[tuple[str, int, str], Mapping[str, Any]],
    alerts: Sequence[Alert],
) -> MonitoredModel:
    from headrace.monitoring.declarations import UNDECLARED, Monitor

    measured = deployment.monitor.window if deployment.monitor else UNDECLARED
    granularity = (deployment.monitor or Monitor()).window
    version = _version(
        workspace, deployment.name, [key[1] for key in qualities if key[::2] == (deployment.name, measured)]
    )
    quality = None if version is None else qualities.get((deployment.name, version.version, measured))
    drift = None if version is None else _latest_drift(workspace, version)
    drifted = [] if drift is None else [each for each in drift.columns if each["verdict"] in LOUD]
    start = None if drift is None else instant(drift.start)
    health, reasons = _health(alerts, quality, drift, drifted)
    return MonitoredModel(
        model=deployment.name,
        version=None if version is None else version.version,
        stage=None if version is None else version.stage,
        granularity=granularity,
        predictions=deployment.score.table,
        health=health,
        reasons=reasons,
        since=min((each.opened for each in alerts), default=start),
        quality_start=None if quality is None else instant(quality["start"].isoformat()),
        quality_end=None if quality is None else instant(quality["end"].isoformat()),
        metric=None if quality is None else quality["metric"],
        value=None if quality is None else quality["value"],
        low=None if quality is None else quality["low"],
        high=None if quality is None else quality["high"],
        estimated=None if quality is None else quality["estimated"],
        label_coverage=None if quality is None else quality["label_coverage"],
        drift_start=start,
        drift_end=None if drift is None else instant(drift.end),
        columns=0 if drift is None else len(drift.columns),
        drifted=tuple(each["column"] for each in drifted),
        alerts=tuple(each.id for each in alerts),
    )


def _version(workspace: Workspace, model: str, measured: Sequence[int]) -> Version | None:
    """The one in Production, else the newest one of which quality is stored, else the newest."""
    registry = workspace.registry
    current = registry.current(model, "Production")
    if current is not None or model not in registry.models():
        return current
    versions = registry.versions(model)
    return next((each for each in reversed(versions) if each.version in measured), versions[-1])


def _latest_drift(workspace: Workspace, version: Version) -> WindowDrift | None:
    """The latest window of a version, as a run of monitoring judged it or found it judged."""
    from headrace.pipelines.outputs.monitor import WindowDrift

    for run in workspace.ledger.runs(f"monitor {version.model}", limit=RUNS):
        step = workspace.ledger.last_step(run.id, begins="window ", ends=f" of version {version.version}")
        if step is not None and step.output is not None:
            return WindowDrift.from_json(step.output)
    return None


def _health(
    alerts: Sequence[Alert],
    quality: Mapping[str, Any] | None,
    drift: WindowDrift | None,
    drifted: Sequence[Mapping[str, Any]],
) -> tuple[Health, tuple[str, ...]]:
    reasons = [f"alert {each.id}, version {each.version}: {each.rule}, {each.status}" for each in alerts]
    if drift is not None and drifted:
        worst = drifted[0]
        told = f"{len(drifted)} of {counted(len(drift.columns), 'column')} drifted, most {worst['column']}"
        reasons.append(f"{told}: {'; '.join(worst['reasons'])}")
    if alerts:
        return "alert", tuple(reasons)
    if drifted:
        return "warn", tuple(reasons)
    if quality is None and drift is None:
        return "nothing stored", ("no window was measured yet",)
    unjudged = [each for each in drift.columns if each["verdict"] == "not judged"] if drift else []
    if quality is not None and not quality["judged"]:
        return "not judged", (f"quality: {quality['reason']}",)
    if drift is not None and drift.columns and len(unjudged) == len(drift.columns):
        return "not judged", (f"drift: {'; '.join(unjudged[0]['reasons'])}",)
    told = "no drift measured" if drift is None else f"no drift in {counted(len(drift.columns), 'column')}"
    return "ok", (f"no alert holds, {told}",)
