"""Traffic of a model: which versions answer, how they compare, and manual changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.access.rights import roles
from headrace.core.clock import now
from headrace.core.errors import HeadraceError, RefusedError
from headrace.deployment import rollouts, traffic
from headrace.deployment.declarations import Deployment
from headrace.deployment.experiment import experiment
from headrace.deployment.ratio import HEAVY
from headrace.deployment.rollouts import judge, outlook
from headrace.operations.operation import operation
from headrace.operations.policies import declare_for
from headrace.operations.reconcile import reconcile
from headrace.operations.record import Record
from headrace.operations.sync import bring_along, tell_people

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from headrace.deployment.experiment import Verdict
    from headrace.deployment.outcome import Outcome
    from headrace.deployment.ratio import Ratio
    from headrace.operations.reconcile import Reconciliation
    from headrace.registry.records import RolloutState, TrafficSplit
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class SplitReport(Record):
    """How the traffic of a model is divided, since a change of it.

    Attributes:
        split: its id, as the audit and the inference log name it; None before the first change.
        number: of the change; 0 before the first one.
        model: the model's name.
        primary: the version in Production; None when nothing is there.
        primary_share: what the candidates leave, between 0 and 1.
        candidates: version, as text → its share of the entities.
        shadows: version, as text → its share of the requests; its answers are only logged.
        by: columns of a request that name the entity; none for the key of the decision.
        salt: what entities are hashed with.
        at: when it was changed; None before the first change.
        changed_by: who changed it.
        reason: of the change.
    """

    split: str | None
    number: int
    model: str
    primary: int | None
    primary_share: float
    candidates: Mapping[str, float]
    shadows: Mapping[str, float]
    by: tuple[str, ...]
    salt: str
    at: datetime | None
    changed_by: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RolloutReport(Record):
    """A version on its way into Production, step by step.

    Attributes:
        rollout: its id.
        version: of the model.
        status: `running`; `done`: in Production; `stopped`: by a guardrail; `ended`: by a person, or because Production changed.
        step: where it is, from 1.
        steps: how many there are.
        share: of the entities, at that step, between 0 and 1.
        started: when it began.
        ended: when it ended; None while it runs.
        by: who began it, or changed it last.
        reason: why it is where it is.
        held: guardrail → why it could not be judged at the last look.
        waived: guardrail → who said, and why, that the rollout goes on without it.
        waits: what it waits for, for a person; None where that was not asked.
    """

    rollout: int
    version: int
    status: str
    step: int
    steps: int
    share: float
    started: datetime
    ended: datetime | None
    by: str
    reason: str
    held: Mapping[str, str]
    waived: Mapping[str, Mapping[str, str]]
    waits: str | None


@dataclass(frozen=True, kw_only=True)
class ArmReport(Record):
    """A version in a role.

    Attributes:
        version: of the model.
        role: `primary`, `candidate` or `shadow`.
        share: of the entities, a shadow's of the requests, between 0 and 1.
        requests: that it answered.
        rows: that it answered.
        error_rate: the share of its requests that failed; None without a request.
        p50: seconds, as `p95` and `p99`; None without a request.
    """

    version: int
    role: str
    share: float
    requests: int
    rows: int
    error_rate: float | None
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, kw_only=True)
class ComparedReport(Record):
    """A figure of a version beside that of the version in Production, in the same splits.

    Attributes:
        version: of the model.
        role: `primary`, `candidate` or `shadow`.
        metric: its name.
        value: of the version, in the metric's unit; None while it is not known.
        low: of its interval.
        high: of its interval.
        labelled: rows whose label is known; requests, for an error rate; what people said, for feedback.
        difference: to the version in Production, in the metric's unit.
        difference_low: of the interval around it.
        difference_high: of the interval around it.
        p_value: of the difference, valid however often one looks; None while too little is known.
        p_value_once: of the difference, for one look that was fixed beforehand; None while too little is known.
        verdict: `better`, `worse` or `undecided`.
    """

    version: int
    role: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    labelled: int
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p_value: float | None
    p_value_once: float | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class ShareReport(Record):
    """What a version got of a split.

    Attributes:
        version: of the model.
        share: that was declared, between 0 and 1.
        entities: that it answered.
        rows: that it answered.
        heaviest: the share of its rows that one entity has.
        is_heavy: whether that is so much that a comparison hangs on one entity.
    """

    version: int
    share: float
    entities: int
    rows: int
    heaviest: float
    is_heavy: bool


@dataclass(frozen=True, kw_only=True)
class RatioReport(Record):
    """Whether entities are divided as a split says.

    Attributes:
        split: its id.
        versions: what each got.
        entities: of all versions.
        evidence: against a division by chance.
        needed: evidence with which chance is ruled out.
        off: whether it is.
        explanation: one sentence for a person.
    """

    split: str
    versions: tuple[ShareReport, ...]
    entities: int
    evidence: float
    needed: float
    off: bool
    explanation: str


@dataclass(frozen=True, kw_only=True)
class OutcomeReport(Record):
    """Which of two versions is better by the main metric.

    Attributes:
        metric: its name, `feedback.thumbs` for example.
        candidate: the number of the version that has, or had, a share.
        primary: the number of the version that was in Production.
        winner: the number of the better version; None while that is undecided.
        requests: the number of those that either answered.
        known: the number of values that the comparison rests on.
        candidate_value: the metric of the candidate; None while too little is known.
        primary_value: the metric of the version in Production; None while too little is known.
        difference: candidate less Production, within each split; None while too little is known.
        p_value: valid however often one looks; None while too little is known.
        p_value_once: for one look that was fixed beforehand; None while too little is known.
        explanation: one sentence for a person.
    """

    metric: str
    candidate: int
    primary: int
    winner: int | None
    requests: int
    known: int
    candidate_value: float | None
    primary_value: float | None
    difference: float | None
    p_value: float | None
    p_value_once: float | None
    explanation: str


@dataclass(frozen=True, kw_only=True)
class TrafficReport(SplitReport):
    """Who answers, how they do, and how they compare.

    Attributes:
        since: from when requests count.
        versions: those that have a part of the traffic.
        compared: figures beside those of Production.
        sample_ratio: whether entities are divided as asked, in each split that divided any.
        rollout: that runs; None where none does.
        outcome: of the candidates of now by the main metric, or of the last rollout; None where there is nothing to compare.
        without_metrics: why metrics are left out; empty where they are not.
    """

    since: datetime
    versions: tuple[ArmReport, ...]
    compared: tuple[ComparedReport, ...]
    sample_ratio: tuple[RatioReport, ...]
    rollout: RolloutReport | None
    outcome: OutcomeReport | None
    without_metrics: str


@dataclass(frozen=True, kw_only=True)
class TrafficHistory(Record):
    """Every change of the traffic of a model.

    Attributes:
        changes: the latest first.
        rollouts: the oldest first.
    """

    changes: tuple[SplitReport, ...]
    rollouts: tuple[RolloutReport, ...]


@dataclass(frozen=True, kw_only=True)
class WaivedReport(Record):
    """Guardrails that a rollout goes on without.

    Attributes:
        rollout: its id.
        model: the model's name.
        version: of the model.
        waived: the guardrails.
    """

    rollout: int
    model: str
    version: int
    waived: tuple[str, ...]


@operation("traffic show", of="model")
def show_traffic(workspace: Workspace, model: str, *, since: datetime | None = None) -> TrafficReport:
    """Each version with its share: requests, errors, latency, metrics, better or worse than Production.

    Args:
        workspace: where.
        model: its name.
        since: from when requests count; None: since the split of now began.
    """
    registry, at = workspace.registry, now()
    deployment, as_of, without = _declared(workspace, model)
    declared = None if deployment is None else deployment.model
    feedback = None if deployment is None else deployment.feedback
    shown = experiment(
        registry,
        workspace.lakehouse,
        model,
        declared,
        feedback=feedback,
        metric=None if deployment is None or deployment.rollout is None else deployment.rollout.plan.metric,
        at=at,
        as_of=as_of or at,
        since=since,
    )
    running = registry.rollouts.running(model)
    waits = None
    if running is not None:
        judgement = judge(registry, workspace.lakehouse, running, declared, feedback=feedback, at=at, as_of=as_of or at)
        waits = outlook(registry, workspace.lakehouse, running, at, judgement=judgement)
    return TrafficReport(
        **vars(_split(shown.split)),
        since=shown.since,
        versions=tuple(ArmReport(**vars(arm)) for arm in shown.arms),
        compared=tuple(ComparedReport(**vars(figure)) for figure in shown.compared),
        sample_ratio=tuple(_ratio(each) for each in shown.ratios),
        rollout=None if running is None else _rollout(running, waits),
        outcome=None if shown.outcome is None else _outcome(shown.outcome),
        without_metrics=without,
    )


@operation("traffic set", of="model")
def set_traffic(
    workspace: Workspace,
    model: str,
    shares: Mapping[int, float],
    *,
    by: Sequence[str] | None = None,
    expect: int | None = None,
    reason: str,
) -> SplitReport:
    """Gives candidates their shares of the entities; Production has the rest, and who is not named has none.

    Args:
        workspace: where.
        model: its name.
        shares: version → share, between 0 and 1.
        by: columns of a request that name the entity; None: those of now.
        expect: the number of the change that this one follows; None: the latest.
        reason: kept with the change.

    Raises:
        RefusedError, NotFoundError, ConflictError: as `deployment.traffic.divide`.
    """
    me = workspace.access.me()
    declare_for(workspace, model, by=me.name)
    split = traffic.divide(
        workspace.registry,
        model,
        shares,
        columns=by,
        home=workspace.home(model),
        expect=expect,
        identity=me,
        reason=reason,
    )
    return _changed(workspace, split)


@operation("traffic shadow", of="model")
def shadow_traffic(
    workspace: Workspace, model: str, version: int, share: float, *, expect: int | None = None, reason: str
) -> SplitReport:
    """Asks a version too; its answers are only logged.

    Args:
        workspace: where.
        model: its name.
        version: that is asked.
        share: of the requests, between 0 and 1; 0 ends it.
        expect: the number of the change that this one follows; None: the latest.
        reason: kept with the change.
    """
    me = workspace.access.me()
    declare_for(workspace, model, by=me.name)
    split = traffic.shadow(
        workspace.registry,
        model,
        version,
        share,
        home=workspace.home(model),
        expect=expect,
        identity=me,
        reason=reason,
    )
    return _changed(workspace, split)


@operation("traffic rollout", of="model")
def begin_rollout(workspace: Workspace, model: str, version: int, *, reason: str) -> RolloutReport:
    """Begins the rollout of a version that was approved for Production, also after it was stopped.

    Args:
        workspace: where.
        model: its name.
        version: that was approved.
        reason: kept with the rollout.

    Raises:
        RefusedError: there is no reason, or it was not approved with a rollout.
    """
    registry, me = workspace.registry, workspace.access.me()
    me.require(*roles("traffic rollout"), to=f"change the traffic of {model}")
    if not reason.strip():
        raise RefusedError("a rollout without a reason.", hint="Say why: --reason, for whoever reads the record.")
    candidate = registry.get(model, version)
    declare_for(workspace, model, by=me.name)
    decision = registry.authorization.decision(candidate)
    plan = None if decision is None else registry.authorization.plan(decision)
    if decision is None or plan is None:
        raise RefusedError(
            f"{candidate.name} was not approved with a rollout.",
            hint="Declare one, hr.Deployment(…, rollout=hr.Rollout()), and ask again: headrace run deploy",
        )
    begun = rollouts.begin(registry, candidate, decision, plan, home=workspace.home(model), by=me.name, reason=reason)
    bring_along(workspace)
    tell_people(workspace)
    return _rollout(begun, None)


@operation("traffic waive", of="model")
def waive_guardrails(workspace: Workspace, model: str, rules: Sequence[str] = (), *, reason: str) -> WaivedReport:
    """Lets a rollout go on without a guardrail that nothing can be said of; it takes who could approve.

    Args:
        workspace: where.
        model: its name.
        rules: guardrails that hold the rollout; none for all of those.
        reason: kept with it.
    """
    held = traffic.waive(workspace.registry, model, tuple(rules), identity=workspace.access.me(), reason=reason)
    return WaivedReport(rollout=held.id, model=model, version=held.version, waived=tuple(rules) or tuple(held.held))


@operation("traffic stop", of="model")
def stop_traffic(workspace: Workspace, model: str, *, reason: str) -> SplitReport:
    """Sends all traffic to the version in Production at once: ends shares, shadows and a rollout.

    Args:
        workspace: where.
        model: its name.
        reason: kept with the change.
    """
    traffic.stop(workspace.registry, model, identity=workspace.access.me(), reason=reason)
    return _changed(workspace, workspace.registry.traffic.current(model))


@operation("traffic history", of="model")
def traffic_history(workspace: Workspace, model: str) -> TrafficHistory:
    """Every change of the traffic and every rollout: when, by whom, why."""
    registry = workspace.registry
    return TrafficHistory(
        changes=tuple(_split(split) for split in registry.traffic.history(model)),
        rollouts=tuple(_rollout(rollout, None) for rollout in reversed(registry.rollouts.list(model))),
    )


@operation("traffic reconcile")
def reconcile_traffic(workspace: Workspace) -> Reconciliation:
    """Takes the steps of rollouts that are due, as each round of `headrace up` does."""
    report = reconcile(workspace)
    tell_people(workspace)
    return report


def _changed(workspace: Workspace, split: TrafficSplit) -> SplitReport:
    bring_along(workspace)
    tell_people(workspace)
    return _split(split)


def _declared(workspace: Workspace, model: str) -> tuple[Deployment | None, datetime | None, str]:
    """The deployment as the project declares it, the project's moment, and why there is neither where the project is broken."""
    try:
        found = {deployment.name: deployment for deployment in workspace.project.all(Deployment)}
    except HeadraceError as error:
        return None, None, error.what
    return found.get(model), workspace.project.as_of, ""


def _split(split: TrafficSplit) -> SplitReport:
    return SplitReport(
        split=split.id if split.number else None,
        number=split.number,
        model=split.model,
        primary=split.primary,
        primary_share=split.primary_weight,
        candidates={str(share.version): share.weight for share in split.candidates},
        shadows={str(share.version): share.weight for share in split.shadows},
        by=split.columns,
        salt=split.salt,
        at=split.at,
        changed_by=split.by,
        reason=split.reason,
    )


def _rollout(rollout: RolloutState, waits: str | None) -> RolloutReport:
    return RolloutReport(
        rollout=rollout.id,
        version=rollout.version,
        status=rollout.status,
        step=rollout.step + 1,
        steps=len(rollout.plan.steps),
        share=rollout.share,
        started=rollout.started,
        ended=rollout.ended,
        by=rollout.by,
        reason=rollout.reason,
        held=dict(rollout.held),
        waived={rule: dict(waiver) for rule, waiver in rollout.waived.items()},
        waits=waits,
    )


def _outcome(outcome: Outcome) -> OutcomeReport:
    return OutcomeReport(**vars(outcome), explanation=outcome.explanation)


def _ratio(ratio: Ratio) -> RatioReport:
    parts = (ShareReport(**vars(part), is_heavy=part.heaviest >= HEAVY and part.entities > 1) for part in ratio.parts)
    return RatioReport(
        split=ratio.split,
        versions=tuple(parts),
        entities=ratio.entities,
        evidence=ratio.evidence,
        needed=ratio.needed,
        off=ratio.is_off,
        explanation=ratio.explanation,
    )
