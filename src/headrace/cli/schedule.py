"""`headrace schedule list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.output import emit, env_option, heading, json_option, put, say, show, table

if TYPE_CHECKING:
    from headrace.operations.schedule_status import ScheduleReport


@click.group(name="schedule", cls=Commands)
def command() -> None:
    """Declared schedules: what `headrace up` runs when."""


@command.command(name="list")
@env_option
@json_option
def list_(env: str | None, as_json: bool) -> None:
    """What is due when, the last run of each schedule, what was missed, and what waits for a person."""
    from headrace.operations.operation import At
    from headrace.operations.schedule_status import list_schedules

    listing = list_schedules(At(env=env))
    if as_json:
        emit(listing)
        return
    table(
        [_row(schedule) for schedule in listing.schedules],
        empty='no schedule is declared. One is: hr.Score(…, every=hr.cron("0 4 * * *"))',
    )
    for schedule in listing.schedules:
        _show_waiting(schedule)
    if any(schedule.due for schedule in listing.schedules):
        say("Next: headrace up --once runs what is due")


def _row(schedule: ScheduleReport) -> dict[str, object]:
    """A schedule as a row."""
    return {
        "model": schedule.model,
        "activity": schedule.activity,
        "schedule": schedule.trigger,
        "next": "now" if schedule.due else schedule.next,
        "last run": schedule.last_started,
        "status": schedule.last_status,
        "missed": schedule.missed,
        "waits for": len(schedule.waits_for) + len(schedule.held_back),
    }


def _show_waiting(schedule: ScheduleReport) -> None:
    """What keeps a schedule, and who has to do something."""
    if not (schedule.held_back or schedule.waits_for):
        return
    put()
    heading(f"{schedule.activity} of {schedule.model}")
    for reason in schedule.held_back:
        put(f"  held back: {reason}")
    for need in schedule.waits_for:
        put(f"  {need.what}, {show(need.since)}: {need.reason}")
        put(f"    {need.next}")
