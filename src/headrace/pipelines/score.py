"""Score: decisions of each month through a version into the table of predictions, then quality of the months with labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.clock import instant
from headrace.core.errors import NotFoundError
from headrace.inference import batch
from headrace.monitoring import quality
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
        {
            "step": "quality",
            "reads": f"{deployment.score.into}, {model.task.label.table.name}",
            "writes": quality.TABLE,
        },
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
                "says": f"{rows:,} decisions",
            }

        run.step(
            f"score {start:%Y-%m}",
            {**basis, "from": start.isoformat(), "to": end.isoformat()},
            do,
            holds=lambda was: was["rows"] == 0 or lakehouse.exists(into),
        )
    measure(lakehouse, run, deployment, chosen, as_of=as_of)


def measure(lakehouse: Lakehouse, run: Run, deployment: Deployment, chosen: Version, *, as_of: datetime) -> None:
    """The last step: realised quality by month, of all that this version has predicted."""
    model, into = deployment.model, deployment.score.into

    def do(step: StepContext) -> dict[str, Json]:
        windows = quality.realised(lakehouse, model, into, version=chosen.version, as_of=as_of)
        quality.keep(lakehouse, model.name, chosen.version, windows, id=step.key)
        main = model.metrics[0]
        values = [window.metrics[main] for window in windows]
        known = [value for value in values if value is not None]
        says = f"{main} {min(known):.4f} to {max(known):.4f} in {len(known)} months" if known else "no labels yet"
        return {"months": [vars(window) for window in windows], "says": says}

    if lakehouse.exists(into):
        inputs = {name: lakehouse.data_version(name) for name in (into, model.task.label.table.name)}
        key = {"version": chosen.version, "inputs": inputs, "as_of": as_of.isoformat(), "metrics": list(model.metrics)}
        run.step("quality", key, do)


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
