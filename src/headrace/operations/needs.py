"""What needs a person in an environment, each with the command that shows more or fixes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.clock import now
from headrace.core.text import percent
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from headrace.jobs.records import RunRecord
    from headrace.operations.stream_status import StreamStatus
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Need(Record):
    """Something needs a person.

    Attributes:
        what: it is, in words.
        since: when it began; None where that is not known.
        reason: it is so, in words.
        next: the command that shows more or sets it right.
    """

    what: str
    since: datetime | None
    reason: str
    next: str


def needs(workspace: Workspace, *, streams: Sequence[StreamStatus], runs: Sequence[RunRecord]) -> tuple[Need, ...]:
    """All that needs a person in an environment.

    Args:
        workspace: the environment.
        streams: its workers of streams.
        runs: the last one of each job.
    """
    env = workspace.environment.name
    return (
        *_policy(workspace),
        *_broken(workspace),
        *open_requests(workspace),
        *_approved(workspace),
        *_stopped(workspace),
        *_held(workspace),
        *_alerts(workspace),
        *_serving(workspace),
        *_skewed(workspace),
        *_channels(workspace),
        *_dead_streams(streams, env),
        *failed_runs(runs, env),
    )


def _policy(workspace: Workspace) -> list[Need]:
    """What is committed and differs from the floor: nothing may run, or the floor holds."""
    env, ruling = workspace.environment.name, workspace.ruling
    return [
        Need(
            what=f"what may run in {env} was changed in the committed headrace.toml",
            since=now(),
            reason=line,
            next=f"headrace env policy --env {env}",
        )
        for line in (*ruling.changed, *ruling.looser)
    ]


def _broken(workspace: Workspace) -> list[Need]:
    """A program that cannot be loaded: nothing can run. An environment whose code is not there yet is not broken."""
    from headrace.core.errors import HeadraceError

    try:
        code = workspace.code
    except HeadraceError:
        return []
    try:
        _ = workspace.project.declarations
    except HeadraceError as error:
        env = workspace.environment.name
        return [
            Need(
                what=f"the project cannot be loaded, from {code}",
                since=now(),
                reason="; ".join((error.what, *error.findings[-1:])),
                next=f"mend it, and see with: headrace run refresh --dry-run --env {env}",
            )
        ]
    return []


def open_requests(workspace: Workspace, model: str | None = None) -> list[Need]:
    """Requests that wait for somebody's approval, for the versions of one model or of all."""
    env = workspace.environment.name
    return [
        Need(
            what=f"{request.model} version {request.version} asks for {request.to}",
            since=request.at,
            reason=f"{request.by} asks; it takes the approval of {', '.join(request.missing)}",
            next=f"headrace request show {request.id} --env {env}",
        )
        for request in workspace.registry.requests.list(status="open", model=model)
        if request.missing
    ]


def _alerts(workspace: Workspace) -> list[Need]:
    """Alerts that nobody takes care of, but for those that somebody has muted."""
    env = workspace.environment.name
    return [
        Need(
            what=f"{alert.about}: {alert.rule}",
            since=alert.opened,
            reason=f"owner {alert.owner or 'nobody'}, seen by nobody yet",
            next=f"headrace alert show {alert.id} --env {env}",
        )
        for alert in workspace.alerts.list(status="open")
        if not alert.muted
    ]


def _approved(workspace: Workspace) -> list[Need]:
    """Approved for Production, and neither there nor on the way: the move was refused, or its process died."""
    env, needs = workspace.environment.name, list[Need]()
    for request, decision in workspace.registry.requests.unspent():
        if workspace.registry.rollouts.of(decision) is not None:  # told by itself
            continue
        move = f"headrace run deploy --model {request.model} --version {request.version} --env {env}"
        needs.append(
            Need(
                what=f"{request.model} version {request.version} is approved for {request.to} and not there",
                since=decision.at,
                reason=f"approved by {', '.join(decision.by)}; the decision expires at {decision.expires:%Y-%m-%d %H:%M} UTC",
                next=move,
            )
        )
    return needs


def _stopped(workspace: Workspace) -> list[Need]:
    """Rollouts that a rule stopped, of versions that nobody has decided on since."""
    env, needs, seen = workspace.environment.name, list[Need](), set[str]()
    for rollout in workspace.registry.rollouts.list():
        if rollout.model in seen:
            continue
        seen.add(rollout.model)
        version = workspace.registry.get(rollout.model, rollout.version)
        champion = workspace.registry.current(rollout.model, "Production")
        decision = workspace.registry.requests.decided(rollout.decision)
        against = champion.version if champion else None
        if rollout.status != "stopped" or version.stage in ("Production", "Archived") or decision.against != against:
            continue
        needs.append(
            Need(
                what=f"the rollout of {rollout.model} version {rollout.version} was stopped at {percent(rollout.share)}",
                since=rollout.ended,
                reason=f"{rollout.reason}; version {against} answers everything",
                next=f"headrace traffic history {rollout.model} --env {env}",
            )
        )
    return needs


def _held(workspace: Workspace) -> list[Need]:
    """Rollouts that wait because a rule cannot be judged: a person waives it, or finds out why."""
    env = workspace.environment.name
    return [
        Need(
            what=f"the rollout of {rollout.model} version {rollout.version} is held at {percent(rollout.share)}",
            since=rollout.checked,
            reason="; ".join(rollout.held.values()),
            next=f"headrace traffic show {rollout.model} --env {env}",
        )
        for rollout in workspace.registry.rollouts.open()
        if rollout.held
    ]


def _serving(workspace: Workspace) -> list[Need]:
    """Versions that servers would not load, or not as they should: in Production, or with a share beside it."""
    from headrace.core.errors import DataError
    from headrace.operations.served_copies import check_copy
    from headrace.operations.serving import troubles
    from headrace.serving.manifest import FILE, read_manifest

    env, needs = workspace.environment.name, list[Need]()
    divided = set(workspace.registry.traffic.models())
    for model, champion in workspace.registry.in_stage("Production").items():
        split = workspace.registry.traffic.current(model) if model in divided else None
        file = workspace.home(model) / FILE
        for trouble in troubles(workspace.home(model)):
            if trouble.what == "log_dropped":
                what, again = f"a server of {model} cannot log what it answers", f"headrace run monitor --env {env}"
            elif trouble.what == "slow":
                what, again = (
                    f"a server of {model} is slower than declared",
                    f"headrace traffic show {model} --env {env}",
                )
            else:
                what = f"a server of {model} goes on with what it had before"
                again = f"headrace run deploy --model {model} --version {champion.version} --env {env}"
            needs.append(Need(what=what, since=trouble.since, reason=trouble.reason, next=again))
        roles = [(champion.version, "primary")]
        if split is not None:
            roles += [(each.version, "candidate") for each in split.candidates]
            roles += [(each.version, "shadow") for each in split.shadows]
        for number, role in roles:
            try:
                manifest = read_manifest(file)
                served = next((each for each in manifest.versions if (each.version, each.role) == (number, role)), None)
                named = ", ".join(f"version {each.version} as {each.role}" for each in manifest.versions)
                reason = "" if served else f"serving.json names {named}"
                if served is not None:
                    check_copy(file, manifest, served)
            except DataError as error:
                reason = error.what
            if reason:
                version = workspace.registry.get(model, number)
                again = f"headrace run deploy --model {model} --version {number} --env {env}"
                where = "is in Production" if role == "primary" else "has a share of the traffic"
                what = f"{version.name} {where} and cannot be served"
                needs.append(Need(what=what, since=version.created, reason=reason, next=again))
    return needs


def _skewed(workspace: Workspace) -> list[Need]:
    """Versions in Production that were last seen to be given other features than they were trained on."""
    from headrace.monitoring import skew

    env, needs = workspace.environment.name, list[Need]()
    if not workspace.lakehouse.exists(skew.TABLE, own=True):
        return []
    for model, version in workspace.registry.in_stage("Production").items():
        last = skew.last(workspace.lakehouse, model, version.version)
        if last is None or not last.skewed:
            continue
        worst = last.skewed[0]
        needs.append(
            Need(
                what=f"{version.name} is served other features than its tables hold: {worst.name}",
                since=last.since,
                reason=f"{worst.skewed} of {worst.rows} answers, as {worst.example}; {len(last.skewed)} features in all",
                next=f"headrace run publish --env {env}; headrace run monitor --model {model} --env {env}",
            )
        )
    return needs


def _channels(workspace: Workspace) -> list[Need]:
    """Those who are to be told of what happens, and could not be; servers of another machine are told there."""
    from headrace.core.events import is_projection
    from headrace.operations.sync import serving_here

    here = ("mlflow", serving_here(workspace))
    return [
        Need(
            what=f"{channel} could not be told of what happens",
            since=now(),
            reason=f"{error.rstrip('.')}; nothing is lost, it is tried again",
            next=f"headrace up --once --env {workspace.environment.name}",
        )
        for channel, error in workspace.outbox.stuck().items()
        if channel in here or not is_projection(channel)
    ]


def _dead_streams(streams: Iterable[StreamStatus], env: str) -> list[Need]:
    """Streams whose last worker ended without a word, and of which nobody took over."""
    alive = {stream.model for stream in streams if stream.status != "died"}
    dead = {stream.model: stream for stream in streams if stream.model not in alive}
    return [
        Need(
            what=f"the stream of {model} has no worker",
            since=stream.at,
            reason=f"its last one, {stream.host}:{stream.pid}, died; messages wait, and none is lost",
            next=f"headrace run stream --model {model} --env {env}",
        )
        for model, stream in dead.items()
    ]


def failed_runs(runs: Iterable[RunRecord], env: str) -> list[Need]:
    """Jobs whose last run did not come to its end, and was not acknowledged."""
    return [
        Need(
            what=f"{run.job} {run.status}",
            since=run.ended or run.started,
            reason=(run.error or "its process died").splitlines()[0],
            next=f"headrace runs logs {run.id} --env {env}",
        )
        for run in runs
        if run.status in ("failed", "interrupted") and run.acknowledged_by is None
    ]
