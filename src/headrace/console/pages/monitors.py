"""Monitors: every monitored model, one with its quality and drift by window, and one of its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.routing import Route

from headrace.console import monitoring
from headrace.console.handlers import reads
from headrace.console.rendering import download, page
from headrace.console.reports import monitoring_report
from headrace.core.clock import instant
from headrace.operations.alerts import list_alerts
from headrace.operations.latest_change import latest_change
from headrace.operations.monitored_columns import show_columns
from headrace.operations.monitoring import show_monitoring
from headrace.operations.monitors import list_monitored

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.operations.operation import At

WINDOWS = 120  # of quality
HEAT = 14  # windows of a heat map
SERIES = 400  # windows of a column


def index(request: Request, at: At) -> Response:
    """Every monitored model with its latest windows, its health and why."""
    return page(
        request,
        "monitors",
        title="Monitors",
        models=list_monitored(at),
        window_name=monitoring.window_name,
        live=latest_change(at).mark,
    )


def show(request: Request, at: At) -> Response:
    """The quality and the drift of a version by window: `?version=2&window=2026-01-31T00:00:00Z`, the last that is shown."""
    name, version, until = str(request.path_params["model"]), _version(request), _window(request)
    report = show_monitoring(at, name, version=version, windows=WINDOWS, until=until, drift_windows=HEAT)
    return page(
        request,
        "monitor",
        title=f"{name}: monitoring",
        report=report,
        chosen=version,
        until=until,
        map=monitoring.heat_map(report),
        first=min((each.start for each in report.drift), default=None),
        charts=monitoring.quality_charts(report),
        coverage=monitoring.coverage_said(report),
        length=monitoring.LENGTHS[report.granularity],
        window_name=monitoring.window_name,
        alerts=list_alerts(at, model=name),
    )


def feature(request: Request, at: At) -> Response:
    """A column of a version: its drift over time, and a window beside the training: `?version=2&window=…`."""
    name, column, version = str(request.path_params["model"]), str(request.path_params["feature"]), _version(request)
    (found,) = show_columns(at, name, [column], version=version, window=_window(request), windows=SERIES)
    return page(
        request,
        "monitored_feature",
        title=f"{name}: {column}",
        found=found,
        chosen=version,
        measure=monitoring.measure(found),
        measured=monitoring.measured,
        series=monitoring.series_picture(found),
        distribution=monitoring.distribution_picture(found),
        bar_name=monitoring.bar_name,
        window_name=monitoring.window_name,
    )


def report(request: Request, at: At) -> Response:
    """The same as one file, to be kept or sent: `?version=2`."""
    made = monitoring_report(at, str(request.path_params["model"]), version=_version(request))
    return download(made.name, made.html)


def _version(request: Request) -> int | None:
    """`?version=`.

    Raises:
        HTTPException: 404, it is no number.
    """
    text = request.query_params.get("version", "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < 1:
        raise HTTPException(404, f"{text!r} is no number of a version.")
    return int(text)


def _window(request: Request) -> datetime | None:
    """`?window=`, the beginning of a window.

    Raises:
        ConfigError: it is no moment.
    """
    text = request.query_params.get("window", "")
    return instant(text) if text else None


ROUTES = [
    Route("/{env}/monitors", reads(index)),
    Route("/{env}/monitors/{model}", reads(show)),
    Route("/{env}/monitors/{model}/report", reads(report)),
    Route("/{env}/monitors/{model}/features/{feature:path}", reads(feature)),
]
