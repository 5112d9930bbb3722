"""What each round of the scheduler reconciles: logged answers, projections, failed servers, rollouts."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.clock import now
from headrace.core.errors import HeadraceError
from headrace.deployment import rollouts
from headrace.deployment.declarations import Deployment
from headrace.inference.ingest import ingest
from headrace.operations.anchoring import anchor
from headrace.operations.catalog_sync import update_catalog
from headrace.operations.policies import declare
from headrace.operations.record import Record
from headrace.operations.release_history import newer_than_ours
from headrace.operations.serving import alarm
from headrace.operations.sync import follow
from headrace.pipelines.answer_traces import trace_served
from headrace.scoring.columns import log_table

if TYPE_CHECKING:
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Reconciliation(Record):
    """What a round brought along.

    Attributes:
        done: steps of rollouts that were taken, a line each.
        troubles: what did not work and is tried again in the next round, a line each.
    """

    done: tuple[str, ...]
    troubles: tuple[str, ...]


def reconcile(workspace: Workspace) -> Reconciliation:
    """Takes over what servers have answered, brings projections along, and takes the steps of rollouts that are due.

    Nothing of it is lost when it fails, and the next round tries again: it raises nothing.
    """
    troubles = _bring_along(workspace)
    done, more = _take_steps(workspace)
    return Reconciliation(done=tuple(done), troubles=(*troubles, *more))


def _bring_along(workspace: Workspace) -> list[str]:
    """Answers of servers go to their tables, events to MLflow and to `serving.json`; returns what did not work."""
    troubles: list[str] = []
    for deployment in workspace.project.all(Deployment):
        name = log_table(deployment.name)
        try:
            done = ingest(
                workspace.lakehouse,
                workspace.environment.root / "spool" / deployment.name,
                name,
                trace=trace_served(workspace.tracking, deployment, workspace.environment.name),
            )
            troubles += [f"{name}: {done.waiting}"] if done.waiting else []
        except Exception as error:  # noqa: BLE001  # a lakehouse that is down is no reason to end servers
            troubles.append(f"{name}: {_text(error)}")
        with suppress(Exception):  # told in the next round
            alarm(workspace.state, deployment.name, workspace.home(deployment.name))
    try:
        troubles += [f"{failure.channel}: {failure.error}" for failure in follow(workspace, patient=True)]
        troubles += [f"head of the audit record: {each}" for each in anchor(workspace)]
    except Exception as error:  # noqa: BLE001  # nor are a registry or a state database
        troubles.append(f"following: {_text(error)}")
    return troubles


def _take_steps(workspace: Workspace) -> tuple[list[str], list[str]]:
    """Takes the steps of rollouts that are due; returns what was done, and what did not work."""
    done: list[str] = []
    troubles: list[str] = []
    try:
        running = workspace.registry.rollouts.open()
        deployed = {each.name: each for each in workspace.project.all(Deployment)} if running else {}
        late = _is_late(workspace) if running else ""
    except Exception as error:  # noqa: BLE001  # a state database that is down is no reason to end servers
        return [], [f"rollouts: {_text(error)}"]
    if late:
        return [], [late]  # what runs here may not know the gates of now
    for rollout in running:
        at, deployment = now(), deployed.get(rollout.model)
        try:
            if deployment is not None:
                declare(workspace, deployment, by=rollouts.ROLLOUT)
            step = rollouts.reconcile(
                workspace.registry,
                workspace.lakehouse,
                rollout.model,
                deployment.model if deployment else None,
                feedback=deployment.feedback if deployment else None,
                at=at,
                as_of=workspace.project.as_of or at,
            )
            done += [step] if step else []
        except Exception as error:  # noqa: BLE001  # the share stays as it is, and the next round looks again
            troubles.append(f"the rollout of {rollout.model} version {rollout.version}: {_text(error)}")
    if done:
        try:
            troubles += [f"{failure.channel}: {failure.error}" for failure in follow(workspace, patient=True)]
        except Exception as error:  # noqa: BLE001  # told again in the next round
            troubles.append(f"following: {_text(error)}")
        update_catalog(workspace)
    return done, troubles


def _is_late(workspace: Workspace) -> str:
    """What to do when a release came after the one that runs here; empty when none did."""
    newest = newer_than_ours(workspace)
    if newest is None:
        return ""
    return f"rollouts wait: {workspace.code.release} runs here and {newest} is the newest release; start `headrace up` again"


def _text(error: Exception) -> str:
    return error.what if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
