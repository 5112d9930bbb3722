"""`headrace apply`, and what it shares with `headrace release rollback`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from headrace.cli.output import ask, confirm, emit, env_option, json_option, say
from headrace.cli.pipeline_story import PipelineStory, release_option
from headrace.core.errors import RefusedError

if TYPE_CHECKING:
    from headrace.operations.release.apply import ApplyReport
    from headrace.operations.release.plan import PlanReport


@click.command(name="apply")
@env_option
@release_option
@click.option("--remove", is_flag=True, help="Take away what is no longer declared; an admin's.")
@click.option("--yes", is_flag=True, help="Without asking.")
@json_option
@click.pass_context
def command(ctx: click.Context, env: str | None, release: str | None, remove: bool, yes: bool, as_json: bool) -> None:
    """Bring an environment to what the code declares: what a plan shows is done, and nothing else.

    Stopped at any moment, the same command goes on with the next action. From then on the environment runs this code.
    """
    from headrace.operations.operation import At
    from headrace.operations.release.apply import apply_release
    from headrace.operations.release.plan import applying

    story = PipelineStory("apply", as_json=as_json)
    done = apply_release(
        applying(At(env=env, release=release)),
        remove=remove,
        confirm=None if yes or as_json else _asked,
        listen=story.tell,
        begin=story.announce,
    )
    ctx.exit(finish(done, as_json=as_json))


def _asked(plan: PlanReport) -> None:
    asked(plan, again=f"headrace apply --env {plan.env} --yes")


def asked(plan: PlanReport, *, again: str) -> None:
    """Shows a plan, and asks a person to go on.

    Raises:
        RefusedError: nobody can be asked, or the person declines.
    """
    from headrace.cli.plan import show

    show(plan)
    if not plan.changes and not plan.actions:
        return
    if not sys.stdin.isatty():
        raise RefusedError(
            "nobody can be asked here whether to apply this. Nothing was done.", hint=f"To do it: {again}"
        )
    serious = any(risk.level in ("breaks", "removes") for risk in plan.risks)
    goes_on = (
        ask(f"Type the name of the environment ({plan.env}) to go on") == plan.env
        if serious
        else confirm("Apply this?")
    )
    if not goes_on:
        raise RefusedError("not applied. Nothing was done.")


def finish(done: ApplyReport, *, as_json: bool) -> int:
    """Prints what was applied; gives the exit code: 0, 1 where a version was refused, 3 where one waits for an approval."""
    if as_json:
        emit(done)
    else:
        for line in done.findings:
            say(f"✗ {line}")
        for line in done.waits:
            say(f"· {line}")
        say(f"{done.env} has {done.code}." if done.actions else f"{done.env} has {done.code}; there was nothing to do.")
    return 1 if done.findings else 3 if done.waits else 0
