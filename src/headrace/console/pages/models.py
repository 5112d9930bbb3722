"""Models, one model, one of its versions with its gates, and two versions side by side."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.routing import Route

from headrace.console import monitoring, paging
from headrace.console.charts import SERIES, Point, Series, line
from headrace.console.handlers import reads
from headrace.console.rendering import download, page
from headrace.console.reports import model_card
from headrace.console.requests import number
from headrace.core.errors import HeadraceError
from headrace.operations.alerts import list_alerts
from headrace.operations.comparison import compare_versions
from headrace.operations.kpis import show_kpis
from headrace.operations.language_version import show_language_version
from headrace.operations.models import list_versions, show_model_history, show_version, summarize_models
from headrace.operations.monitoring import show_monitoring
from headrace.operations.requests import list_requests, show_request

if TYPE_CHECKING:
    from markupsafe import Markup
    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.operations.kpis import KpiReport
    from headrace.operations.operation import At

WINDOWS = 60  # of quality and of a business figure, in their pictures
HAPPENED = 50  # the latest changes of a model's versions


def index(request: Request, at: At) -> Response:
    """Every model with the version in Production, in Staging, and the newest one."""
    return page(request, "models", title="Models", models=summarize_models(at))


def show(request: Request, at: At) -> Response:
    """The versions of a model, newest first, its open requests and alerts, its business figures, and what happened last."""
    name, shown = str(request.path_params["name"]), paging.wanted(request)
    history = show_model_history(at, name, limit=HAPPENED)  # refuses a model that there is not
    versions = list_versions(at, model=name, limit=shown.limit, offset=shown.offset).versions[::-1]
    before = {each.version: older.version for each, older in pairwise(versions)}
    versions, shown = paging.cut(versions, shown)
    return page(
        request,
        "model",
        title=name,
        name=name,
        versions=versions,
        before=before,
        shown=shown,
        history=list(reversed(history)),
        happened=HAPPENED,
        waiting=list_requests(at, model=name),
        alerts=list_alerts(at, model=name),
        figures=[(each, _drawn(each)) for each in show_kpis(at, name, windows=WINDOWS).kpis],
        judged=_quality(at, name),
    )


def _quality(at: At, name: str) -> dict[str, object]:
    """The main metric by window, or why there is none: a model without a deployment shows all the same."""
    try:
        found = show_monitoring(at, name, windows=WINDOWS, drift_windows=0)
    except HeadraceError as error:
        return {"quality": None, "coverage": "", "quality_of": None, "no_quality": error.what}
    charts = monitoring.quality_charts(found, most=1)
    return {
        "quality": charts[0] if charts else None,
        "coverage": monitoring.coverage_said(found),
        "quality_of": found.version,
        "no_quality": "",
    }


def _drawn(kpi: KpiReport) -> Markup:
    """A line for each of the newest versions, over time, with its intervals."""
    label = f"{kpi.description or kpi.name} by version{f', {kpi.unit}' if kpi.unit else ''}"
    points: dict[int, list[Point]] = {each.version: [] for each in kpi.versions[:SERIES]}
    for each in kpi.windows:
        if each.version in points:
            points[each.version].append(Point(x=each.start, y=each.mean, low=each.low, high=each.high))
    return line(label, [Series(name=f"version {number}", points=drawn) for number, drawn in points.items() if drawn])


def version(request: Request, at: At) -> Response:
    """One version: what it was made of, what its gates found, and what was asked and decided."""
    name, chosen = str(request.path_params["name"]), number(request, "version")
    found = show_version(at, name, version=chosen)
    asked = [show_request(at, each.request) for each in list_requests(at, decided=True, model=name, version=chosen)]
    return page(
        request,
        "version",
        title=f"{name} {chosen}",
        version=found,
        asked=asked,
        language=show_language_version(at, name, chosen),
    )


def compare(request: Request, at: At) -> Response:
    """Two versions side by side: `?a=1&b=2`."""
    name = str(request.path_params["name"])
    given = [request.query_params.get(side, "") for side in ("a", "b")]
    if not all(each.isascii() and each.isdigit() and len(each) < 10 for each in given):
        raise HTTPException(404, "Two versions are compared by their numbers: ?a=1&b=2")
    a, b = map(int, given)
    return page(request, "compare", title=f"{name}: {a} and {b}", name=name, compared=compare_versions(at, name, a, b))


def card(request: Request, at: At) -> Response:
    """The card of a version as one file, to be kept or sent."""
    made = model_card(at, str(request.path_params["name"]), version=number(request, "version"))
    return download(made.name, made.html)


ROUTES = [
    Route("/{env}/models", reads(index)),
    Route("/{env}/models/{name}", reads(show)),
    Route("/{env}/models/{name}/compare", reads(compare)),
    Route("/{env}/models/{name}/{version}", reads(version)),
    Route("/{env}/models/{name}/{version}/card", reads(card)),
]
