"""The business figures of a model, a step each, after everything else that monitoring measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.lakehouse.sql import check
from headrace.monitoring import kpis
from headrace.monitoring.declarations import Monitor
from headrace.pipelines.outputs.monitor import MeasuredKpi
from headrace.pipelines.planned_step import PlannedStep

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from headrace.core.ids import Json
    from headrace.deployment.declarations import Deployment
    from headrace.jobs.run import Run, StepContext
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.sql import Query
    from headrace.monitoring.declarations import Granularity, Kpi
    from headrace.registry.records import Version


def plan(deployment: Deployment, known: Collection[str]) -> list[PlannedStep]:
    """What would be computed, for a dry run.

    Args:
        deployment: that declares the figures.
        known: the tables that their SQL may name.

    Raises:
        SqlError: a SELECT that does not pass the check; with file and line.
    """
    declared = deployment.monitor or Monitor()
    return [
        PlannedStep(step=f"kpi {each.name}", reads=", ".join(check(each.sql, known).inputs), writes=kpis.TABLE)
        for each in declared.kpis
    ]


def measure_kpis(
    lakehouse: Lakehouse,
    run: Run,
    deployment: Deployment,
    predicted: Sequence[Version],
    *,
    known: Collection[str],
    as_of: datetime,
) -> None:
    """Computes each declared figure for all versions and windows, and removes those that are no longer declared.

    Args:
        lakehouse: the tables.
        run: of the ledger.
        deployment: that declares the figures.
        predicted: versions that have predictions.
        known: the tables that their SQL may name, whether they are there or not.
        as_of: nothing later exists.

    Raises:
        SqlError: a SELECT that does not pass the check, or that fails; with file and line.
    """
    declared = deployment.monitor or Monitor()
    versions = sorted(each.version for each in predicted)
    kpis.forget(lakehouse, deployment.name, [each.name for each in declared.kpis], id=f"{run.id} kpis")
    for each in declared.kpis:
        _measure(lakehouse, run, deployment.name, each, each.window or declared.window, versions, known, as_of)


def _measure(
    lakehouse: Lakehouse,
    run: Run,
    model: str,
    kpi: Kpi,
    granularity: Granularity,
    versions: Sequence[int],
    known: Collection[str],
    as_of: datetime,
) -> None:
    with lakehouse.hinting():
        query = check(kpi.sql, known)
    snapshots = {name: lakehouse.snapshot(name) for name in query.inputs if lakehouse.exists(name)}

    def do(step: StepContext) -> MeasuredKpi:
        figures = _figures(lakehouse, query, snapshots, versions, granularity, as_of)
        kpis.keep(lakehouse, model, kpi, granularity, figures, id=step.key)
        whole = [each for each in figures if each.start is None]
        return MeasuredKpi(
            values={str(each.version): each.mean for each in whole if each.version is not None},
            windows=len({each.start for each in figures if each.start is not None}),
            rows=sum(each.counted for each in whole),
            unit=kpi.unit,
            reason=next((each.reason for each in whole if each.version is None), ""),
        )

    key: dict[str, Json] = {
        "model": model,
        "sql": query.normalized,
        "declared": [kpi.description, kpi.unit, kpi.better, granularity],
        "inputs": {name: each.content for name, each in snapshots.items()},
        "versions": list(versions),
        "as_of": as_of.isoformat(),
    }
    run.step(f"kpi {kpi.name}", key, do, output=MeasuredKpi, holds=lambda _: lakehouse.exists(kpis.TABLE, own=True))


def _figures(
    lakehouse: Lakehouse,
    query: Query,
    snapshots: Mapping[str, Snapshot],
    versions: Sequence[int],
    granularity: Granularity,
    as_of: datetime,
) -> list[kpis.Figure]:
    missing = [name for name in query.inputs if name not in snapshots]
    if missing:
        return [kpis.Figure(version=None, reason=f"{', '.join(missing)} is not there yet")]
    inputs = {name: each.version for name, each in snapshots.items()}
    found = kpis.measure(lakehouse, query, inputs, granularity=granularity, as_of=as_of, predicted=versions)
    return found or [kpis.Figure(version=None, reason="no observation yet")]
