"""A project as it is after a year of work: models with versions, tables, runs, the audit record, and daily metrics of features.

One model is trained and deployed by the project's own commands. Every other row is written in bulk into the tables of the state
database, of the lakehouse and of MLflow's registry: ten thousand trainings would take a day.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from headrace.registry.records import Version
    from headrace.workspace.workspace import Workspace

END = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)  # of the year
CHUNK = 20_000  # rows of one statement
TOML = """\
[project]
name = "console-benchmark"
module = "project"
as_of = "{as_of}"
[env.dev]
[env.prod]
"""
PROGRAM = """\
import headrace as hr


class Mean:
    def fit(self, X, y):
        self.value = float(y.mean())
        return self

    def predict(self, X):
        import numpy

        return numpy.full(len(X), self.value)


def fit(data, params):
    return Mean().fit(data.X, data.y)


raw = hr.Source("raw.orders", files="data/*.csv", schema=hr.Schema(placed_at="timestamp_utc", done_at="timestamp_utc"))
orders = hr.Table("shop.orders", key="id", sql="select id, customer, placed_at, amount from raw.orders")
labels = hr.Table("shop.labels", key="id", time="done_at", sql="select id, done_at, days from raw.orders")
"""
DECLARED = """\
model_{number:02} = hr.Model(
    "model_{number:02}",
    fit=fit,
    task=hr.Regression(label=labels["days"]),
    spine=orders.at("placed_at"),
    features=[orders.select("amount")],
    evaluate=hr.Evaluate(test="10d", slices=["customer"]),
    description="Days until an order is done, in region {number}",
    owner="orders team",
)
deployment_{number:02} = hr.Deployment(
    model_{number:02},
    serve=hr.Serve(),
    score=hr.Score(into="answers.model_{number:02}", every=hr.cron("0 4 * * *")),
    gates=[hr.signature(), hr.at_least("rmse", 9), hr.approval("governance")],
    retrain=hr.Retrain(on="schedule", every=hr.cron("0 3 * * 1")),
)
"""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much there is of each."""

    models: int
    versions: int  # of each model
    tables: int
    runs: int
    days: int
    features: int  # that are monitored every day


FULL = Sizes(models=50, versions=200, tables=500, runs=100_000, days=365, features=200)
QUICK = Sizes(models=10, versions=20, tables=50, runs=5_000, days=60, features=20)


def make(folder: Path, sizes: Sizes) -> None:
    """Makes the project with all of it in its environment `dev`."""
    from headrace.operations.deploy import deploy
    from headrace.operations.operation import At
    from headrace.operations.refresh import refresh
    from headrace.operations.train import train
    from headrace.workspace.workspace import open_workspace

    shutil.rmtree(folder, ignore_errors=True)
    _write_project(folder, sizes)
    at = At(folder=folder)
    refresh(at)
    train(at, "model_00")
    if (ending := deploy(at, "model_00").ending) != "in production":
        raise SystemExit(f"model_00 is not in Production: {ending}")
    with open_workspace(folder=folder) as workspace:
        first = workspace.registry.get("model_00", 1)
        _versions(workspace, first, sizes)
        _serve(workspace, first)
        _mlflow(workspace, sizes)
        _runs(workspace, sizes)
        _alerts(workspace, sizes)
        _tables(workspace, sizes)
        _metrics(workspace, sizes)
    (folder / "sizes.json").write_text(json.dumps(asdict(sizes)))


def _write_project(folder: Path, sizes: Sizes) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "headrace.toml").write_text(TOML.format(as_of=f"{END:%Y-%m-%d}"))
    (folder / "project.py").write_text(
        PROGRAM + "".join(DECLARED.format(number=number) for number in range(sizes.models))
    )
    lines = ["id,customer,placed_at,done_at,amount,days"]
    for number in range(120):
        placed, days = END - timedelta(hours=12 * (130 - number)), 1 + number % 5
        done = placed + timedelta(days=days)
        lines.append(f"{number},c{number % 7},{placed.isoformat()},{done.isoformat()},{number % 11}.5,{days}")
    (folder / "data" / "orders.csv").write_text("\n".join(lines) + "\n")


# ---------------------------------------------------------------------------------------------- the state database


def _insert(workspace: Workspace, table: Any, rows: Iterator[dict[str, Any]]) -> None:
    """Rows of a table, in statements of many."""
    from itertools import islice

    while chunk := list(islice(rows, CHUNK)):
        with workspace.state.begin() as connection:
            connection.execute(table.insert(), chunk)


def _numbers(sizes: Sizes) -> Iterator[tuple[str, int]]:
    """Every version but the one that was trained."""
    for model in range(sizes.models):
        for version in range(1, sizes.versions + 1):
            if (model, version) != (0, 1):
                yield f"model_{model:02}", version


def _stage(model: str, version: int, sizes: Sizes) -> str:
    """Of the last three, one each is in Production, in Staging, and new; that of the first model is in Production for good."""
    left = sizes.versions - version
    if left < 2:
        return ("None", "Staging")[left]
    return "Production" if left == 2 and model != "model_00" else "Archived"


def _made(version: int, sizes: Sizes) -> datetime:
    return END - timedelta(days=sizes.days * (1 - version / sizes.versions))


def _versions(workspace: Workspace, first: Version, sizes: Sizes) -> None:
    """Versions as the first one, each with its stages, its request with the evidence, and the decision on it."""
    from headrace.core.ids import new_id
    from headrace.registry.tables import DECISIONS, REQUESTS, STAGES, VERSIONS

    record = {name: value for name, value in vars(first).items() if name in VERSIONS.c}

    def metrics(version: int) -> dict[str, float | None]:
        return {name: value and value * (1 - version / 1e4) for name, value in first.metrics.items()}

    _insert(
        workspace,
        VERSIONS,
        (
            {
                **record,
                "model": model,
                "version": version,
                "stage": _stage(model, version, sizes),
                "step_key": new_id(),
                "metrics": metrics(version),
                "created": _made(version, sizes),
            }
            for model, version in _numbers(sizes)
        ),
    )
    _insert(
        workspace,
        STAGES,
        (
            {
                "model": model,
                "version": version,
                "stage": stage,
                "at": _made(version, sizes) + timedelta(hours=later),
                "by": "mara",
                "reason": reason,
                "decision": None,
            }
            for model, version in _numbers(sizes)
            for later, (stage, reason) in enumerate(
                (("None", "registered by training"), (_stage(model, version, sizes), "better than before"))
            )
        ),
    )
    asked = workspace.registry.requests.list(model="model_00")[0]
    decided = workspace.registry.requests.decision(asked.id)
    assert decided is not None
    numbers = list(_numbers(sizes))
    is_open = {(model, sizes.versions) for model, _ in numbers[:: sizes.versions * 4]}  # every fourth model waits
    request = {name: value for name, value in vars(asked).items() if name in REQUESTS.c}
    _insert(
        workspace,
        REQUESTS,
        (
            {
                **request,
                "id": 1_000 + place,
                "key": new_id(),
                "model": model,
                "version": version,
                "status": "open" if (model, version) in is_open else "approved",
                "roles": ["governance"],
                "by": "mara",
                "at": _made(version, sizes),
                "expires": datetime(2100, 1, 1, tzinfo=UTC),
                "hands": [],
            }
            for place, (model, version) in enumerate(numbers)
        ),
    )
    decision = {name: value for name, value in vars(decided).items() if name in DECISIONS.c}
    _insert(
        workspace,
        DECISIONS,
        (
            {
                **decision,
                "id": 1_000 + place,
                "request": 1_000 + place,
                "model": model,
                "version": version,
                "by": ["gus"],
                "at": _made(version, sizes),
            }
            for place, (model, version) in enumerate(numbers)
            if (model, version) not in is_open
        ),
    )


def _serve(workspace: Workspace, first: Version) -> None:
    """Each model's version in Production is served from a folder of its own."""
    from headrace.deployment.serving_bundle import folder_name

    home = workspace.home(first.model)
    for model in workspace.registry.models():
        version = workspace.registry.current(model, "Production")
        if version is None or model == first.model:
            continue
        shutil.copytree(home / folder_name(first), workspace.home(model) / folder_name(version))
        served = json.loads((home / "serving.json").read_text())
        served |= {"model": model, "spool": f"../../spool/{model}"}
        served["versions"][0] |= {"version": version.version, "folder": folder_name(version)}
        (workspace.home(model) / "serving.json").write_text(json.dumps(served))


def _runs(workspace: Workspace, sizes: Sizes) -> None:
    """A year of runs, each with two steps and two lines of its log, and an entry of the audit record."""
    from headrace.access.audit import record
    from headrace.core.ids import new_id
    from headrace.jobs.tables import LOGS, RUNS, STEPS

    one = workspace.ledger.runs(limit=1)[0]
    jobs = ["refresh", *(f"{kind} model_{model:02}" for model in range(sizes.models) for kind in ("train", "score"))]
    ids = [new_id() for _ in range(sizes.runs)]
    began = [END - timedelta(days=sizes.days * (1 - place / sizes.runs)) for place in range(sizes.runs)]
    who = workspace.ledger.owner.dump()

    def run(place: int) -> dict[str, Any]:
        failed = place % 97 == 0
        return {
            "id": ids[place],
            "job": jobs[place % len(jobs)],
            "status": "failed" if failed else "done",
            "attempt": 1,
            "params": {},
            "code": one.code,
            "owner": who,
            "by": "mara",
            "started": began[place],
            "heartbeat": began[place],
            "ended": began[place] + timedelta(seconds=40),
            "error": "DataError: two rows have the key 17" if failed else None,
            "swept": False,
        }

    def step(place: int, name: str) -> dict[str, Any]:
        return {
            "run_id": ids[place],
            "name": name,
            "job": jobs[place % len(jobs)],
            "seq": 1,
            "key": ids[place],
            "write_id": ids[place],
            "turn": place,
            "status": "done",
            "attempt": 1,
            "started": began[place],
            "ended": began[place] + timedelta(seconds=20),
            "output": {"rows": place},
            "summary": f"{place} rows",
        }

    def line(place: int, text: str) -> dict[str, Any]:
        return {"run_id": ids[place], "attempt": 1, "step": "fit", "at": began[place], "line": text}

    places = range(sizes.runs)
    _insert(workspace, RUNS, (run(place) for place in places))
    _insert(workspace, STEPS, (step(place, name) for place in places for name in ("build", "fit")))
    _insert(workspace, LOGS, (line(place, text) for place in places for text in ("120 rows", "rmse 1.36")))
    with workspace.state.begin() as connection:
        for place in places:
            record(connection, "mara", "run.started", jobs[place % len(jobs)], {"run": ids[place], "code": one.code})


def _alerts(workspace: Workspace, sizes: Sizes) -> None:
    """Twenty alerts of each model, of which the last one holds in every fifth."""
    from headrace.monitoring.alert_records import ALERTS

    assert workspace.alerts  # its table is there
    _insert(
        workspace,
        ALERTS,
        (
            {
                "model": f"model_{model:02}",
                "version": max(sizes.versions - 2, 1),
                "rule": f"rmse worse than {number}",
                "severity": "warning",
                "mute_reason": "",
                "resolution": "",
                "looked_at": END - timedelta(days=20 - number),
                "window": END - timedelta(days=20 - number),
                "status": "open" if number == 19 and model % 5 == 0 else "closed",
                "evidence": {"broken": 3, "windows": [{"value": 1.5, "low": 1.2, "high": 1.7}] * 3},
                "owner": "mara",
                "opened": END - timedelta(days=20 - number),
                "reason": "",
                "closed": None if number == 19 and model % 5 == 0 else END - timedelta(days=19 - number),
            }
            for model in range(sizes.models)
            for number in range(20)
        ),
    )


# ---------------------------------------------------------------------------------------------- stores


def _mlflow(workspace: Workspace, sizes: Sizes) -> None:
    """The same models and versions in MLflow's registry, as rows like those that it wrote for the first one."""
    import sqlalchemy as sa

    engine = sa.create_engine(workspace.environment.tracking_url)
    known = sa.MetaData()
    names = ("registered_models", "model_versions", "model_version_tags")
    known.reflect(engine, only=names)
    models, versions, tags = (known.tables[name] for name in names)
    with engine.begin() as connection:
        model, version = (dict(connection.execute(sa.select(table)).mappings().one()) for table in (models, versions))
        tagged = [dict(row) for row in connection.execute(sa.select(tags)).mappings()]
        numbers = list(_numbers(sizes))
        others = sorted({name for name, _ in numbers} - {"model_00"})
        connection.execute(models.insert(), [{**model, "name": name} for name in others])
        several = [{**version, "name": name, "version": number} for name, number in numbers]
        connection.execute(versions.insert(), several)
        several = [{**tag, "name": name, "version": number} for name, number in numbers for tag in tagged]
        connection.execute(tags.insert(), several)
    engine.dispose()


def _tables(workspace: Workspace, sizes: Sizes) -> None:
    """Small tables of three versions, each a copy of the first one that was written."""
    import pyarrow as pa

    from headrace.lakehouse.writes import Append

    for version in range(3):
        at = [END - timedelta(days=version, hours=hour) for hour in range(20)]
        rows = pa.table({"id": list(range(20)), "at": pa.array(at, pa.timestamp("us", "UTC")), "amount": [1.5] * 20})
        properties = {"headrace.kind": "table", "headrace.time": "at", "headrace.description": "Orders of a region"}
        workspace.lakehouse.commit(
            "lake.table_000", f"benchmark {version}", _appends(Append(rows)), properties=properties
        )
    snapshot = workspace.lakehouse.snapshot("lake.table_000")
    first = snapshot.place.folder
    assert first is not None
    for number in range(1, sizes.tables):
        copy = first.with_name(f"table_{number:03}")
        shutil.copytree(first, copy)
        for log in (copy / "_delta_log").glob("*.json"):
            log.write_text(log.read_text().replace(snapshot.id, f"{snapshot.id[:-3]}{number:03}"))


def _metrics(workspace: Workspace, sizes: Sizes) -> None:
    """What monitoring keeps of the first model: a profile and the drift of every feature of every day."""
    import pyarrow as pa

    from headrace.lakehouse.writes import Append
    from headrace.monitoring.metric_tables import DRIFT, PROFILE

    def row(day: int, feature: int) -> dict[str, Any]:
        start, wave = END - timedelta(days=sizes.days - day), ((day * 7 + feature * 13) % 100) / 100
        return {
            "window": {"start": start, "end": start + timedelta(days=1)},
            "window_key": start.isoformat(),
            "log_type": "INPUT",
            "granularity": "1d",
            "model": "model_00",
            "model_version": 1,
            "column_name": f"feature_{feature:03}",
            "data_type": "double",
            "drift_type": "BASELINE",
            "count": 1_000,
            "avg": wave,
            "population_stability_index": wave / 4,
            "psi_pvalue": 1 - wave,
            "js_distance": wave / 3,
            "wasserstein_distance": wave,
            "place": feature,
        }

    for suffix, schema in (("profile_metrics", PROFILE), ("drift_metrics", DRIFT)):
        every = [row(day, feature) for day in range(sizes.days) for feature in range(sizes.features)]
        rows = pa.Table.from_pylist(every, schema.append(pa.field("place", pa.int64())))
        workspace.lakehouse.commit(f"answers.model_00_{suffix}", "benchmark", _appends(Append(rows)))


def _appends(change: Any) -> Callable[[object], Any]:
    return lambda _there: change
