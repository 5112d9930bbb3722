"""`headrace traffic show|set|shadow|rollout|waive|stop|history|reconcile`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import click

from headrace.cli.commands import Commands
from headrace.cli.following import bring_along, tell_people
from headrace.cli.output import bold, emit, env_option, heading, json_option, put, say, show, table, wrong
from headrace.core.clock import instant
from headrace.core.errors import ConfigError, HeadraceError
from headrace.core.text import percent
from headrace.core.text import share as read_share

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.deployment.experiment import Arm, ComparedMetric, Experiment
    from headrace.deployment.ratio import Ratio
    from headrace.registry.records import RolloutState, TrafficSplit
    from headrace.training.declarations import Model
    from headrace.workspace.workspace import Workspace

reason_option = click.option("--reason", required=True, help="Kept with the change.")
expect_option = click.option(
    "--expect",
    type=click.IntRange(0),
    default=None,
    help="The change that this one follows; refused after another one.",
)


@click.group(name="traffic", cls=Commands)
def command() -> None:
    """Who answers the traffic of a model, and how versions compare."""


@command.command(name="show")
@click.argument("model")
@click.option("--since", type=instant, default=None, help="Look back to then; to the start of the split unless said.")
@env_option
@json_option
def show_(model: str, since: datetime | None, env: str | None, as_json: bool) -> None:
    """Each version with its share: requests, errors, latency, metrics, better or worse than Production."""
    from headrace.core.clock import now
    from headrace.deployment.experiment import experiment
    from headrace.deployment.rollouts import judge, outlook
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        registry, at = workspace.registry, now()
        declared, as_of = _declared(workspace, model)
        found = experiment(registry, workspace.lakehouse, model, declared, at=at, as_of=as_of or at, since=since)
        rollout = registry.rollouts.running(model)
        waits = None
        if rollout is not None:
            found_now = judge(registry, workspace.lakehouse, rollout, declared, as_of=as_of or at)
            waits = outlook(registry, workspace.lakehouse, rollout, at, judgement=found_now)
    if as_json:
        emit(
            {
                **_row(found.split),
                "since": found.since,
                "versions": [vars(each) for each in found.arms],
                "compared": [vars(each) for each in found.compared],
                "sample_ratio": [_ratio(each) for each in found.ratios],
                "rollout": _rollout(rollout, waits) if rollout else None,
            }
        )
        return
    _print(model, found, rollout, waits)


@command.command(name="set")
@click.argument("model")
@click.option("--candidate", "candidates", multiple=True, metavar="VERSION=SHARE", required=True, help="4=10%")
@click.option(
    "--by", "columns", multiple=True, help="Column of a request that names the entity; the decision's key unless said."
)
@reason_option
@expect_option
@env_option
@json_option
def set_(
    model: str,
    candidates: tuple[str, ...],
    columns: tuple[str, ...],
    reason: str,
    expect: int | None,
    env: str | None,
    as_json: bool,
) -> None:
    """Give candidates their shares of the entities; Production has the rest, who is not named has none."""
    from headrace.deployment import traffic
    from headrace.operations.policies import declare_for
    from headrace.workspace.workspace import open_workspace

    shares = _shares(candidates)
    with open_workspace(env) as workspace:
        declare_for(workspace, model, by=workspace.access.me().name)
        split = traffic.divide(
            workspace.registry,
            model,
            shares,
            columns=columns or None,
            home=workspace.home(model),
            expect=expect,
            identity=workspace.access.me(),
            reason=reason,
        )
        bring_along(workspace)
        _told(split, as_json=as_json)
        tell_people(workspace)


@command.command()
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@click.option("--share", default="100%", show_default=True, help="Of the requests; 0% ends it.")
@reason_option
@expect_option
@env_option
@json_option
def shadow(
    model: str, version: int, share: str, reason: str, expect: int | None, env: str | None, as_json: bool
) -> None:
    """Ask a version too; its answers are only logged."""
    from headrace.deployment import traffic
    from headrace.operations.policies import declare_for
    from headrace.workspace.workspace import open_workspace

    part = 0.0 if share.strip() in ("0", "0%") else read_share(share)
    with open_workspace(env) as workspace:
        declare_for(workspace, model, by=workspace.access.me().name)
        split = traffic.shadow(
            workspace.registry,
            model,
            version,
            part,
            home=workspace.home(model),
            expect=expect,
            identity=workspace.access.me(),
            reason=reason,
        )
        bring_along(workspace)
        _told(split, as_json=as_json)
        tell_people(workspace)


@command.command()
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@reason_option
@env_option
@json_option
def rollout(model: str, version: int, reason: str, env: str | None, as_json: bool) -> None:
    """Begin the rollout of a version that was approved for Production, also after it was stopped."""
    from headrace.access.rights import roles
    from headrace.core.errors import RefusedError
    from headrace.deployment import rollouts
    from headrace.operations.policies import declare_for
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        registry, me = workspace.registry, workspace.access.me()
        me.require(*roles("traffic rollout"), to=f"change the traffic of {model}")
        if not reason.strip():
            raise RefusedError("a rollout without a reason.", hint="Say why: --reason, for whoever reads the record.")
        found = registry.get(model, version)
        declare_for(workspace, model, by=me.name)
        decision = registry.traffic.authorization(found)
        plan = None if decision is None else registry.traffic.plan(decision)
        if decision is None or plan is None:
            raise RefusedError(
                f"{found.name} was not approved with a rollout.",
                hint="Declare one, hr.Deployment(…, rollout=hr.Rollout()), and ask again: headrace run deploy",
            )
        begun = rollouts.begin(registry, found, decision, plan, home=workspace.home(model), by=me.name, reason=reason)
        bring_along(workspace)
        if as_json:
            emit(_rollout(begun, None))
        else:
            say(f"{model} version {version} has {percent(begun.share)}. Next: {bold(f'headrace traffic show {model}')}")
        tell_people(workspace)


@command.command()
@click.argument("model")
@click.option("--rule", "rules", multiple=True, help="That holds the rollout; all of those unless said.")
@reason_option
@env_option
@json_option
def waive(model: str, rules: tuple[str, ...], reason: str, env: str | None, as_json: bool) -> None:
    """Let a rollout go on without a rule that nothing can be said of; it takes who could approve."""
    from headrace.deployment import traffic
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        held = traffic.waive(workspace.registry, model, rules, identity=workspace.access.me(), reason=reason)
    waived = rules or tuple(held.held)
    if as_json:
        emit({"rollout": held.id, "model": model, "version": held.version, "waived": list(waived)})
    else:
        say(
            f"{model} version {held.version} goes on without {', '.join(waived)}. Next: {bold('headrace traffic reconcile')}"
        )


@command.command()
@click.argument("model")
@reason_option
@env_option
@json_option
def stop(model: str, reason: str, env: str | None, as_json: bool) -> None:
    """All traffic to the version in Production at once: ends shares, shadows and a rollout."""
    from headrace.deployment import traffic
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        traffic.stop(workspace.registry, model, identity=workspace.access.me(), reason=reason)
        split = workspace.registry.traffic.current(model)
        bring_along(workspace)
        _told(split, as_json=as_json)
        tell_people(workspace)


@command.command()
@click.argument("model")
@env_option
@json_option
def history(model: str, env: str | None, as_json: bool) -> None:
    """Every change of the traffic and every rollout: when, by whom, why."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        changes = [_row(each) for each in workspace.registry.traffic.history(model)]
        rollouts = [_rollout(each, None) for each in reversed(workspace.registry.rollouts.list(model))]
    if as_json:
        emit({"changes": changes, "rollouts": rollouts})
        return
    rows = [{**each, **{name: _shown(each[name]) for name in ("candidates", "shadows")}} for each in changes]
    columns = ("at", "split", "primary", "candidates", "shadows", "changed_by", "reason")
    table(rows, columns, empty=f"the traffic of {model} has never been divided.")
    for each in rollouts:
        where = f"{each['status']} at {percent(float(str(each['share'])))}"
        put(f"rollout {each['rollout']} of version {each['version']}, {where}, by {each['by']}: {each['reason']}")


@command.command()
@env_option
@json_option
def reconcile(env: str | None, as_json: bool) -> None:
    """Take the steps of rollouts that are due, as each round of `headrace up` does."""
    from headrace.operations import scheduler
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        troubles = scheduler.tend(workspace)
        done, more = scheduler.rollouts(workspace)
        if as_json:
            emit({"done": done, "troubles": [*troubles, *more]})
        else:
            for line in done:
                say(line)
            for trouble in (*troubles, *more):
                wrong(trouble)
            if not done:
                say("no step of a rollout is due.")
        tell_people(workspace)


def _shares(given: tuple[str, ...]) -> dict[int, float]:
    found: dict[int, float] = {}
    for each in given:
        version, sign, text = each.partition("=")
        if not sign or not version.strip().isdecimal():
            raise ConfigError(f"{each!r} names no version and share.", hint="Write --candidate 4=10%")
        if int(version) in found:
            raise ConfigError(f"version {int(version)} has two shares.", hint="Write each version once.")
        found[int(version)] = read_share(text)
    return found


def _declared(workspace: Workspace, model: str) -> tuple[Model | None, datetime | None]:
    """The model as the project declares it; without its metrics the table is told too, when the project is broken."""
    from headrace.deployment.declarations import Deployment

    try:
        found = {each.name: each.model for each in workspace.project.all(Deployment)}
    except HeadraceError as error:
        wrong(f"without metrics: {error.what}")
        return None, None
    return found.get(model), workspace.project.as_of


def _told(split: TrafficSplit, *, as_json: bool) -> None:
    if as_json:
        emit(_row(split))
    else:
        say(f"{_said(split)}. Next: {bold(f'headrace traffic show {split.model}')}")


def _said(split: TrafficSplit) -> str:
    parts = [] if split.primary is None else [f"version {split.primary} answers {percent(split.primary_weight)}"]
    parts += [f"version {each.version} {percent(each.weight)}" for each in split.candidates]
    parts += [f"version {each.version} is asked {percent(each.weight)} as a shadow" for each in split.shadows]
    return f"{split.model}: {', '.join(parts) or 'nothing is in Production'}"


def _print(model: str, found: Experiment, rollout: RolloutState | None, waits: str | None) -> None:
    heading(f"{_said(found.split)}, since {show(found.since)}")
    if rollout is not None:
        put(f"  on a rollout, step {rollout.step + 1} of {len(rollout.plan.steps)}: {waits}")
    table([_arm(each) for each in found.arms], empty=f"nothing of {model} is in Production.")
    if found.compared:
        put()
        table([_compared(each) for each in found.compared])
    for each in found.ratios:
        _print_ratio(each)


def _print_ratio(found: Ratio) -> None:
    from headrace.deployment.ratio import HEAVY

    parts = ", ".join(f"version {part.version} {part.entities:,} ({percent(part.share)} asked)" for part in found.parts)
    if not found.entities:
        return
    if found.is_off:
        wrong(f"{found.says}: that is no chance, so no comparison can be believed.")
    else:
        put(f"  sample ratio in split {found.split}: {parts} of {found.entities:,} entities, as chance may have it")
    for part in found.parts:
        if part.heaviest >= HEAVY and part.entities > 1:
            say(
                f"one entity is {percent(round(part.heaviest, 3))} of the rows of version {part.version} in {found.split}"
            )


def _ratio(found: Ratio) -> dict[str, object]:
    return {
        "split": found.split,
        "versions": [vars(part) for part in found.parts],
        "entities": found.entities,
        "evidence": found.evidence,
        "needed": found.needed,
        "off": found.is_off,
    }


def _arm(arm: Arm) -> dict[str, object]:
    times = {name: _ms(getattr(arm, name)) for name in ("p50", "p95", "p99")}
    counts = {"requests": arm.requests, "rows": arm.rows, "error_rate": arm.error_rate}
    return {"version": arm.version, "role": arm.role, "share": percent(arm.share), **counts, **times}


def _ms(seconds: float | None) -> str | None:
    return None if seconds is None else f"{1000 * seconds:.3g} ms"


def _compared(each: ComparedMetric) -> dict[str, object]:
    return {
        "version": each.version,
        "role": each.role,
        "metric": each.metric,
        "known": each.labelled,
        "value": each.value,
        "interval": _interval(each.low, each.high),
        "to_production": each.difference,
        "between": _interval(each.difference_low, each.difference_high),
        "verdict": "" if each.role == "primary" else each.verdict,
    }


def _interval(low: float | None, high: float | None) -> str | None:
    if low is None or high is None or not math.isfinite(low + high):
        return None
    return f"{low:+.4f} to {high:+.4f}"


def _shown(shares: object) -> list[str]:
    kept = cast("dict[str, float]", shares)
    return [f"{version}={percent(weight)}" for version, weight in kept.items()]


def _row(split: TrafficSplit) -> dict[str, object]:
    return {
        "split": split.id if split.number else None,
        "number": split.number,
        "model": split.model,
        "primary": split.primary,
        "primary_share": split.primary_weight,
        "candidates": {str(each.version): each.weight for each in split.candidates},
        "shadows": {str(each.version): each.weight for each in split.shadows},
        "by": list(split.columns),
        "salt": split.salt,
        "at": split.at,
        "changed_by": split.by,
        "reason": split.reason,
    }


def _rollout(rollout: RolloutState, waits: str | None) -> dict[str, object]:
    return {
        "rollout": rollout.id,
        "version": rollout.version,
        "status": rollout.status,
        "step": rollout.step + 1,
        "steps": len(rollout.plan.steps),
        "share": rollout.share,
        "started": rollout.started,
        "ended": rollout.ended,
        "by": rollout.by,
        "reason": rollout.reason,
        "held": dict(rollout.held),
        "waived": {rule: dict(said) for rule, said in rollout.waived.items()},
        "waits": waits,
    }
