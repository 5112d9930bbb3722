"""Trains a model: training set, search, fit, evaluation, a version in the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.deployment.declarations import Deployment
from headrace.operations.deployment_pattern import check_trains_here
from headrace.operations.job import RunReport, announce, as_of_text, moment, one_model, open_job, steps
from headrace.operations.left_running import close_left_running
from headrace.operations.operation import operation
from headrace.pipelines import train as pipeline
from headrace.pipelines import train_chain as chain_pipeline
from headrace.pipelines.outputs.train import RegisteredVersion, TrainingSetTable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from headrace.core.ids import Json
    from headrace.jobs.run import Run
    from headrace.llm.prompts.version import PromptVersion
    from headrace.operations.job import Announcer, Listener
    from headrace.pipelines.planned_step import PlannedStep
    from headrace.pipelines.promoted_version import PromotedVersion
    from headrace.training.declarations import Model, Params
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class TrainReport(RunReport):
    """What a training did.

    Attributes:
        model: its name.
        version: that was registered.
        hidden: decisions that are newer than the training moment.
        as_of: the project's training moment; None for the present.
        deployed: whether the project says how the model is deployed.
    """

    model: str
    version: int
    hidden: int
    as_of: datetime | None
    deployed: bool


@operation("run train", of="name", publishes_catalog=True)
def train(
    workspace: Workspace,
    name: str | None = None,
    *,
    as_of: datetime | None = None,
    params: Params | None = None,
    listen: Listener | None = None,
    begin: Announcer | None = None,
) -> TrainReport:
    """Runs the training pipeline of one model.

    Args:
        workspace: where.
        name: the model; may be left out when there is only one.
        as_of: the training moment: only decisions and labels up to it exist; None: the project's, or the present.
        params: to fit with; None: they are searched for.
        listen: called with each step that ends.
        begin: called once before the first step.
    """
    model = one_model(workspace.project, name)
    _check_trainable(model)  # nothing begins for a model that can only be imported
    check_trains_here(workspace, model.name)
    announce(workspace, begin, steps=len(_outline(model)))
    run = run_training(workspace, model.name, as_of=as_of, params=params, listen=listen)
    return TrainReport(
        run=run.id,
        env=workspace.environment.name,
        steps=steps(workspace, run.id),
        model=model.name,
        version=run.outputs(RegisteredVersion, prefix="register")[0].version,
        hidden=sum(each.counts["after"] for each in run.outputs(TrainingSetTable, prefix="training set")),
        as_of=workspace.project.as_of,
        deployed=any(each.name == model.name for each in workspace.project.all(Deployment)),
    )


@operation("run train", of="name", reads=True)
def plan_train(workspace: Workspace, name: str | None = None) -> list[PlannedStep]:
    """What a training would do, a row a step."""
    model = one_model(workspace.project, name)
    _check_trainable(model)
    check_trains_here(workspace, model.name)
    return _outline(model)


def _outline(model: Model) -> list[PlannedStep]:
    return pipeline.outline(model) if model.predict is None else chain_pipeline.outline(model)


def _check_trainable(model: Model) -> None:
    """Refuses a model that has nothing to train.

    Raises:
        DeclarationError: it can only be imported.
    """
    if model.predict is None:
        _ = model.fitting


def run_training(
    workspace: Workspace,
    name: str | None = None,
    *,
    as_of: datetime | None = None,
    params: Params | None = None,
    alert: int | None = None,
    listen: Listener | None = None,
) -> Run:
    """The pipeline as a job, for whoever has the right to what this is a part of.

    Args:
        workspace: the environment.
        name: the model; may be left out when there is only one.
        as_of: the training moment: only decisions and labels up to it exist. None: the project's, or the present.
        params: to fit with; None: they are searched for.
        alert: for which it is trained again: the version must help.
        listen: called with each step that ends.
    """
    model = one_model(workspace.project, name)
    _check_trainable(model)
    asked: dict[str, Json] = {"as_of": as_of_text(workspace, as_of)}
    if params is not None:
        asked["params"] = dict(params)
    if alert is not None:
        asked["alert"] = alert
    with open_job(workspace, f"train {model.name}", asked, listen) as run:
        close_left_running(workspace)
        if model.predict is not None:
            train_chain(workspace, run, model)
            return run
        pipeline.train(
            workspace.project,
            workspace.lakehouse,
            workspace.tracking,
            workspace.registry,
            run,
            model,
            as_of=moment(run),
            by=workspace.access.me().name,
            params=params,
            alert=alert,
            sample=workspace.environment.sample,
            trials=workspace.environment.trials,
        )
    return run


def train_chain(
    workspace: Workspace,
    run: Run,
    model: Model,
    *,
    prompts: Mapping[str, PromptVersion] | None = None,
    notes: Mapping[str, Json] | None = None,
) -> int:
    """Packages, evaluates and registers a version of a model that answers by itself, in a run; gives its number.

    Args:
        workspace: the environment.
        run: of the ledger.
        model: with `predict=`.
        prompts: prompt → the version to take in place of the declared one.
        notes: more that is kept with the MLflow run, by name.
    """
    return chain_training(workspace, run, model, prompts=prompts, notes=notes).train()


def chain_training(
    workspace: Workspace,
    run: Run,
    model: Model,
    *,
    prompts: Mapping[str, PromptVersion] | None = None,
    notes: Mapping[str, Json] | None = None,
    promoted: PromotedVersion | None = None,
) -> chain_pipeline.ChainTraining:
    """The steps of such a run; see `train_chain`.

    Args:
        workspace: the environment.
        run: of the ledger.
        model: with `predict=`.
        prompts: prompt → the version to take in place of the declared one.
        notes: more that is kept with the MLflow run, by name.
        promoted: the version of another environment that is registered, in place of one that is packaged.
    """
    return chain_pipeline.ChainTraining(
        workspace.project,
        workspace.lakehouse,
        workspace.tracking,
        workspace.registry,
        run,
        model,
        moment(run),
        workspace.access.me().name,
        sample=workspace.environment.sample,
        cache=workspace.index_cache,
        paid=workspace.configured.root / "evaluation" / model.name,
        prompts=prompts or {},
        notes=notes or {},
        promoted=promoted,
    )
