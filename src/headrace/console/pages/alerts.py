"""Alerts: what is broken, since when and who takes care; one alert with its history; taking care, muting, resolving."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from headrace.console import paging
from headrace.console.handlers import acts, reads
from headrace.console.rendering import page
from headrace.console.requests import number
from headrace.core.clock import later
from headrace.operations.alerts import (
    acknowledge_alert,
    list_alerts,
    mute_alert,
    resolve_alert,
    show_alert,
    show_alert_history,
)
from headrace.operations.latest_change import latest_change

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.console.requests import Form, Problem
    from headrace.operations.alerts import AlertReport
    from headrace.operations.operation import At


def index(request: Request, at: At) -> Response:
    """What is open comes first, the severest on top, then what is muted, then what is closed: `?model=name`, `?query=name`."""
    model, query = (request.query_params.get(name, "").strip() for name in ("model", "query"))
    shown = paging.wanted(request)
    alerts = list_alerts(
        at,
        closed=True,
        model=model or None,
        query=query or None,
        closed_last=True,
        limit=shown.limit,
        offset=shown.offset,
    )
    alerts, shown = paging.cut(alerts, shown)
    groups: dict[str, list[AlertReport]] = {"Open": [], "Muted": [], "Closed": []}
    for each in alerts:
        groups["Closed" if each.status == "closed" else "Muted" if each.muted else "Open"].append(each)
    return page(
        request,
        "alerts",
        title="Alerts",
        live=latest_change(at).mark,
        groups={name: found for name, found in groups.items() if found or shown.number == 1},
        shown=shown,
        chosen_model=model,
        chosen_query=query,
    )


def show(request: Request, at: At, problem: Problem | None = None) -> Response:
    """One alert: what it is about, the evidence, what became of it, and a form for whoever takes care."""
    found = show_alert(at, number(request, "alert"))
    return page(
        request,
        "alert",
        title=f"Alert {found.alert}",
        problem=problem,
        live=latest_change(at).mark if found.status != "closed" else None,
        alert=found,
        history=show_alert_history(at, found.alert),
    )


def acknowledge(request: Request, at: At, form: Form) -> str:
    """Somebody takes care, and says what is going to be done."""
    acknowledge_alert(at, number(request, "alert"), reason=form.text("reason"))
    return _address(request, at)


def mute(request: Request, at: At, form: Form) -> str:
    """Nobody is notified before a moment."""
    mute_alert(at, number(request, "alert"), until=later(form.text("until")), reason=form.text("reason"))
    return _address(request, at)


def resolve(request: Request, at: At, form: Form) -> str:
    """Closes it by hand."""
    resolve_alert(at, number(request, "alert"), reason=form.text("reason"))
    return _address(request, at)


def _address(request: Request, at: At) -> str:
    return f"/{at.env}/alerts/{number(request, 'alert')}"


ROUTES = [
    Route("/{env}/alerts", reads(index)),
    Route("/{env}/alerts/{alert}", reads(show)),
    Route("/{env}/alerts/{alert}/acknowledge", acts(acknowledge, show), methods=["POST"]),
    Route("/{env}/alerts/{alert}/mute", acts(mute, show), methods=["POST"]),
    Route("/{env}/alerts/{alert}/resolve", acts(resolve, show), methods=["POST"]),
]
