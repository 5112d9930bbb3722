"""Brings a version through its gates to Staging and Production."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.deployment.rollback import before
from headrace.operations import policies, release_history
from headrace.operations.deployment_pattern import to_deploy
from headrace.operations.job import RunReport, announce, as_of_text, moment, one_deployment, open_job, steps
from headrace.operations.operation import operation
from headrace.operations.sync import follow, tell_people
from headrace.pipelines import deploy as pipeline
from headrace.pipelines import deploy_outline
from headrace.pipelines.candidate import choose
from headrace.pipelines.model_inputs import origin

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.core.ids import Json
    from headrace.deployment.declarations import Deployment
    from headrace.jobs.run import Run
    from headrace.operations.job import Announcer, Listener
    from headrace.pipelines.deploy import DeploymentResult, Ending
    from headrace.pipelines.planned_step import PlannedStep
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class DeployReport(RunReport):
    """How far a version came.

    Attributes:
        model: its name.
        version: its number.
        ending: where it stands now.
        request: the one for Production, once there is one.
        missing: roles whose approval is missing.
        findings: of the gates that did not pass; of a rollout, where it is or why it was stopped; in
            Production, the approvals that nobody could give.
        previous: the version that a rollback would go to; None where there is none.
        advice: how somebody gets to be who can approve; empty where nobody is missing.
    """

    model: str
    version: int
    ending: Ending
    request: int | None
    missing: tuple[str, ...]
    findings: tuple[str, ...]
    previous: int | None
    advice: str


@operation("run deploy", of="name", publishes_catalog=True)
def deploy(
    workspace: Workspace,
    name: str | None = None,
    *,
    version: int | None = None,
    as_of: datetime | None = None,
    listen: Listener | None = None,
    begin: Announcer | None = None,
) -> DeployReport:
    """Runs the deployment pipeline of one model.

    Args:
        workspace: where.
        name: the model; may be left out when there is only one that has a deployment.
        version: its version, which begins again at the first gate if it was archived; None: the newest that is not archived.
        as_of: labels known by then count; None: the project's moment, or the present.
        listen: called with each step that ends.
        begin: called once before the first step.
    """
    deployment = one_deployment(workspace.project, name)
    release_history.check_newest(workspace, to=f"deploy {deployment.name}")
    announce(workspace, begin)
    run, result = run_deployment(
        workspace, deployment, version=version, as_of=as_of, revive=version is not None, listen=listen
    )
    return report_deployment(workspace, deployment.name, run.id, result)


@operation("run deploy", of="name", reads=True)
def plan_deploy(workspace: Workspace, name: str | None = None, *, version: int | None = None) -> list[PlannedStep]:
    """What a deployment would do, a row a step."""
    deployment = one_deployment(workspace.project, name)
    return deploy_outline.outline(
        deployment,
        workspace.registry,
        version=version,
        roles=policies.needed(workspace, deployment),
        policy=policies.hash_of(workspace, deployment),
    )


def report_deployment(workspace: Workspace, model: str, run: str, result: DeploymentResult) -> DeployReport:
    """The result of the pipeline, with what a person may do next."""
    missing = result.missing
    return DeployReport(
        run=run,
        env=workspace.environment.name,
        steps=steps(workspace, run),
        model=model,
        version=result.version,
        ending=result.ending,
        request=result.request,
        missing=missing,
        findings=result.findings,
        previous=before(workspace.registry, model) if result.ending == "in production" else None,
        advice=workspace.access.advice(missing[0], asked_by=workspace.access.me().name) if missing else "",
    )


def run_deployment(
    workspace: Workspace,
    deployment: Deployment,
    *,
    version: int | None,
    as_of: datetime | None,
    revive: bool = False,
    listen: Listener | None,
) -> tuple[Run, DeploymentResult]:
    """The same for whoever has the right to what this is a part of."""
    me = workspace.access.me()
    version = to_deploy(workspace, deployment.name, version)
    choose(workspace.registry, deployment.name, version)  # a version that is not there is no failed run
    params: dict[str, Json] = {"version": version, "as_of": as_of_text(workspace, as_of)}
    with open_job(workspace, f"deploy {deployment.name}", params, listen) as run:
        delivered = pipeline.deploy(
            workspace.lakehouse,
            workspace.tracking,
            workspace.registry,
            run,
            deployment,
            version=version,
            as_of=moment(run),
            home=workspace.home(deployment.name),
            by=me.name,
            policy=policies.declare(workspace, deployment, by=me.name),
            hands=me.hands,
            revive=revive,
            origin=origin(workspace.project),
            follow=lambda: follow(workspace),
        )
    tell_people(workspace)
    return run, delivered
