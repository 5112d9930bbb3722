"""`headrace traffic show|set|shadow|rollout|waive|stop|history|reconcile`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.output import bold, emit, env_option, heading, json_option, put, say, show, table, wrong
from headrace.core.clock import instant
from headrace.core.errors import ConfigError
from headrace.core.text import counted, percent
from headrace.core.text import share as read_share
from headrace.operations.operation import At

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from headrace.operations.traffic import ArmReport, ComparedReport, RatioReport, SplitReport, TrafficReport

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
@click.option("--since", type=instant, default=None, help="Look back to then; default: to the start of the split.")
@env_option
@json_option
def show_(model: str, since: datetime | None, env: str | None, as_json: bool) -> None:
    """Each version with its share: requests, errors, latency, metrics, better or worse than Production."""
    from headrace.operations import traffic

    shown = traffic.show_traffic(At(env=env), model, since=since)
    if shown.without_metrics:
        wrong(f"without metrics: {shown.without_metrics}")
    if as_json:
        emit(shown)
    else:
        _print(shown)


@command.command(name="set")
@click.argument("model")
@click.option("--candidate", "candidates", multiple=True, metavar="VERSION=SHARE", required=True, help="4=10%")
@click.option(
    "--by", "columns", multiple=True, help="Column of a request that names the entity; default: the decision's key."
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
    from headrace.operations import traffic

    shares = _shares(candidates)
    split = traffic.set_traffic(At(env=env), model, shares, by=columns or None, expect=expect, reason=reason)
    _changed(split, as_json=as_json)


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
    from headrace.operations import traffic

    part = 0.0 if share.strip() in ("0", "0%") else read_share(share)
    split = traffic.shadow_traffic(At(env=env), model, version, part, expect=expect, reason=reason)
    _changed(split, as_json=as_json)


@command.command()
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@reason_option
@env_option
@json_option
def rollout(model: str, version: int, reason: str, env: str | None, as_json: bool) -> None:
    """Begin the rollout of a version that was approved for Production, also after it was stopped."""
    from headrace.operations import traffic

    begun = traffic.begin_rollout(At(env=env), model, version, reason=reason)
    if as_json:
        emit(begun)
    else:
        say(f"{model} version {version} has {percent(begun.share)}. Next: {bold(f'headrace traffic show {model}')}")


@command.command()
@click.argument("model")
@click.option("--rule", "rules", multiple=True, help="That holds the rollout; default: all of those.")
@reason_option
@env_option
@json_option
def waive(model: str, rules: tuple[str, ...], reason: str, env: str | None, as_json: bool) -> None:
    """Let a rollout go on without a rule that nothing can be said of; it takes who could approve."""
    from headrace.operations import traffic

    waived = traffic.waive_guardrails(At(env=env), model, rules, reason=reason)
    if as_json:
        emit(waived)
    else:
        without = ", ".join(waived.waived)
        say(f"{model} version {waived.version} goes on without {without}. Next: {bold('headrace traffic reconcile')}")


@command.command()
@click.argument("model")
@reason_option
@env_option
@json_option
def stop(model: str, reason: str, env: str | None, as_json: bool) -> None:
    """All traffic to the version in Production at once: ends shares, shadows and a rollout."""
    from headrace.operations import traffic

    _changed(traffic.stop_traffic(At(env=env), model, reason=reason), as_json=as_json)


@command.command()
@click.argument("model")
@env_option
@json_option
def history(model: str, env: str | None, as_json: bool) -> None:
    """Every change of the traffic and every rollout: when, by whom, why."""
    from headrace.operations import traffic

    past = traffic.traffic_history(At(env=env), model)
    if as_json:
        emit(past)
        return
    rows = [
        {**vars(each), "candidates": _shown(each.candidates), "shadows": _shown(each.shadows)} for each in past.changes
    ]
    columns = ("at", "split", "primary", "candidates", "shadows", "changed_by", "reason")
    table(rows, columns, empty=f"the traffic of {model} has never been divided.")
    for each in past.rollouts:
        where = f"{each.status} at {percent(each.share)}"
        put(f"rollout {each.rollout} of version {each.version}, {where}, by {each.by}: {each.reason}")


@command.command()
@env_option
@json_option
def reconcile(env: str | None, as_json: bool) -> None:
    """Take the steps of rollouts that are due, as each round of `headrace up` does."""
    from headrace.operations import traffic

    looked = traffic.reconcile_traffic(At(env=env))
    if as_json:
        emit(looked)
        return
    for line in looked.done:
        say(line)
    for trouble in looked.troubles:
        wrong(trouble)
    if not looked.done:
        say("no step of a rollout is due.")


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


def _changed(split: SplitReport, *, as_json: bool) -> None:
    if as_json:
        emit(split)
    else:
        say(f"{_sentence(split)}. Next: {bold(f'headrace traffic show {split.model}')}")


def _sentence(split: SplitReport) -> str:
    parts = [] if split.primary is None else [f"version {split.primary} answers {percent(split.primary_share)}"]
    parts += [f"version {version} {percent(weight)}" for version, weight in split.candidates.items()]
    parts += [f"version {version} is asked {percent(weight)} as a shadow" for version, weight in split.shadows.items()]
    return f"{split.model}: {', '.join(parts) or 'nothing is in Production'}"


def _print(shown: TrafficReport) -> None:
    heading(f"{_sentence(shown)}, since {show(shown.since)}")
    rollout = shown.rollout
    if rollout is not None:
        put(f"  on a rollout, step {rollout.step} of {rollout.steps}: {rollout.waits}")
    table([_arm(each) for each in shown.versions], empty=f"nothing of {shown.model} is in Production.")
    if shown.compared:
        put()
        table([_compared(each) for each in shown.compared])
    if shown.outcome is not None:
        put(f"  {shown.outcome.explanation}, by {counted(shown.outcome.requests, 'request')}")
    for each in shown.sample_ratio:
        _print_ratio(each)


def _print_ratio(ratio: RatioReport) -> None:
    parts = ", ".join(
        f"version {part.version} {part.entities:,} ({percent(part.share)} asked)" for part in ratio.versions
    )
    if not ratio.entities:
        return
    if ratio.off:
        wrong(f"{ratio.explanation}: that is no chance, so no comparison can be believed.")
    else:
        put(f"  sample ratio in split {ratio.split}: {parts} of {ratio.entities:,} entities, as chance may have it")
    for part in ratio.versions:
        if part.is_heavy:
            heavy = percent(round(part.heaviest, 3))
            say(f"one entity is {heavy} of the rows of version {part.version} in {ratio.split}")


def _arm(arm: ArmReport) -> dict[str, object]:
    times = {name: _ms(getattr(arm, name)) for name in ("p50", "p95", "p99")}
    counts = {"requests": arm.requests, "rows": arm.rows, "error_rate": arm.error_rate}
    return {"version": arm.version, "role": arm.role, "share": percent(arm.share), **counts, **times}


def _ms(seconds: float | None) -> str | None:
    return None if seconds is None else f"{1000 * seconds:.3g} ms"


def _compared(each: ComparedReport) -> dict[str, object]:
    return {
        "version": each.version,
        "role": each.role,
        "metric": each.metric,
        "known": each.labelled,
        "value": each.value,
        "interval": _interval(each.low, each.high),
        "to_production": each.difference,
        "between": _interval(each.difference_low, each.difference_high),
        "p_value": None if each.p_value is None else f"{each.p_value:.2g}",
        "verdict": "" if each.role == "primary" else each.verdict,
    }


def _interval(low: float | None, high: float | None) -> str | None:
    if low is None or high is None or not math.isfinite(low + high):
        return None
    return f"{low:+.4f} to {high:+.4f}"


def _shown(shares: Mapping[str, float]) -> list[str]:
    return [f"{version}={percent(weight)}" for version, weight in shares.items()]
