"""Trains a model: training set, search, fit, evaluation, a version in the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.deployment.declarations import Deployment
from headrace.operations.job import RunReport, announce, as_of_text, moment, one_model, open_job, steps
from headrace.operations.left_running import close_left_running
from headrace.operations.operation import operation
from headrace.pipelines import train as pipeline
from headrace.pipelines.outputs.train import RegisteredVersion, TrainingSetTable

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.core.ids import Json
    from headrace.jobs.run import Run
    from headrace.operations.job import Announcer, Listener
    from headrace.pipelines.planned_step import PlannedStep
    from headrace.training.declarations import Params
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


@operation("run train", of="name")
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
    _ = model.fitting  # nothing begins for a model that can only be imported
    announce(workspace, begin)
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
    _ = model.fitting
    return pipeline.outline(model)


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
    _ = model.fitting
    asked: dict[str, Json] = {"as_of": as_of_text(workspace, as_of)}
    if params is not None:
        asked["params"] = dict(params)
    if alert is not None:
        asked["alert"] = alert
    with open_job(workspace, f"train {model.name}", asked, listen) as run:
        close_left_running(workspace)
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
        )
    return run
