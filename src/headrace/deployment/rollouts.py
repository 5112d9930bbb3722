"""Rollouts: the next action, from what was observed, and its execution.

`decide` depends only on its arguments. `reconcile` executes its result in one transaction that names the step it
follows: any number of schedulers may call it, and if one dies, the next one continues.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from headrace.core.clock import now
from headrace.core.errors import ConflictError, DataError, HeadraceError, RefusedError
from headrace.core.failpoints import reach
from headrace.core.text import counted as many
from headrace.core.text import percent
from headrace.deployment import feedback_rules, holds, ratio, sequential, traffic_metrics
from headrace.deployment.declarations import ERROR_RATE, LATENCIES
from headrace.deployment.holds import Hold
from headrace.deployment.judgement import LIMIT_SCALE, Judgement, RuleResult, is_counted, is_of_labels, needed, rules
from headrace.deployment.outcome import Arms, main_metric
from headrace.deployment.serving_bundle import folder_name, is_whole
from headrace.features.plan import FeaturePlan
from headrace.serving.manifest import PACKAGE
from headrace.serving.traffic import USER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    import pandas as pd

    from headrace.deployment.traffic_metrics import AnsweredBy, Counted, Key
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.llm.feedback.declarations import Feedback
    from headrace.registry.records import Decision, RolloutPlan, RolloutState, TrafficSplit, Version
    from headrace.registry.registry import Registry
    from headrace.training.declarations import Model

ROLLOUT = "rollout"  # who does what no person does
LOOK = timedelta(minutes=1)  # between two looks at labels, which read the tables; also before each step
SKEW = timedelta(days=1)  # that a server's clock may be behind; which split it counted for is what tells
RATIO, EMPTY = "sample ratio", "empty answers"  # rules that every rollout has


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the next step of a rollout follows from.

    Attributes:
        requests: that the candidate answered in the step it is at.
        told: by each rule.
        expires: when the decision does.
        holds: rules that cannot be judged.
        won: why the candidate is better by the main metric; empty where there is none.
    """

    requests: int
    told: Sequence[RuleResult]
    expires: datetime
    holds: Sequence[Hold] = ()
    won: str = ""


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Nothing is to be done before that.

    Attributes:
        held: rules that cannot be judged, for which it waits.
    """

    until: datetime
    reason: str
    held: tuple[Hold, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Step:
    """The next share."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Promote:
    """Production."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Abort:
    """The share is taken away."""

    reason: str


Action = Wait | Step | Promote | Abort


def decide(rollout: RolloutState, facts: Facts, at: datetime) -> Action:
    """What comes next for a rollout that runs. A rule that fired comes before everything else."""
    fired = [told.explanation for told in facts.told if told.fired]
    if fired:
        return Abort(reason="; ".join(fired))
    if facts.expires <= at:
        return Abort(reason=f"its approval expired at {facts.expires:%Y-%m-%d %H:%M} UTC")
    over = rollout.step_started + timedelta(seconds=rollout.plan.every)
    answered = f"{facts.requests:,} of {many(rollout.plan.min_requests, 'request')}"
    held = tuple(hold for hold in facts.holds if not hold.at_the_end)
    if at < over:
        return _waits(over, f"at {percent(rollout.share)} until {over:%Y-%m-%d %H:%M:%S} UTC, {answered}", held)
    if facts.requests < rollout.plan.min_requests:
        return _waits(at, f"at {percent(rollout.share)}: {answered} in this step", held)
    held = tuple(facts.holds) if rollout.is_at_the_last_step else held
    if held:
        return _waits(at, f"at {percent(rollout.share)}", held)
    reason = f"{facts.requests:,} requests at {percent(rollout.share)} and no reason to stop"
    if facts.won and rollout.is_at_the_last_step:
        reason = f"{facts.won}; {reason}"
    return Promote(reason=reason) if rollout.is_at_the_last_step else Step(reason=reason)


def _waits(until: datetime, reason: str, held: Sequence[Hold]) -> Wait:
    waits = "; ".join([f"{reason}, held" if held else reason, *(hold.reason for hold in held)])
    return Wait(until=until, reason=waits, held=tuple(held))


def begin(
    registry: Registry, version: Version, decision: Decision, plan: RolloutPlan, *, home: Path, by: str, reason: str
) -> RolloutState:
    """Gives an approved version its first share. Called again while its rollout runs it gives that.

    Args:
        registry: which keeps it.
        version: that was approved for Production.
        decision: by which.
        plan: the steps.
        home: where servers of the model look.
        by: who begins it.
        reason: kept with the change.

    Raises:
        RefusedError: the version may not answer, another rollout runs, its copy is not whole, requests have no such columns,
            or the approval expires before the end.
        DataError: its artifact is not what was registered.
    """
    running = registry.rollouts.running(version.model)
    if running is None or running.decision != decision.id:
        check_copy(registry, version, home=home, columns=plan.by)
        if now() + timedelta(seconds=plan.every * len(plan.steps)) >= decision.expires:
            raise RefusedError(
                f"the rollout of {version.name} would outlast its approval, which expires at {decision.expires:%Y-%m-%d %H:%M} UTC.",
                hint=f"Ask again: headrace run deploy --model {version.model} --version {version.version}",
            )
        authorization = registry.authorization.decision(version)
        if authorization is None or authorization.id != decision.id:
            raise RefusedError(
                f"the decision on request {decision.request} is not one by which {version.name} can come to Production now.",
                hint=f"Ask again: headrace run deploy --model {version.model} --version {version.version}",
            )
    return registry.rollouts.begin(version, decision, plan, by=by, reason=reason)


def check_copy(registry: Registry, version: Version, *, home: Path, columns: Sequence[str] = ()) -> None:
    """Refuses a version that servers could not load, and columns that requests to it or to Production do not have.

    Raises:
        RefusedError: says which.
    """
    if not is_whole(home / folder_name(version), version):
        raise RefusedError(
            f"the copy of {version.name} that servers load is gone or was changed.",
            hint=f"It is made again on its way through the gates: headrace run deploy --model {version.model} --version {version.version}",
        )
    champion = registry.current(version.model, "Production")
    for each in (version, *([champion] if champion else [])):
        known = _asked_with(home / folder_name(each))
        if stray := [name for name in columns if name not in known]:
            raise RefusedError(
                f"requests to {each.name} have no column {stray[0]!r} to tell entities by.",
                hint=f"There is {', '.join(known)}.",
            )


def _asked_with(folder: Path) -> list[str]:
    """The columns that a request by key may have."""
    try:
        spec: dict[str, Any] = json.loads((folder / PACKAGE / "spec.json").read_text(encoding="utf-8"))
        kept: dict[str, Any] = spec["plan"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{str(folder)!r} holds no package that can be read: {error}.") from error
    plan = FeaturePlan.from_json(kept)
    looked_up = [name for lookup in plan.lookups for _, name in lookup.on]
    if spec.get("estimator") == "chain":  # a request by OpenAI's protocol may say who asks
        looked_up += [USER, *(column.name for column in plan.inputs)]
    return list(dict.fromkeys([*plan.keys, *plan.spine_columns, *looked_up]))


def outlook(
    registry: Registry, lakehouse: Lakehouse, rollout: RolloutState, at: datetime, *, judgement: Judgement | None = None
) -> str:
    """What a rollout waits for, in words: by what servers counted, and by a judgement; that of the last look unless given."""
    counts = since_it_began(registry, lakehouse, rollout)
    found = judgement or Judgement(holds=[Hold(rule=rule, reason=reason) for rule, reason in rollout.held.items()])
    told = [*by_counts(rollout, counts, _primary(registry, rollout)), *found.told]
    action = decide(rollout, _facts(registry, rollout, counts, told, found.holds), at)
    following = "Production" if rollout.is_at_the_last_step else percent(rollout.plan.steps[rollout.step + 1])
    if isinstance(action, Wait):
        return f"{action.reason}; then {following}"
    return f"to be stopped: {action.reason}" if isinstance(action, Abort) else f"{following} is due"


def reconcile(
    registry: Registry,
    lakehouse: Lakehouse,
    name: str,
    model: Model | None,
    *,
    feedback: Feedback | None = None,
    at: datetime,
    as_of: datetime,
) -> str | None:
    """Takes the next step of a model's rollout, if it is due; gives what was done, in words.

    Args:
        registry: which keeps it.
        lakehouse: where servers count, and answers and labels are.
        name: of the model.
        model: as declared now; without it a rollout with rules on its quality is held.
        feedback: as declared now; without it a rollout with rules on feedback is held.
        at: the present.
        as_of: labels known by then count.
    """
    rollout = registry.rollouts.running(name)
    if rollout is None:
        return None
    counts = since_it_began(registry, lakehouse, rollout)
    known = [
        Hold(rule=rule, reason=reason) for rule, reason in rollout.held.items()
    ]  # a rollout that is held waits until the next look
    told = by_counts(rollout, counts, _primary(registry, rollout))
    action = decide(rollout, _facts(registry, rollout, counts, told, known), at)
    late = rollout.checked is None or at - rollout.checked >= LOOK
    if not isinstance(action, Abort) and (late or not isinstance(action, Wait)):
        found = judge(registry, lakehouse, rollout, model, feedback=feedback, at=at, as_of=as_of)
        action = decide(rollout, _facts(registry, rollout, counts, found.told, found.holds, found.won), at)
        held = {hold.rule: hold.reason for hold in action.held} if isinstance(action, Wait) else {}
        registry.rollouts.checked(rollout, at, held)
    reach(f"rollout.reconciling:{name}")
    return _apply(registry, rollout, action)


def _apply(registry: Registry, rollout: RolloutState, action: Action) -> str | None:
    who = f"{rollout.model} version {rollout.version}"
    if isinstance(action, Step) and registry.rollouts.advance(rollout, by=ROLLOUT, reason=action.reason):
        return f"{who} comes to {percent(rollout.plan.steps[rollout.step + 1])}: {action.reason}"
    if isinstance(action, Abort) and registry.rollouts.stop(rollout, by=ROLLOUT, reason=action.reason):
        return f"the rollout of {who} was stopped at {percent(rollout.share)}: {action.reason}"
    if isinstance(action, Promote):
        version = registry.get(rollout.model, rollout.version)
        decision = registry.requests.decided(rollout.decision)
        try:
            registry.move(version, "Production", expect=version.stage, decision=decision, by=ROLLOUT)
        except ConflictError:
            return None  # another scheduler, or a person, was faster
        except (RefusedError, DataError) as error:
            stopped = registry.rollouts.stop(rollout, by=ROLLOUT, reason=error.what)
            return f"the rollout of {who} was stopped at its end: {error.what}" if stopped else None
        return f"{who} is in Production: {action.reason}"
    return None


def _facts(
    registry: Registry,
    rollout: RolloutState,
    counts: Mapping[Key, Counted],
    told: Sequence[RuleResult],
    holds: Sequence[Hold] = (),
    won: str = "",
) -> Facts:
    """Requests count in the step in which the share is what it is now, whatever else was changed of the split meanwhile."""
    splits = [
        each.id for each in registry.traffic.experiment(rollout.model) if each.at and each.at >= rollout.step_started
    ]
    answered = traffic_metrics.total(counts, rollout.version, "candidate", splits)
    expires = registry.requests.decided(rollout.decision).expires
    return Facts(requests=answered.requests, told=told, expires=expires, holds=holds, won=won)


def _primary(registry: Registry, rollout: RolloutState) -> int:
    primary = registry.traffic.current(rollout.model).primary
    return rollout.version if primary is None else primary  # without one the rollout has been ended


def since_it_began(registry: Registry, lakehouse: Lakehouse, rollout: RolloutState) -> dict[Key, Counted]:
    """What servers counted in the splits of a rollout."""
    splits = {each.id for each in _splits(registry, rollout)}
    found = traffic_metrics.counted(lakehouse, rollout.model, since=rollout.started - SKEW)
    return {key: count for key, count in found.items() if key.split in splits}


def _splits(registry: Registry, rollout: RolloutState) -> list[TrafficSplit]:
    return [each for each in registry.traffic.history(rollout.model) if each.at and each.at >= rollout.started]


def judge(
    registry: Registry,
    lakehouse: Lakehouse,
    rollout: RolloutState,
    model: Model | None,
    *,
    feedback: Feedback | None = None,
    at: datetime,
    as_of: datetime,
) -> Judgement:
    """Whether entities are divided as asked, what rules on quality and feedback say, and which rules cannot be judged.

    Args:
        registry: which keeps the rollout.
        lakehouse: where servers count, and answers, labels and feedback are.
        rollout: that runs.
        model: as declared now.
        feedback: as declared now.
        at: feedback given by then counts.
        as_of: labels known by then count.
    """
    primary, splits = _primary(registry, rollout), _splits(registry, rollout)
    off = [each for each in ratio.ratios(lakehouse, rollout.model, splits, since=rollout.started - SKEW) if each.is_off]
    told = [RuleResult(rule=RATIO, fired=True, explanation=each.explanation) for each in off]
    found = _unjudged_counts(rollout, since_it_began(registry, lakehouse, rollout), primary)
    judged: list[Judgement] = []
    if any(map(is_of_labels, rules(rollout.plan))):
        judged.append(_quality(lakehouse, rollout, splits, primary, model, as_of=as_of))
    arms = Arms(
        model=rollout.model,
        candidate=rollout.version,
        primary=primary,
        splits=tuple(each.id for each in splits),
        since=rollout.started - SKEW,
        until=at,
        entity=rollout.plan.by,
    )
    judged.append(feedback_rules.judge(lakehouse, arms, rollout.plan, feedback))
    if rollout.plan.metric is not None:
        judged.append(main_metric(lakehouse, arms, rollout.plan, model, feedback, as_of=as_of))
    told += [each for some in judged for each in some.told]
    found += [each for some in judged for each in some.holds]
    return Judgement(
        told=told,
        holds=[hold for hold in found if hold.rule not in rollout.waived],
        won="; ".join(some.won for some in judged if some.won),
    )


def _unjudged_counts(rollout: RolloutState, counts: Mapping[Key, Counted], primary: int) -> list[Hold]:
    """Rules on error rate and latency of which what servers counted says nothing."""
    mine, other = (
        traffic_metrics.total(counts, *who) for who in ((rollout.version, "candidate"), (primary, "primary"))
    )
    told = {each.rule for each in by_counts(rollout, counts, primary)}
    found: list[Hold] = []
    for rule in rules(rollout.plan):
        timed = rule.metric not in LATENCIES or mine.timed
        if is_counted(rule) and (rule.name not in told or not mine.requests or not timed):
            reason = f"servers counted {mine.requests:,} and {other.requests:,} requests"
            found.append(Hold(rule=rule.name, reason=f"{rule.name}: {reason}, which says nothing", at_the_end=True))
    return found


def _quality(
    lakehouse: Lakehouse,
    rollout: RolloutState,
    splits: Sequence[TrafficSplit],
    primary: int,
    model: Model | None,
    *,
    as_of: datetime,
) -> Judgement:
    """What the rules on labels say, and those that see none."""
    asked = [rule for rule in rules(rollout.plan) if is_of_labels(rule)]
    if model is None:
        reason = f"the project does not declare {rollout.model} any more"
        return Judgement(holds=[Hold(rule=rule.name, reason=f"{rule.name} cannot be told: {reason}") for rule in asked])
    known = model.known_metrics
    strange = [rule for rule in asked if rule.metric not in known]
    found = [
        Hold(
            rule=rule.name, reason=f"{rule.name} cannot be told: {rollout.model} is declared without such a metric now"
        )
        for rule in strange
    ]
    asked = [rule for rule in asked if rule not in strange]
    try:
        mine, other = _answers(lakehouse, rollout, splits, primary, model, as_of=as_of)
        told = (
            [] if mine is None or other is None else _compared(rollout, primary, model, mine.labelled, other.labelled)
        )
        reason = None if mine is None or other is None else holds.unseen(lakehouse, model, mine, other, as_of=as_of)
    except HeadraceError as error:  # labels that are none, a table without time: a person has to look
        found += [Hold(rule=rule.name, reason=f"{rule.name} cannot be told: {error.what}") for rule in asked]
        return Judgement(holds=found)
    said = {each.rule for each in told}
    if mine is not None and other is not None:
        nothing, answers, accepted = holds.empty(mine, other)
        fired = sequential.rate_above(nothing, answers, accepted) >= needed(rollout.plan)
        told.append(RuleResult(rule=EMPTY, fired=fired, explanation=f"{nothing:,} of {answers:,} answers are null"))
    for rule in asked:
        if reason is not None:
            found.append(Hold(rule=rule.name, reason=f"{rule.name}: {reason}"))
        elif rule.name not in said and (hold := holds.untold(rule, mine, other)) is not None:
            found.append(hold)
    return Judgement(told=told, holds=found)


def by_counts(rollout: RolloutState, counts: Mapping[Key, Counted], primary: int) -> list[RuleResult]:
    """What the rules on error rate and latency say."""
    mine = traffic_metrics.total(counts, rollout.version, "candidate")
    found: list[RuleResult] = []
    for rule in rules(rollout.plan):
        if rule.metric == ERROR_RATE and rule.above is not None:
            evidence = sequential.rate_above(mine.errors, mine.requests, rule.above)
            explanation = f"{mine.errors:,} of {mine.requests:,} requests failed; {percent(rule.above)} are accepted"
        elif rule.metric == ERROR_RATE and rule.worse_by is not None:
            gap = traffic_metrics.error_gap(counts, rollout.version, primary)
            if gap is None:
                continue
            evidence = sequential.worse(gap.value, gap.variance, margin=rule.worse_by, scale=rule.worse_by)
            explanation = (
                f"error_rate is {gap.value:+.4f} against version {primary}; {rule.worse_by:g} worse is accepted"
            )
        elif rule.metric in LATENCIES and rule.above is not None:
            slow, accepted = mine.slower_than(rule.above), 1 - LATENCIES[rule.metric]
            evidence = sequential.rate_above(slow, mine.timed, accepted)
            explanation = f"{slow:,} of {mine.timed:,} requests took over {1000 * rule.above:g} ms; {percent(accepted)} are accepted"
        else:
            continue
        found.append(
            RuleResult(
                rule=rule.name, fired=evidence >= needed(rollout.plan), explanation=f"{rule.name}: {explanation}"
            )
        )
    return found


def _answers(
    lakehouse: Lakehouse,
    rollout: RolloutState,
    splits: Sequence[TrafficSplit],
    primary: int,
    model: Model,
    *,
    as_of: datetime,
) -> tuple[AnsweredBy | None, AnsweredBy | None]:
    """What candidate and primary answered in the splits of a rollout."""
    wanted = {each.id for each in splits}
    common: dict[str, Any] = {"as_of": as_of, "since": rollout.started - SKEW, "entity": rollout.plan.by}
    mine = traffic_metrics.answered(lakehouse, model, rollout.version, role="candidate", **common)
    other = traffic_metrics.answered(lakehouse, model, primary, role="primary", **common)
    return (
        None if mine is None else mine.within(wanted),
        None if other is None else other.within(wanted),
    )


def _compared(
    rollout: RolloutState, primary: int, model: Model, mine: pd.DataFrame, other: pd.DataFrame
) -> list[RuleResult]:
    """What the rules on metrics of the model say, where labels are known."""
    found: list[RuleResult] = []
    for rule in rules(rollout.plan):
        if not is_of_labels(rule) or rule.metric not in model.known_metrics:
            continue
        sign = -1 if traffic_metrics.direction(model, rule.metric) == "maximize" else 1
        if rule.worse_by is not None:
            gap = traffic_metrics.gap(model, rule.metric, mine, other)
            if gap is None:
                continue
            worse, variance, margin, scale = sign * gap.value, gap.variance, rule.worse_by, rule.worse_by
            explanation = (
                f"{rule.metric} is {gap.value:+.4f} against version {primary}; {rule.worse_by:g} worse is accepted"
            )
        else:
            limit = rule.above if rule.above is not None else rule.below or 0.0
            estimate = traffic_metrics.estimate(model, rule.metric, mine)
            if estimate is None:
                continue
            worse, variance, margin = sign * (estimate.value - limit), estimate.variance, 0.0
            scale = abs(limit) * LIMIT_SCALE or LIMIT_SCALE
            explanation = (
                f"{rule.metric} is {estimate.value:.4f} on {estimate.rows:,} labelled rows; the limit is {limit:g}"
            )
        evidence = sequential.worse(worse, variance, margin=margin, scale=scale)
        found.append(
            RuleResult(
                rule=rule.name, fired=evidence >= needed(rollout.plan), explanation=f"{rule.name}: {explanation}"
            )
        )
    return found
