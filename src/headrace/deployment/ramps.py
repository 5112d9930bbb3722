"""A version's way into Production: what comes next, from what was observed; and doing it.

`decide` is a function of what is known. `tend` does what it says, in one transaction that names the step it follows: any
number of schedulers may call it, and one that dies is followed by the next.
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
from headrace.deployment import holds, observed, ratio, sequential
from headrace.deployment.declarations import ERROR_RATE, LATENCIES, Stop
from headrace.deployment.holds import Hold
from headrace.deployment.staged import folder_name, is_whole
from headrace.features.plan import FeaturePlan
from headrace.serving.manifest import PACKAGE
from headrace.training.declarations import METRICS
from headrace.training.output import kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    import pandas as pd

    from headrace.deployment.observed import Answered, Counted, Key
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.registry.records import Decision, Ramp, RampPlan, Split, Version
    from headrace.registry.registry import Registry
    from headrace.training.declarations import Model

RAMP = "ramp"  # who does what no person does
LOOK = timedelta(minutes=1)  # between two looks at labels, which read the tables; also before each step
SKEW = timedelta(days=1)  # that a server's clock may be behind; which split it counted for is what tells
RATIO, EMPTY = "sample ratio", "empty answers"  # rules that every ramp has
LIMIT_SCALE = 0.05  # how far beyond a limit of a metric one reckons with, as a share of the limit


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a rule says of what was observed so far.

    Attributes:
        fired: whether chance can be ruled out.
        says: figures, for a person.
    """

    rule: str
    fired: bool
    says: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the next step of a ramp follows from.

    Attributes:
        requests: that the candidate answered in the step it is at.
        told: by each rule.
        expires: when the decision does.
        holds: rules that cannot be judged.
    """

    requests: int
    told: Sequence[Told]
    expires: datetime
    holds: Sequence[Hold] = ()


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Nothing is to be done before that.

    Attributes:
        held: rules that cannot be judged, for which it waits.
    """

    until: datetime
    why: str
    held: tuple[Hold, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Step:
    """The next share."""

    why: str


@dataclass(frozen=True, kw_only=True)
class Finish:
    """Production."""

    why: str


@dataclass(frozen=True, kw_only=True)
class End:
    """The share is taken away."""

    why: str


Action = Wait | Step | Finish | End


def decide(ramp: Ramp, facts: Facts, at: datetime) -> Action:
    """What comes next for a ramp that runs. A rule that fired comes before everything else."""
    fired = [told.says for told in facts.told if told.fired]
    if fired:
        return End(why="; ".join(fired))
    if facts.expires <= at:
        return End(why=f"its approval expired at {facts.expires:%Y-%m-%d %H:%M} UTC")
    over = ramp.step_began + timedelta(seconds=ramp.plan.every)
    answered = f"{facts.requests:,} of {many(ramp.plan.min_requests, 'request')}"
    held = tuple(hold for hold in facts.holds if not hold.at_the_end)
    if at < over:
        return _waits(over, f"at {percent(ramp.share)} until {over:%Y-%m-%d %H:%M:%S} UTC, {answered}", held)
    if facts.requests < ramp.plan.min_requests:
        return _waits(at, f"at {percent(ramp.share)}: {answered} in this step", held)
    held = tuple(facts.holds) if ramp.is_at_the_last_step else held
    if held:
        return _waits(at, f"at {percent(ramp.share)}", held)
    why = f"{facts.requests:,} requests at {percent(ramp.share)} and no reason to stop"
    return Finish(why=why) if ramp.is_at_the_last_step else Step(why=why)


def _waits(until: datetime, why: str, held: Sequence[Hold]) -> Wait:
    waits = "; ".join([f"{why}, held" if held else why, *(hold.why for hold in held)])
    return Wait(until=until, why=waits, held=tuple(held))


def begin(
    registry: Registry, version: Version, decision: Decision, plan: RampPlan, *, home: Path, by: str, why: str
) -> Ramp:
    """Gives an approved version its first share. Called again while its ramp runs it gives that.

    Args:
        registry: which keeps it.
        version: that was approved for Production.
        decision: by which.
        plan: the steps.
        home: where servers of the model look.
        by: who begins it.
        why: kept with the change.

    Raises:
        RefusedError: the version may not answer, another ramp runs, its copy is not whole, requests have no such columns,
            or the approval expires before the end.
        DataError: its artifact is not what was registered.
    """
    running = registry.ramps.running(version.model)
    if running is None or running.decision != decision.id:
        check_copy(registry, version, home=home, columns=plan.by)
        if now() + timedelta(seconds=plan.every * len(plan.steps)) >= decision.expires:
            raise RefusedError(
                f"the ramp of {version.name} would outlast its approval, which expires at {decision.expires:%Y-%m-%d %H:%M} UTC.",
                hint=f"Ask again: headrace run deploy --model {version.model} --version {version.version}",
            )
        licence = registry.traffic.licence(version)
        if licence is None or licence.id != decision.id:
            raise RefusedError(
                f"the decision on request {decision.request} is not one by which {version.name} can come to Production now.",
                hint=f"Ask again: headrace run deploy --model {version.model} --version {version.version}",
            )
    return registry.ramps.begin(version, decision, plan, by=by, why=why)


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
        kept: dict[str, Any] = json.loads((folder / PACKAGE / "spec.json").read_text(encoding="utf-8"))["plan"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{str(folder)!r} holds no package that can be read: {error}.") from error
    plan = FeaturePlan.from_json(kept)
    looked_up = [name for lookup in plan.lookups for _, name in lookup.on]
    return list(dict.fromkeys([*plan.keys, *plan.spine_columns, *looked_up]))


def outlook(
    registry: Registry, lakehouse: Lakehouse, ramp: Ramp, at: datetime, *, judgement: Judgement | None = None
) -> str:
    """What a ramp waits for, in words: by what servers counted, and by a judgement; that of the last look unless given."""
    counts = since_it_began(registry, lakehouse, ramp)
    found = judgement or Judgement(holds=[Hold(rule=rule, why=why) for rule, why in ramp.held.items()])
    told = [*by_counts(ramp, counts, _primary(registry, ramp)), *found.told]
    action = decide(ramp, _facts(registry, ramp, counts, told, found.holds), at)
    following = "Production" if ramp.is_at_the_last_step else percent(ramp.plan.steps[ramp.step + 1])
    if isinstance(action, Wait):
        return f"{action.why}; then {following}"
    return f"to be stopped: {action.why}" if isinstance(action, End) else f"{following} is due"


def tend(
    registry: Registry, lakehouse: Lakehouse, name: str, model: Model | None, *, at: datetime, as_of: datetime
) -> str | None:
    """Takes the next step of a model's ramp, if it is due; gives what was done, in words.

    Args:
        registry: which keeps it.
        lakehouse: where servers count, and answers and labels are.
        name: of the model.
        model: as declared now; without it a ramp with rules on its quality is held.
        at: the present.
        as_of: labels known by then count.
    """
    ramp = registry.ramps.running(name)
    if ramp is None:
        return None
    counts = since_it_began(registry, lakehouse, ramp)
    known = [
        Hold(rule=rule, why=why) for rule, why in ramp.held.items()
    ]  # a ramp that is held waits until the next look
    told = by_counts(ramp, counts, _primary(registry, ramp))
    action = decide(ramp, _facts(registry, ramp, counts, told, known), at)
    late = ramp.looked is None or at - ramp.looked >= LOOK
    if not isinstance(action, End) and (late or not isinstance(action, Wait)):
        found = judge(registry, lakehouse, ramp, model, as_of=as_of)
        action = decide(ramp, _facts(registry, ramp, counts, found.told, found.holds), at)
        held = {hold.rule: hold.why for hold in action.held} if isinstance(action, Wait) else {}
        registry.ramps.looked(ramp, at, held)
    reach(f"ramp.tending:{name}")
    return _apply(registry, ramp, action)


def _apply(registry: Registry, ramp: Ramp, action: Action) -> str | None:
    who = f"{ramp.model} version {ramp.version}"
    if isinstance(action, Step) and registry.ramps.advance(ramp, by=RAMP, why=action.why):
        return f"{who} comes to {percent(ramp.plan.steps[ramp.step + 1])}: {action.why}"
    if isinstance(action, End) and registry.ramps.stop(ramp, by=RAMP, why=action.why):
        return f"the ramp of {who} was stopped at {percent(ramp.share)}: {action.why}"
    if isinstance(action, Finish):
        version = registry.get(ramp.model, ramp.version)
        decision = registry.requests.decided(ramp.decision)
        try:
            registry.move(version, "Production", expect=version.stage, decision=decision, by=RAMP)
        except ConflictError:
            return None  # another scheduler, or a person, was faster
        except (RefusedError, DataError) as error:
            stopped = registry.ramps.stop(ramp, by=RAMP, why=error.what)
            return f"the ramp of {who} was stopped at its end: {error.what}" if stopped else None
        return f"{who} is in Production: {action.why}"
    return None


def _facts(
    registry: Registry, ramp: Ramp, counts: Mapping[Key, Counted], told: Sequence[Told], holds: Sequence[Hold] = ()
) -> Facts:
    """Requests count in the step in which the share is what it is now, whatever else was changed of the split meanwhile."""
    splits = [each.id for each in registry.traffic.experiment(ramp.model) if each.at and each.at >= ramp.step_began]
    answered = observed.total(counts, ramp.version, "candidate", splits)
    expires = registry.requests.decided(ramp.decision).expires
    return Facts(requests=answered.requests, told=told, expires=expires, holds=holds)


def _primary(registry: Registry, ramp: Ramp) -> int:
    primary = registry.traffic.current(ramp.model).primary
    return ramp.version if primary is None else primary  # without one the ramp has been ended


def since_it_began(registry: Registry, lakehouse: Lakehouse, ramp: Ramp) -> dict[Key, Counted]:
    """What servers counted in the splits of a ramp."""
    splits = {each.id for each in _splits(registry, ramp)}
    found = observed.counted(lakehouse, ramp.model, since=ramp.began - SKEW)
    return {key: count for key, count in found.items() if key.split in splits}


def _splits(registry: Registry, ramp: Ramp) -> list[Split]:
    return [each for each in registry.traffic.history(ramp.model) if each.at and each.at >= ramp.began]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the log and the labels say of a ramp."""

    told: Sequence[Told] = ()
    holds: Sequence[Hold] = ()


def judge(registry: Registry, lakehouse: Lakehouse, ramp: Ramp, model: Model | None, *, as_of: datetime) -> Judgement:
    """Whether entities are divided as asked, what rules on quality say, and which rules cannot be judged.

    Args:
        registry: which keeps the ramp.
        lakehouse: where servers count, and answers and labels are.
        ramp: that runs.
        model: as declared now.
        as_of: labels known by then count.
    """
    primary, splits = _primary(registry, ramp), _splits(registry, ramp)
    off = [each for each in ratio.ratios(lakehouse, ramp.model, splits, since=ramp.began - SKEW) if each.is_off]
    told = [Told(rule=RATIO, fired=True, says=each.says) for each in off]
    found = _unjudged_counts(ramp, since_it_began(registry, lakehouse, ramp), primary)
    if has_quality(ramp.plan):
        quality = _quality(lakehouse, ramp, splits, primary, model, as_of=as_of)
        told += quality.told
        found += quality.holds
    return Judgement(told=told, holds=[hold for hold in found if hold.rule not in ramp.waived])


def _unjudged_counts(ramp: Ramp, counts: Mapping[Key, Counted], primary: int) -> list[Hold]:
    """Rules on error rate and latency of which what servers counted says nothing."""
    mine, other = (observed.total(counts, *who) for who in ((ramp.version, "candidate"), (primary, "primary")))
    told = {each.rule for each in by_counts(ramp, counts, primary)}
    found: list[Hold] = []
    for rule in rules(ramp.plan):
        timed = rule.metric not in LATENCIES or mine.timed
        if not _is_of_labels(rule) and (rule.name not in told or not mine.requests or not timed):
            why = f"servers counted {mine.requests:,} and {other.requests:,} requests"
            found.append(Hold(rule=rule.name, why=f"{rule.name}: {why}, which says nothing", at_the_end=True))
    return found


def _quality(
    lakehouse: Lakehouse, ramp: Ramp, splits: Sequence[Split], primary: int, model: Model | None, *, as_of: datetime
) -> Judgement:
    """What the rules on labels say, and those that see none."""
    asked = [rule for rule in rules(ramp.plan) if _is_of_labels(rule)]
    if model is None:
        why = f"the project does not declare {ramp.model} any more"
        return Judgement(holds=[Hold(rule=rule.name, why=f"{rule.name} cannot be told: {why}") for rule in asked])
    known = METRICS[kind(model.task)]
    strange = [rule for rule in asked if rule.metric not in known]
    found = [
        Hold(rule=rule.name, why=f"{rule.name} cannot be told: {ramp.model} is declared without such a metric now")
        for rule in strange
    ]
    asked = [rule for rule in asked if rule not in strange]
    try:
        mine, other = _answers(lakehouse, ramp, splits, primary, model, as_of=as_of)
        told = [] if mine is None or other is None else _compared(ramp, primary, model, mine.labelled, other.labelled)
        why = None if mine is None or other is None else holds.unseen(lakehouse, model, mine, other, as_of=as_of)
    except HeadraceError as error:  # labels that are none, a table without time: a person has to look
        found += [Hold(rule=rule.name, why=f"{rule.name} cannot be told: {error.what}") for rule in asked]
        return Judgement(holds=found)
    said = {each.rule for each in told}
    if mine is not None and other is not None:
        nothing, answers, accepted = holds.empty(mine, other)
        fired = sequential.rate_above(nothing, answers, accepted) >= _needed(ramp.plan)
        told.append(Told(rule=EMPTY, fired=fired, says=f"{nothing:,} of {answers:,} answers are null"))
    for rule in asked:
        if why is not None:
            found.append(Hold(rule=rule.name, why=f"{rule.name}: {why}"))
        elif rule.name not in said and (hold := holds.untold(rule, mine, other)) is not None:
            found.append(hold)
    return Judgement(told=told, holds=found)


def has_quality(plan: RampPlan) -> bool:
    """Whether a rule needs labels."""
    return any(map(_is_of_labels, rules(plan)))


def _is_of_labels(rule: Stop) -> bool:
    return rule.metric != ERROR_RATE and rule.metric not in LATENCIES


def rules(plan: RampPlan) -> list[Stop]:
    """As they were declared."""
    return [Stop(**each) for each in plan.stop]  # pyright: ignore[reportArgumentType]


def _needed(plan: RampPlan) -> float:
    """The rules share alpha: that any of them fires without reason is at most that probable (Bonferroni)."""
    return sequential.needed(plan.alpha / max(len(plan.stop), 1))


def by_counts(ramp: Ramp, counts: Mapping[Key, Counted], primary: int) -> list[Told]:
    """What the rules on error rate and latency say."""
    mine = observed.total(counts, ramp.version, "candidate")
    found: list[Told] = []
    for rule in rules(ramp.plan):
        if rule.metric == ERROR_RATE and rule.above is not None:
            evidence = sequential.rate_above(mine.errors, mine.requests, rule.above)
            says = f"{mine.errors:,} of {mine.requests:,} requests failed; {percent(rule.above)} are accepted"
        elif rule.metric == ERROR_RATE and rule.worse_by is not None:
            gap = observed.error_gap(counts, ramp.version, primary)
            if gap is None:
                continue
            evidence = sequential.worse(gap.value, gap.variance, margin=rule.worse_by, scale=rule.worse_by)
            says = f"error_rate is {gap.value:+.4f} against version {primary}; {rule.worse_by:g} worse is accepted"
        elif rule.metric in LATENCIES and rule.above is not None:
            slow, accepted = mine.slower_than(rule.above), 1 - LATENCIES[rule.metric]
            evidence = sequential.rate_above(slow, mine.timed, accepted)
            says = f"{slow:,} of {mine.timed:,} requests took over {1000 * rule.above:g} ms; {percent(accepted)} are accepted"
        else:
            continue
        found.append(Told(rule=rule.name, fired=evidence >= _needed(ramp.plan), says=f"{rule.name}: {says}"))
    return found


def _answers(
    lakehouse: Lakehouse, ramp: Ramp, splits: Sequence[Split], primary: int, model: Model, *, as_of: datetime
) -> tuple[Answered | None, Answered | None]:
    """What candidate and primary answered in the splits of a ramp."""
    wanted = {each.id for each in splits}
    common: dict[str, Any] = {"as_of": as_of, "since": ramp.began - SKEW, "entity": ramp.plan.by}
    mine = observed.answered(lakehouse, model, ramp.version, role="candidate", **common)
    other = observed.answered(lakehouse, model, primary, role="primary", **common)
    return (
        None if mine is None else mine.within(wanted),
        None if other is None else other.within(wanted),
    )


def _compared(ramp: Ramp, primary: int, model: Model, mine: pd.DataFrame, other: pd.DataFrame) -> list[Told]:
    """What the rules on metrics of the model say, where labels are known."""
    found: list[Told] = []
    for rule in rules(ramp.plan):
        if not _is_of_labels(rule) or rule.metric not in METRICS[kind(model.task)]:
            continue
        sign = -1 if observed.direction(model, rule.metric) == "maximize" else 1
        if rule.worse_by is not None:
            gap = observed.gap(model, rule.metric, mine, other)
            if gap is None:
                continue
            worse, variance, margin, scale = sign * gap.value, gap.variance, rule.worse_by, rule.worse_by
            says = f"{rule.metric} is {gap.value:+.4f} against version {primary}; {rule.worse_by:g} worse is accepted"
        else:
            limit = rule.above if rule.above is not None else rule.below or 0.0
            estimate = observed.estimate(model, rule.metric, mine)
            if estimate is None:
                continue
            worse, variance, margin = sign * (estimate.value - limit), estimate.variance, 0.0
            scale = abs(limit) * LIMIT_SCALE or LIMIT_SCALE
            says = f"{rule.metric} is {estimate.value:.4f} on {estimate.rows:,} labelled rows; the limit is {limit:g}"
        evidence = sequential.worse(worse, variance, margin=margin, scale=scale)
        found.append(Told(rule=rule.name, fired=evidence >= _needed(ramp.plan), says=f"{rule.name}: {says}"))
    return found
