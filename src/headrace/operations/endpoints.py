"""Endpoints: for each model that is served, who answers, how much and how fast against what is declared, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from headrace.core.clock import now
from headrace.core.errors import HeadraceError, NotFoundError
from headrace.deployment.declarations import Deployment
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from headrace.deployment.traffic_metrics import Counted, Key
    from headrace.registry.records import RolloutState, TrafficSplit
    from headrace.serving.declarations import Serve
    from headrace.workspace.workspace import Workspace

COUNTED = timedelta(days=1)  # that figures are of


@dataclass(frozen=True, kw_only=True)
class AnsweringVersion(Record):
    """A version that answers requests for a model, or is asked beside.

    Attributes:
        version: its number.
        role: `primary`, `candidate` or `shadow`.
        share: of the entities, a shadow's of the requests, between 0 and 1.
        requests: that it answered since `counted_since`; None where no server has told of any.
        errors: those that failed; None without a request.
        error_rate: their share, between 0 and 1; None without a request.
        p50: seconds in which half of the requests were answered; None where that was not counted.
        p95: the same of 95 %.
        slow: whether p95 is above what is declared; None where either is not known.
    """

    version: int
    role: str
    share: float
    requests: int | None
    errors: int | None
    error_rate: float | None
    p50: float | None
    p95: float | None
    slow: bool | None


@dataclass(frozen=True, kw_only=True)
class EndpointTrouble(Record):
    """What a server that runs says is wrong with it.

    Attributes:
        what: `not_followed`, `log_dropped` or `slow`.
        since: when it began.
        reason: in words.
    """

    what: str
    since: datetime
    reason: str


@dataclass(frozen=True, kw_only=True)
class EndpointReport(Record):
    """A model that is served.

    Attributes:
        model: its name.
        limit: seconds under which 95 % of the requests should stay, as declared; None where no server is declared.
        versions: that answer: Production, candidates, shadows; nothing where none is in Production.
        changed: when the split was changed last; None where it never was.
        changed_by: who did.
        reason: why.
        counted_since: from when requests count.
        reported: when a server has last told how many it answered; None where none ever has.
        unknown: why requests and latency are not known; empty where they are.
        troubles: that servers tell of.
        rollout: what a rollout is at, in words; empty where none runs.
    """

    model: str
    limit: float | None
    versions: tuple[AnsweringVersion, ...]
    changed: datetime | None
    changed_by: str
    reason: str
    counted_since: datetime
    reported: datetime | None
    unknown: str
    troubles: tuple[EndpointTrouble, ...]
    rollout: str


@operation("traffic show")
def list_endpoints(workspace: Workspace) -> list[EndpointReport]:
    """Every model with a version in Production, with a share, or with a declared server, sorted by name."""
    return _endpoints(workspace)


@operation("traffic show", of="model")
def show_endpoint(workspace: Workspace, model: str) -> EndpointReport:
    """One of them.

    Raises:
        NotFoundError: no such model is served, or declared to be.
    """
    found = {each.model: each for each in _endpoints(workspace, model)}
    if model not in found:
        known = [each.model for each in _endpoints(workspace)]
        raise NotFoundError("endpoint", model, known, hint="headrace status shows which models there are.")
    return found[model]


def _endpoints(workspace: Workspace, model: str | None = None) -> list[EndpointReport]:
    from headrace.deployment.endpoint_counts import counted_by_model, last_counted
    from headrace.registry import split

    registry, since = workspace.registry, now() - COUNTED
    served = _declared(workspace)
    names = sorted({*registry.models(), *served}) if model is None else [model]
    with workspace.state.read() as connection:
        splits = {name: split.current(connection, name) for name in names}
    answering = [name for name in names if splits[name].primary is not None or name in served]
    counts = counted_by_model(workspace.lakehouse, since=since)
    reported = last_counted(workspace.lakehouse)
    rollouts = {each.model: each for each in registry.rollouts.open()}
    return [
        _endpoint(
            workspace,
            splits[name],
            served.get(name),
            counts.get(name, {}),
            since,
            reported.get(name),
            rollouts.get(name),
        )
        for name in answering
    ]


def _declared(workspace: Workspace) -> dict[str, Serve]:
    """Model → its declared server; none where the program of the project cannot be loaded, which `status` tells."""
    try:
        deployments = workspace.project.all(Deployment)
    except HeadraceError:
        return {}
    return {each.name: each.serve for each in deployments if each.serve is not None}


def _endpoint(
    workspace: Workspace,
    split: TrafficSplit,
    serve: Serve | None,
    counts: Mapping[Key, Counted],
    since: datetime,
    reported: datetime | None,
    rollout: RolloutState | None,
) -> EndpointReport:
    from headrace.operations.serving import troubles
    from headrace.serving.declarations import milliseconds

    limit = None if serve is None else milliseconds(serve.p95)
    roles = [] if split.primary is None else [(split.primary, "primary", split.primary_weight)]
    roles += [(each.version, "candidate", each.weight) for each in split.candidates]
    roles += [(each.version, "shadow", each.weight) for each in split.shadows]
    return EndpointReport(
        model=split.model,
        limit=limit,
        versions=tuple(_version(counts, *role, limit) for role in roles),
        changed=split.at,
        changed_by=split.by,
        reason=split.reason,
        counted_since=since,
        reported=reported,
        unknown=_unknown(workspace, counts, reported, serve),
        troubles=tuple(
            EndpointTrouble(what=each.what, since=each.since, reason=each.reason)
            for each in troubles(workspace.home(split.model))
        ),
        rollout="" if rollout is None else _rollout(rollout),
    )


def _version(
    counts: Mapping[Key, Counted], version: int, role: str, share: float, limit: float | None
) -> AnsweringVersion:
    from headrace.deployment.traffic_metrics import total

    mine = total(counts, version, role)
    p95 = mine.quantile(0.95)
    return AnsweringVersion(
        version=version,
        role=role,
        share=share,
        requests=mine.requests if counts else None,
        errors=mine.errors if mine.requests else None,
        error_rate=mine.error_rate,
        p50=mine.quantile(0.5),
        p95=p95,
        slow=None if p95 is None or limit is None else p95 > limit,
    )


def _unknown(
    workspace: Workspace, counts: Mapping[Key, Counted], reported: datetime | None, serve: Serve | None
) -> str:
    if counts:
        return ""
    env = workspace.environment.name
    if reported is not None:
        return f"no server of {env} has reported during the last day"
    if serve is None:
        return "the project declares no server for it"
    return f"no server of {env} has ever reported; its counts come with: headrace run ingest-log --env {env}"


def _rollout(rollout: RolloutState) -> str:
    held = f"; held by {'; '.join(rollout.held.values())}" if rollout.held else ""
    return f"version {rollout.version} at step {rollout.step + 1} of {len(rollout.plan.steps)}{held}"
