"""`headrace status`: what needs a person first, then tables, runs and models."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from headrace.cli.output import emit, env_option, heading, json_option, put, show, table
from headrace.core.text import percent

if TYPE_CHECKING:
    from headrace.operations.status import StatusReport

WORKER = ("model", "source", "host", "pid")  # attributes of a stream's worker that its first columns show
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


@click.command(name="status")
@env_option
@json_option
def command(env: str | None, as_json: bool) -> None:
    """What needs a person, and where tables, runs and models stand. Exit 1 when something needs a person."""
    from headrace.operations.operation import At
    from headrace.operations.status import show_status

    report = show_status(At(env=env))
    if as_json:
        emit(report)
    else:
        _show(report)
    if report.needs_a_person:
        sys.exit(1)


def _tables(report: StatusReport) -> dict[str, list[dict[str, object]]]:
    """What is there, as rows."""
    return {
        "tables": [
            {
                "table": status.table,
                "env": status.env,
                "rows": status.rows,
                "changed": status.changed,
                "ago": None if status.changed is None else ago(report.at - status.changed),
                "newest": status.newest,
            }
            for status in report.tables
        ],
        "jobs": [
            {
                "job": job.job,
                "status": job.status,
                "started": job.started,
                "ago": ago(report.at - job.started),
                "code": job.code,
            }
            for job in report.jobs
        ],
        "streams": [
            {
                "model": worker.model,
                "source": worker.source,
                "worker": f"{worker.host}:{worker.pid}",
                **{name: value for name, value in vars(worker).items() if name not in WORKER},
            }
            for worker in report.streams
        ],
        "models": [dict(vars(model)) for model in report.models],
    }


def _needs(number: int) -> str:
    return {0: "nothing needs a person", 1: "1 thing needs a person"}.get(number, f"{number} things need a person")


def _show(report: StatusReport) -> None:
    heading(f"{report.project} in {report.env}: {_needs(len(report.needs_a_person))}")
    for need in report.needs_a_person:
        put(f"  {need.what}, {show(need.since)}: {need.reason}")
        put(f"    {need.next}")
    for repair in report.lately:
        put(f"  lately: {repair.what}, {show(repair.at)}")
    for share in report.traffic:
        put(f"  {share.model} version {share.version} is {share.role} with {percent(share.share)}: {share.reason}")
    put()
    rows = _tables(report)
    table(rows["tables"], empty=f"no tables yet. Next: headrace run refresh --env {report.env}")
    for part in ("jobs", "streams", "models"):
        if rows[part]:
            put()
            table(rows[part])


def ago(since: timedelta) -> str:
    """A stretch of time in its largest unit: `40 s`, `5 min`, `3 h`, `12 d`."""
    for unit, length in (("d", DAY), ("h", HOUR), ("min", MINUTE)):
        if since >= length:
            return f"{since // length} {unit}"
    return f"{max(since.total_seconds(), 0):.0f} s"
