"""Score: decisions of each month through a version into the table of predictions, then quality of the months with labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.clock import instant
from headrace.core.errors import NotFoundError
from headrace.core.text import counted
from headrace.inference import batch
from headrace.monitoring import quality
from headrace.monitoring.declarations import Monitor
from headrace.scoring.version import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from headrace.core.ids import Json
    from headrace.deployment.declarations import Deployment
    from headrace.jobs.run import Run, StepContext
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.registry.records import Version
    from headrace.registry.registry import Registry
    from headrace.tracking.tracking import Tracking


def outline(deployment: Deployment) -> list[dict[str, object]]:
    """What a scoring run does, for a dry run."""
    model = deployment.model
    return [
        {
            "step": "score <month>",
            "reads": f"{model.spine.table.name} and the model's feature tables",
            "writes": deployment.score.into,
        },
        *(
            []
            if deployment.monitor
            else [
                {
                    "step": "quality",
                    "reads": f"{deployment.score.into}, {model.task.label.table.name}",
                    "writes": quality.TABLE,
                }
            ]
        ),
    ]


def score(
    lakehouse: Lakehouse,
    tracking: Tracking,
    registry: Registry,
    run: Run,
    deployment: Deployment,
    *,
    version: int | None,
    since: datetime | None,
    until: datetime | None,
    as_of: datetime,
    sample: float = 1.0,
) -> None:
    """Scores the decisions in `since <= at < until`, a step a month, and measures what can be measured at `as_of`."""
    model, into = deployment.model, deployment.score.into
    chosen = choose(registry, model.name, version)
    loaded = load(
        tracking, chosen.model_uri, model=model.name, number=chosen.version, artifact_hash=chosen.artifact_hash
    )
    snapshots = {name: lakehouse.snapshot(name) for name in loaded.plan.tables}
    versions = {name: snapshot.version for name, snapshot in snapshots.items()}
    basis: dict[str, Json] = {
        "version": chosen.version,
        "artifact": chosen.artifact_hash,
        "into": into,
        "sample": sample,
        "inputs": {name: [snapshot.env, snapshot.data_version] for name, snapshot in snapshots.items()},
    }
    first, last = since or instant(chosen.as_of), until or as_of
    if first >= last:
        run.step(
            "score", {"run": run.id}, lambda _: {"rows": 0, "says": f"nothing from {first:%Y-%m-%d} to {last:%Y-%m-%d}"}
        )
    for start, end in months(first, last):

        def do(step: StepContext, start: datetime = start, end: datetime = end) -> dict[str, Json]:
            commit, rows = batch.score(
                lakehouse, loaded, into, versions=versions, since=start, until=end, id=step.key, sample=sample
            )
            return {
                "table": into,
                "version": commit.version if commit else None,
                "rows": rows,
                "says": counted(rows, "decision"),
            }

        run.step(
            f"score {start:%Y-%m} by version {chosen.version}",
            {**basis, "from": start.isoformat(), "to": end.isoformat()},
            do,
            holds=lambda was: was["rows"] == 0 or lakehouse.exists(into),
        )
    if deployment.monitor is None:  # otherwise monitoring measures
        measure(lakehouse, run, deployment, chosen, as_of=as_of)


def measure(lakehouse: Lakehouse, run: Run, deployment: Deployment, chosen: Version, *, as_of: datetime) -> None:
    """The last step: realised quality by window, where predictions or labels are new."""
    model, into = deployment.model, deployment.score.into
    monitor = deployment.monitor or Monitor(window="1mo")

    def do(step: StepContext) -> dict[str, Json]:
        found = quality.measure(
            lakehouse,
            model,
            into,
            version=chosen.version,
            as_of=as_of,
            granularity=monitor.window,
            min_rows=monitor.min_rows,
            slices=monitor.slices,
            id=step.key,
        )
        tell_labels(step, found)
        return {
            "months": [window.to_json() for window in found.windows],
            "says": say_quality(model.metrics[0], found),
        }

    if lakehouse.exists(into, own=True):
        key: dict[str, Json] = {
            "version": chosen.version,
            "inputs": {name: lakehouse.data_version(name) for name in (into, model.task.label.table.name)},
            "as_of": as_of.isoformat(),
            "metrics": list(model.metrics),
            "monitor": repr(monitor),
        }
        run.step(f"quality of version {chosen.version}", key, do)


def tell_labels(step: StepContext, found: quality.Report) -> None:
    """Labels that do not count, in the log of the step."""
    apart = found.not_counted
    if apart.unknown:
        step.log(f"{apart.unknown:,} labels are of decisions that nobody predicted")
    if apart.replaced:
        step.log(f"{apart.replaced:,} labels were replaced by a later one of the same decision")
    if apart.not_yet:
        step.log(f"{apart.not_yet:,} labels are of a later time and do not exist yet")


def say_quality(metric: str, found: quality.Report) -> str:
    """What was measured, in one line."""
    values = [each.value(metric).value for each in found.changed]
    known = [value for value in values if value is not None]
    if not found.changed:
        return f"no window of {len(found.windows)} has changed" if found.windows else "no predictions"
    if not known:
        return f"{counted(len(values), 'window')}, no labels yet"
    again = sum(each.reopened for each in found.changed)
    told = f"{metric} {known[0]:.4f}" if len(known) == 1 else f"{metric} {min(known):.4f} to {max(known):.4f}"
    return f"{told} in {counted(len(known), 'window')}" + (f", {again} reopened" if again else "")


def choose(registry: Registry, model: str, version: int | None) -> Version:
    """The version asked for; otherwise the one in Production; otherwise, while none is, the newest.

    Raises:
        NotFoundError: there is none.
    """
    if version is not None:
        return registry.get(model, version)
    versions = registry.versions(model)
    if not versions:
        raise NotFoundError("version of model", model, (), hint="Train one first: headrace run train")
    return registry.current(model, "Production") or versions[-1]


def months(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Calendar months (UTC) between two moments; the first and the last may be cut."""
    start = since
    while start < until:
        following = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        year, month = divmod(following.year * 12 + following.month, 12)
        following = following.replace(year=year, month=month + 1)
        yield start, min(following, until)
        start = following
