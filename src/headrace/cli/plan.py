"""`headrace plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.output import emit, env_option, heading, json_option, say, table
from headrace.cli.pipeline_story import release_option

if TYPE_CHECKING:
    from headrace.operations.release.plan import PlanReport

SIGNS = {"added": "+", "changed": "~", "removed": "-"}


@click.command(name="plan")
@env_option
@release_option
@click.option("--remove", is_flag=True, help="With what is no longer declared taken away.")
@json_option
def command(env: str | None, release: str | None, remove: bool, as_json: bool) -> None:
    """Show what the code would change in an environment: declarations, risks, and the work that follows.

    The code is the working tree, the last commit, or the highest release that may run, as the environment runs; --release names
    another one. It is compared with what was applied last.
    """
    from headrace.operations.operation import At
    from headrace.operations.release.plan import applying, plan_release

    report = plan_release(applying(At(env=env, release=release)), remove=remove)
    if as_json:
        emit(report)
    else:
        show(report)
        say(f"Next: headrace apply --env {report.env}" if report.actions or report.changes else "Nothing to apply.")


def show(report: PlanReport) -> None:
    """Prints a plan."""
    heading(f"{report.code} in {report.env}, after {report.before or 'nothing'}")
    for change in report.changes:
        say(f"  {SIGNS[change.change]} {change.object}")
        for line in change.attributes:
            say(f"      {line}")
    if not report.changes:
        say("  no declaration differs")
    if report.risks:
        heading("risks")
        table([vars(risk) for risk in report.risks], ("level", "object", "reason"))
    if report.drift:
        heading("the environment differs from what was applied")
        for line in report.drift:
            say(f"  ! {line}")
    for line in report.not_promoted:
        say(f"  ! {line}")
    if report.actions:
        heading("work")
        table([vars(action) for action in report.actions], ("action", "reason"))
    if report.removals and not any(action.action.startswith(("drop ", "retire ")) for action in report.actions):
        say(f"No longer declared, and left as it is without --remove: {', '.join(report.removals)}")
