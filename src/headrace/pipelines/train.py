"""Train: training set, tuning, fit, evaluation on held-out rows, registration with stage None."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core.errors import NotFoundError
from headrace.features.declarations import FeatureTable, ReferencedSelection
from headrace.features.plan import on_demand_functions, plan
from headrace.lakehouse.declarations import Selection
from headrace.scoring.version import load
from headrace.training import evaluation, training_set
from headrace.training.logged import fit_and_log, prepare
from headrace.training.package import Origin
from headrace.training.train import direction, judge
from headrace.training.tune import Search, Values, search

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.core.ids import Json
    from headrace.environments.project import Project
    from headrace.features.plan import FeaturePlan
    from headrace.jobs.run import Run, StepContext
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.registry.registry import Registry
    from headrace.tracking.tracking import Tracking
    from headrace.training.declarations import Model
    from headrace.training.training_set import TrainingSet


def outline(model: Model) -> list[dict[str, object]]:
    """What a training run does, for a dry run."""
    trials = model.tune.trials if model.tune else 0
    return [
        {"step": "training set", "reads": ", ".join(_tables(model)), "writes": training_set.table_name(model)},
        *(
            {"step": f"trial {number}", "reads": training_set.table_name(model), "writes": ""}
            for number in range(trials)
        ),
        {"step": "fit", "reads": training_set.table_name(model), "writes": "an MLflow run"},
        {"step": "evaluate", "reads": training_set.table_name(model), "writes": evaluation.TABLE},
        {"step": "register", "reads": "", "writes": f"a version of {model.name}, stage None"},
    ]


def train(
    project: Project,
    lakehouse: Lakehouse,
    tracking: Tracking,
    registry: Registry,
    run: Run,
    model: Model,
    *,
    as_of: datetime,
) -> None:
    """Trains one version of a model on what was known at a moment."""
    snapshots = {name: lakehouse.snapshot(name) for name in _tables(model)}
    versions = {name: snapshot.version for name, snapshot in snapshots.items()}
    data_versions = {name: [snapshot.env, snapshot.data_version] for name, snapshot in snapshots.items()}
    planned = feature_plan(project, lakehouse, model)
    functions = on_demand_functions(model.features)
    code = {"tree": project.code.tree, "model": model.name}

    def make_set(step: StepContext) -> dict[str, Json]:
        made = training_set.build(lakehouse, model, planned, versions, as_of=as_of, id=step.key)
        counts = made.counts
        for name, number in counts.to_json().items():
            step.log(f"{name}: {number:,}")
        return {
            "table": made.table,
            "version": made.version,
            "counts": dict(counts.to_json()),
            "fit_from": made.fit_from.isoformat(),
            "fit_to": made.fit_to.isoformat(),
            "inputs": dict(versions),
            "says": f"{counts.fit:,} to fit, {counts.calibrate:,} to calibrate, {counts.test:,} to test",
        }

    made = run.step(
        "training set",
        {
            **code,
            "plan": planned.to_json(),
            "inputs": data_versions,
            "as_of": as_of.isoformat(),
            "test": model.evaluate.test,
        },
        make_set,
        holds=lambda was: lakehouse.exists(str(was["table"]), own=True),
    ).output
    basis: dict[str, Json] = {**code, "table": made["table"], "version": made["version"]}

    @cache
    def data() -> TrainingSet:
        return training_set.TrainingSet(lakehouse, model, planned, functions, int(str(made["version"])))

    found = _tune(run, model, data, basis)
    params: Values = {**model.params, **(found.best.params if found else {})}

    def fit(step: StepContext) -> dict[str, Json]:
        tags = {
            "code.commit": project.code.commit or "",
            "code.tree": project.code.tree,
            "code.release": project.code.release or "",
        }
        with tracking.open_run(model.name, step.key, name=f"{model.name} as of {as_of:%Y-%m-%d}", tags=tags) as tracked:
            tracked.log_params({f"input.{name}": version for name, version in versions.items()})
            tracked.log_dict(dict(made), "training_set.json")
            if found:
                trials: list[Json] = [{"params": dict(trial.params), "value": trial.value} for trial in found.trials]
                tracked.log_dict(trials, "trials.json")
            logged = fit_and_log(
                tracked, model, data(), functions, params, origin=_origin(project), by_value=_modules(project)
            )
        return {**vars(logged), "params": dict(params), "says": f"MLflow run {logged.run_id[:8]}, {_short(params)}"}

    logged = run.step("fit", {**basis, "params": dict(params)}, fit).output

    def evaluate(step: StepContext) -> dict[str, Json]:
        version = load(
            tracking, str(logged["model_uri"]), model=model.name, number=0, artifact_hash=str(logged["artifact_hash"])
        )
        judged = evaluation.judge(lakehouse, model, data(), version.predict, id=step.key, run_id=str(logged["run_id"]))
        says = ", ".join(f"{name} {value:.4f}" for name, value in judged.items() if value is not None)
        return {"metrics": dict(judged), "says": f"test {says}"}

    judged = run.step("evaluate", {**basis, "artifact": logged["artifact_hash"]}, evaluate).output

    def register(step: StepContext) -> dict[str, Json]:
        version = registry.register(
            model.name,
            step_key=step.key,
            run_id=str(logged["run_id"]),
            model_uri=str(logged["model_uri"]),
            artifact_hash=str(logged["artifact_hash"]),
            code=project.code.commit or project.code.tree,
            inputs=versions,
            fit_from=str(made["fit_from"]),
            fit_to=str(made["fit_to"]),
            as_of=as_of.isoformat(),
            metrics=judged["metrics"],
            description=model.description,
        )
        return {"version": version.version, "says": f"version {version.version}, stage {version.stage}"}

    run.step("register", {**basis, "artifact": logged["artifact_hash"], "as_of": as_of.isoformat()}, register)


def feature_plan(project: Project, lakehouse: Lakehouse, model: Model) -> FeaturePlan:
    """The plan of a model's features, by the schemas that its tables have now."""
    schemas = {name: lakehouse.snapshot(name).schema for name in _tables(model)}
    declared = {table.name: table for table in project.all(FeatureTable)}

    def resolve(name: str) -> FeatureTable:
        if name in declared:
            return declared[name]
        properties = lakehouse.snapshot(name).properties
        if properties.get("headrace.kind") != "feature":
            raise NotFoundError("feature table", name, declared, hint="`headrace feature list` shows them all.")
        return FeatureTable(
            name,
            key=properties["headrace.key"].split(","),
            time=properties["headrace.time"],
            look_back=properties.get("headrace.look_back"),
        )

    return plan(model.spine, model.features, schemas, resolve=resolve)


def _tune(run: Run, model: Model, data: object, basis: dict[str, Json]) -> Search | None:
    if model.tune is None:
        return None
    tune = model.tune

    @cache
    def fitting() -> object:
        return prepare(model, data(), on_demand_functions(model.features))[0]  # pyright: ignore[reportCallIssue]

    def trial(number: int, params: Values) -> float:
        given = {**model.params, **params}

        def do(_: StepContext) -> dict[str, Json]:
            value = judge(model, fitting(), given, validate=tune.validate)  # pyright: ignore[reportArgumentType]
            return {"value": value, "params": dict(given), "says": f"{model.metrics[0]} {value:.4f}, {_short(params)}"}

        return float(
            str(
                run.step(f"trial {number}", {**basis, "params": dict(given), "validate": tune.validate}, do).output[
                    "value"
                ]
            )
        )

    return search(tune, trial, direction=direction(model))


def _tables(model: Model) -> list[str]:
    selected = [each for each in model.features if isinstance(each, Selection | ReferencedSelection)]
    looked_up = [each.table.name if isinstance(each, Selection) else each.name for each in selected]
    return list(dict.fromkeys((model.spine.table.name, model.task.label.table.name, *looked_up)))


def _origin(project: Project) -> Origin:
    return Origin(
        folder=project.code.folder,
        module=project.settings.module,
        commit=project.code.commit,
        tree=project.code.tree,
        leave_out=tuple(Path(environment.root) for environment in project.config.environments),
    )


def _modules(project: Project) -> list[str]:
    import sys

    top = project.module.__name__.split(".")[0]
    return [name for name in sys.modules if name == top or name.startswith(f"{top}.")]


def _short(params: Values) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in params.items()
    )
