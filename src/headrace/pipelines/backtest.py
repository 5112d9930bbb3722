"""Back-test: what retraining at the beginning of each month would have given, a step a month."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.core.clock import months
from headrace.features.plan import on_demand_functions
from headrace.features.rows import full_rows
from headrace.lakehouse.writes import Upsert
from headrace.pipelines.model_inputs import feature_plan, tables
from headrace.pipelines.outputs.backtest import BacktestedMonth
from headrace.training.backtest import Backtest
from headrace.training.labels import LabelTable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from headrace.core.ids import Json
    from headrace.environments.project import Project
    from headrace.jobs.run import Run, StepContext
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.training.declarations import Model, Params

TABLE = "metrics.backtests"
SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("window_start", pa.timestamp("us", "UTC")),
        ("window_end", pa.timestamp("us", "UTC")),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("labelled", pa.int64()),
    ]
)


class _Rows:
    """What every month is cut from, made when the first one is needed."""

    def __init__(self, project: Project, lakehouse: Lakehouse, model: Model, until: datetime) -> None:
        self.project, self.lakehouse, self.model, self.until = project, lakehouse, model, until

    @cached_property
    def made(self) -> Backtest:
        """Full rows and labels of everything before the end."""
        plan = feature_plan(self.project, self.lakehouse, self.model)
        versions = {name: self.lakehouse.snapshot(name).version for name in plan.tables}
        rows = full_rows(self.lakehouse, plan, versions, until=self.until)
        labels = LabelTable(self.lakehouse, self.model.task)
        return Backtest(self.model, plan, on_demand_functions(self.model.inputs), rows, labels)


def backtest(
    project: Project,
    lakehouse: Lakehouse,
    run: Run,
    model: Model,
    params: Params,
    *,
    since: datetime,
    until: datetime,
    as_of: datetime,
) -> dict[str, Mapping[str, float | None]]:
    """Retrains for each month between two moments; gives month → metrics, which are in `metrics.backtests` too."""
    rows = _Rows(project, lakehouse, model, until)
    basis: dict[str, Json] = {
        "tree": project.code.tree,
        "params": dict(params),
        "inputs": {name: lakehouse.snapshot(name).content for name in tables(model)},
        "as_of": as_of.isoformat(),
        "metrics": list(model.metrics),
    }
    found: dict[str, Mapping[str, float | None]] = {}
    for start, end in months(since, until):

        def do(step: StepContext, start: datetime = start, end: datetime = end) -> BacktestedMonth:
            tested = rows.made.window(params, since=start, until=end, as_of=as_of)
            _keep(lakehouse, model.name, start, end, tested.metrics, tested.labelled, id=step.key)
            return BacktestedMonth(metrics=tested.metrics, metric=model.metrics[0], fitted=tested.fitted)

        key = {**basis, "from": start.isoformat(), "to": end.isoformat()}
        month = f"{start:%Y-%m}"
        found[month] = run.step(f"retrained {month}", key, do, output=BacktestedMonth).output.metrics
    return found


def _keep(
    lakehouse: Lakehouse,
    model: str,
    start: datetime,
    end: datetime,
    metrics: dict[str, float | None],
    labelled: int,
    *,
    id: str,  # noqa: A002
) -> None:
    rows = [
        {
            "model": model,
            "window_start": start,
            "window_end": end,
            "metric": metric,
            "value": value,
            "labelled": labelled,
        }
        for metric, value in metrics.items()
    ]
    made = pa.Table.from_pylist(rows, schema=SCHEMA)
    lakehouse.commit(TABLE, id, lambda _: Upsert(made, key=("model", "window_start", "metric")))
