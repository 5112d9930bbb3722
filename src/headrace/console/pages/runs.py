"""Runs, one run with its steps and its log, and the schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from headrace.console import paging
from headrace.console.handlers import reads
from headrace.console.rendering import page
from headrace.operations.latest_change import latest_change
from headrace.operations.runs import list_runs, show_run, show_run_log

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.operations.operation import At

LINES = 500  # of a log, the last ones


def index(request: Request, at: At) -> Response:
    """The runs, the latest first."""
    shown = paging.wanted(request)
    runs, shown = paging.cut(list_runs(at, limit=shown.limit, offset=shown.offset).runs, shown)
    return page(request, "runs", title="Runs", live=latest_change(at).mark, runs=runs, shown=shown)


def show(request: Request, at: At) -> Response:
    """A run with its steps and the end of its log."""
    run = str(request.path_params["run"])
    found, log = show_run(at, run), show_run_log(at, run, latest=LINES)
    return page(
        request,
        "run",
        title=found.job,
        live=latest_change(at).mark if found.status == "running" else None,
        run=found,
        lines=log.lines,
        left_out=log.count - len(log.lines),
    )


def schedule(request: Request, at: At) -> Response:
    """What is due when, and what was missed."""
    from headrace.operations.schedule_status import (
        list_schedules,
    )  # with all that a project declares, a second of imports

    return page(request, "schedule", title="Schedule", schedules=list_schedules(at).schedules)


ROUTES = [
    Route("/{env}/runs", reads(index)),
    Route("/{env}/runs/{run}", reads(show)),
    Route("/{env}/schedule", reads(schedule)),
]
