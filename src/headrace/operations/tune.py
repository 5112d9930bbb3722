"""Searches for better instructions of a model's prompts; what is better becomes a version, stage None."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.chains.opening import open_chain
from headrace.core.errors import DeclarationError
from headrace.operations.deployment_pattern import check_trains_here
from headrace.operations.job import RunReport, announce, as_of_text, moment, one_model, open_job, steps
from headrace.operations.operation import operation
from headrace.operations.train import train_chain
from headrace.pipelines import tune as pipeline

if TYPE_CHECKING:
    from headrace.core.ids import Json
    from headrace.operations.job import Announcer, Listener
    from headrace.pipelines.outputs.tune import TunedPrompts
    from headrace.pipelines.planned_step import PlannedStep
    from headrace.training.declarations import Model
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class TuneReport(RunReport):
    """What a tuning did.

    Attributes:
        model: its name.
        version: that was registered; None where nothing better was found.
        found: the texts, and how good they are.
    """

    model: str
    version: int | None
    found: TunedPrompts


@operation("run tune", of="name", publishes_catalog=True)
def tune(
    workspace: Workspace, name: str | None = None, *, listen: Listener | None = None, begin: Announcer | None = None
) -> TuneReport:
    """Runs the tuning of one model's prompts.

    Args:
        workspace: where.
        name: the model; may be left out when there is only one.
        listen: called with each step that ends.
        begin: called once before the first step.
    """
    model = _tunable(workspace, name)
    check_trains_here(workspace, model.name)
    announce(workspace, begin)
    asked: dict[str, Json] = {"as_of": as_of_text(workspace, None)}
    with open_job(workspace, f"tune {model.name}", asked, listen) as run:
        assert model.predict is not None, "checked above"
        chain = open_chain(model.name, model.predict, model.uses, workspace.lakehouse, cache=workspace.index_cache)
        search = pipeline.PromptSearch(
            workspace.project,
            workspace.lakehouse,
            run,
            model,
            chain,
            moment(run),
            workspace.configured.root / "tuning",
        )
        found = search.found()
        version = None
        if found.improved:
            notes: dict[str, Json] = {"tuning": found.to_json()}
            version = train_chain(workspace, run, model, prompts=search.prompts(found), notes=notes)
    return TuneReport(
        run=run.id,
        env=workspace.environment.name,
        steps=steps(workspace, run.id),
        model=model.name,
        version=version,
        found=found,
    )


@operation("run tune", of="name", reads=True)
def plan_tune(workspace: Workspace, name: str | None = None) -> list[PlannedStep]:
    """What a tuning would do, a row a step."""
    return pipeline.outline(_tunable(workspace, name))


def _tunable(workspace: Workspace, name: str | None) -> Model:
    model = one_model(workspace.project, name)
    if model.predict is None:
        raise DeclarationError(
            f"{model.where}: model {model.name!r} has no prompts; its parameters are searched for when it is trained.",
            hint=f"headrace run train --model {model.name}",
        )
    _ = pipeline.tuning_of(model)
    return model
