"""Train: training set, tuning, fit, evaluation on held-out rows, registration with stage None."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from headrace.core.errors import DataError, UnavailableError
from headrace.core.folders import folder_digest
from headrace.features.plan import on_demand_functions
from headrace.pipelines.model_inputs import feature_plan, modules, origin, tables
from headrace.pipelines.outputs.train import (
    HeldOutMetrics,
    LoggedModel,
    RegisteredVersion,
    TrainingSetTable,
    TrialValue,
)
from headrace.pipelines.planned_step import PlannedStep
from headrace.scoring.version import load
from headrace.tracking.records import Dataset
from headrace.training import evaluation, training_set
from headrace.training.fit_and_log import HASH, fit_and_log, prepare
from headrace.training.train import direction, judge
from headrace.training.tune import Search, Values, search

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from headrace.core.ids import Json
    from headrace.environments.project import Project
    from headrace.features.plan import FeaturePlan
    from headrace.jobs.run import Run, StepContext
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.pipelines.promoted_version import PromotedVersion
    from headrace.registry.registry import Registry
    from headrace.tracking.tracking import Tracking
    from headrace.training.declarations import Model, Params, TrainingData
    from headrace.training.imported import ImportedModel
    from headrace.training.training_set import TrainingSet

TOLD = 5  # files that were left out


def outline(model: Model) -> list[PlannedStep]:
    """What a training run does, for a dry run."""
    made = training_set.table_name(model)
    trials = range(model.parameter_search.trials) if model.parameter_search else ()
    return [
        PlannedStep(step="training set", reads=", ".join(tables(model)), writes=made),
        *(PlannedStep(step=f"trial {number}", reads=made) for number in trials),
        PlannedStep(step="fit", reads=made, writes="an MLflow run"),
        PlannedStep(step="evaluate", reads=made, writes=evaluation.TABLE),
        PlannedStep(step="register", writes=f"a version of {model.name}, stage None"),
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
    by: str,
    params: Params | None = None,
    alert: int | None = None,
    sample: float = 1.0,
    trials: int | None = None,
) -> int:
    """Trains one version of a model on what was known at a moment; gives its number.

    Args:
        project: whose code runs.
        lakehouse: the tables.
        tracking: where it is logged.
        registry: where it becomes a version.
        run: of the ledger.
        model: as declared.
        as_of: the training moment.
        by: for whom.
        params: to fit with; searched for unless given.
        alert: that asks for it.
        sample: the share of the decisions, by key.
        trials: the most sets of parameters that are tried; None: as many as declared.
    """
    training = Training(project, lakehouse, tracking, registry, run, model, as_of, by, alert, sample, trials=trials)
    found = training.tune() if params is None else None
    return training.finish(training.fit(found, params))


@dataclass(frozen=True)
class Training:
    """The steps of one training run. Each gives its output, which the ledger keeps; `made` is the first of them.

    With `imported`, the model's function hands that on instead of fitting; the rest is the same. With `promoted`, nothing is
    fitted: the version keeps what is known of its training (`headrace.pipelines.promote_model`).
    """

    project: Project
    lakehouse: Lakehouse
    tracking: Tracking
    registry: Registry
    run: Run
    model: Model
    as_of: datetime
    by: str
    alert: int | None = None
    sample: float = 1.0
    imported: ImportedModel | None = None
    trials: int | None = None
    promoted: PromotedVersion | None = None

    @cached_property
    def inputs(self) -> dict[str, Snapshot]:
        """The tables that the training set is made from, as they are when the run begins."""
        return {name: self.lakehouse.snapshot(name) for name in tables(self.model)}

    @cached_property
    def versions(self) -> dict[str, int]:
        """Their versions."""
        return {name: snapshot.version for name, snapshot in self.inputs.items()}

    @cached_property
    def plan(self) -> FeaturePlan:
        """How features come together."""
        return feature_plan(self.project, self.lakehouse, self.model)

    @cached_property
    def code(self) -> dict[str, Json]:
        """What a step depends on beside its data."""
        return {"tree": self.project.code.tree, "model": self.model.name}

    @cached_property
    def made(self) -> TrainingSetTable:
        """Decisions with features and labels as of the training moment, into `training.<model>`."""
        fitted = self.promoted.fitted if self.promoted else None

        def do(step: StepContext) -> TrainingSetTable:
            made = training_set.build(
                self.lakehouse,
                self.model,
                self.plan,
                self.versions,
                as_of=self.as_of,
                id=step.key,
                sample=self.sample,
                fitted=fitted,
            )
            counts = made.counts
            for name, number in counts.to_json().items():
                step.log(f"{name}: {number:,}")
            return TrainingSetTable(
                table=made.table,
                version=made.version,
                id=self.lakehouse.snapshot(made.table).id,
                counts=counts.to_json(),
                fit_from=made.fit_from.isoformat(),
                fit_to=made.fit_to.isoformat(),
                inputs=self.versions,
            )

        key = {
            **self.code,
            "plan": self.plan.to_json(),
            "inputs": {name: snapshot.content for name, snapshot in self.inputs.items()},
            "as_of": self.as_of.isoformat(),
            "test": repr(self.model.split),
            "sample": self.sample,
            **({"promoted": {**self.promoted.origin}} if self.promoted else {}),
        }
        return self.run.step("training set", key, do, output=TrainingSetTable, holds=self._is_there).output

    def tune(self) -> Search | None:
        """Trials, each a step, on the latest part of the fitting rows."""
        tune = self.model.parameter_search
        if tune is None:
            return None
        if self.trials is not None:
            tune = replace(tune, trials=min(tune.trials, self.trials))

        def trial(number: int, params: Values) -> float:
            given = {**self.model.params, **params}

            def do(_: StepContext) -> TrialValue:
                value = judge(self.model, self.fitting, given, validate=tune.validate)
                return TrialValue(metric=self.model.metrics[0], value=value, params=params)

            key = {**self._on_set, "params": given, "validate": tune.validate}
            return self.run.step(f"trial {number}", key, do, output=TrialValue).output.value

        return search(tune, trial, direction=direction(self.model))

    def fit(self, found: Search | None, given: Params | None = None) -> LoggedModel:
        """The fit that is kept, on an MLflow run."""
        params: Values = {**self.model.params, **(given or {}), **(found.best.params if found else {})}
        notes: dict[str, Json] = {"training_set": self.made.to_json()}
        if found:
            notes["trials"] = [{"params": dict(trial.params), "value": trial.value} for trial in found.trials]
        if self.imported:
            notes["imported"] = {**self.imported.origin}

        def do(step: StepContext) -> LoggedModel:
            name = f"{self.model.name} as of {self.as_of:%Y-%m-%d}"
            with self.tracking.open_run(
                self.model.name,
                step.key,
                name=name,
                tags=self.tags(),
                holds=lambda run: self.stands(run.model_uri or "", run.summary.tags[HASH]),
            ) as tracked:
                tracked.log_inputs(self._datasets())
                logged = fit_and_log(
                    tracked,
                    self.model,
                    self.data,
                    on_demand_functions(self.model.inputs),
                    params,
                    origin=origin(self.project),
                    by_value=modules(self.project),
                    notes=notes,
                )
            if logged.left_out:
                more = f" and {len(logged.left_out) - TOLD} more" if len(logged.left_out) > TOLD else ""
                step.log(f"left out of the package: {', '.join(logged.left_out[:TOLD])}{more}")
            return LoggedModel(
                run_id=logged.run_id,
                model_uri=logged.model_uri,
                artifact_hash=logged.artifact_hash,
                logged_hash=self.tracking.digest(logged.model_uri),
                params=params,
                searched=list(found.best.params) if found else (),
            )

        key = {**self._on_set, "params": params, **(self.imported.origin if self.imported else {})}
        return self.run.step("fit", key, do, output=LoggedModel, holds=self.is_logged).output

    def evaluate(self, logged: LoggedModel) -> Mapping[str, float | None]:
        """What was logged, loaded back and measured on the test rows."""

        def do(step: StepContext) -> HeldOutMetrics:
            with load(
                self.tracking,
                logged.model_uri,
                model=self.model.name,
                number=0,
                artifact_hash=logged.artifact_hash,
            ) as version:
                metrics = evaluation.judge(
                    self.lakehouse, self.model, self.data, version.predict, id=step.key, run_id=logged.run_id
                )
            return HeldOutMetrics(metrics=metrics)

        key = {**self._on_set, "run": logged.run_id, "metrics": list(self.model.metrics)}
        return self.run.step("evaluate", key, do, output=HeldOutMetrics).output.metrics

    def finish(self, logged: LoggedModel) -> int:
        """Evaluates and registers what was logged; gives the number of the version."""
        return self.register(logged, self.evaluate(logged))

    def register(self, logged: LoggedModel, metrics: Mapping[str, float | None]) -> int:
        """A version with stage None; gives its number."""
        source = self.promoted.version if self.promoted else None

        def do(step: StepContext) -> RegisteredVersion:
            version = self.registry.register(
                self.model.name,
                step_key=step.key,
                run_id=logged.run_id,
                model_uri=logged.model_uri,
                artifact_hash=logged.artifact_hash,
                logged_hash=self.tracking.digest(logged.model_uri),
                code=source.code if source else self.project.code.identity,
                inputs=self.made.inputs,
                training_set=self.made.version,
                params=logged.params,
                fit_from=source.fit_from if source else self.made.fit_from,
                fit_to=source.fit_to if source else self.made.fit_to,
                as_of=source.as_of if source else self.as_of.isoformat(),
                metrics=metrics,
                by=self.by,
                alert=self.alert,
                imported=source.imported if source else self.imported.origin if self.imported else None,
                promoted=self.promoted.origin if self.promoted else None,
                routes=self.routes,
                description=self.model.description,
            )
            return RegisteredVersion(version=version.version, stage=version.stage)

        key: dict[str, Json] = {"run": logged.run_id, "artifact": logged.artifact_hash}
        return self.run.step("register", key, do, output=RegisteredVersion).output.version

    @property
    def routes(self) -> Mapping[str, Mapping[str, str]]:
        """The language models that answers depend on: none of a model that is fitted."""
        return {}

    @cached_property
    def data(self) -> TrainingSet:
        """The training set, read back once."""
        functions = on_demand_functions(self.model.inputs)
        return training_set.TrainingSet.stored(self.lakehouse, self.model, self.plan, functions, self.made.version)

    @cached_property
    def fitting(self) -> TrainingData:
        """What the user's function gets in a trial."""
        return prepare(self.model, self.data, on_demand_functions(self.model.inputs))[0]

    @property
    def _on_set(self) -> dict[str, Json]:
        return {**self.code, "table": self.made.table, "id": self.made.id, "version": self.made.version}

    def _is_there(self, was: TrainingSetTable) -> bool:
        return self.lakehouse.exists(was.table, own=True) and self.lakehouse.snapshot(was.table).id == was.id

    def is_logged(self, was: LoggedModel) -> bool:
        """Whether what was logged is there, as it was: a version of anything else could never be deployed."""
        return self.stands(was.model_uri, was.artifact_hash, was.logged_hash)

    def stands(self, uri: str, artifact_hash: str, logged_hash: str | None = None) -> bool:
        """Whether a logged model is there with the same package, and, where it is known, with the same files of MLflow's.

        Raises:
            UnavailableError: the object store does not answer, or refuses: nobody knows.
        """
        try:
            if logged_hash is not None:  # of the package, too
                return self.tracking.digest(uri) == logged_hash
            with self.tracking.logged_folder(uri) as folder:
                return folder_digest(folder) == artifact_hash
        except UnavailableError:
            raise
        except (DataError, OSError):
            return False

    def _datasets(self) -> list[Dataset]:
        made = self.lakehouse.snapshot(self.made.table, self.made.version)
        return [
            Dataset(name=each.name, path=each.path, version=each.version, content=each.content, context=context)
            for context, tables in (("training", [made]), ("source", self.inputs.values()))
            for each in tables
        ]

    def tags(self) -> dict[str, str]:
        """The tags of the MLflow run: which code, and which tables at which versions."""
        code = self.project.code
        return {
            "code.commit": code.commit or "",
            "code.release": code.release or "",
            "code.tree": code.tree,
            **({f"imported.{name}": value for name, value in self.imported.origin.items()} if self.imported else {}),
            **{f"input.{name}": f"{snapshot.env} version {snapshot.version}" for name, snapshot in self.inputs.items()},
        }
