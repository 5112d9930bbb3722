"""Endpoints, one endpoint with its split and its rollouts, and rolling a model back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.routing import Route

from headrace.console.handlers import acts, reads
from headrace.console.rendering import page
from headrace.core.errors import ConfigError, NotFoundError
from headrace.operations.endpoints import list_endpoints, show_endpoint
from headrace.operations.latest_change import latest_change
from headrace.operations.models import list_versions
from headrace.operations.rollback import preview_rollback, roll_back
from headrace.operations.traffic import set_traffic, show_traffic, stop_traffic, traffic_history

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.console.requests import Form, Problem
    from headrace.operations.models import VersionReport
    from headrace.operations.operation import At

SHARE = "share-"  # before a version, in the fields of the split
OFFERED = 10  # versions without a share that the form of the split names, the newest
CHANGES = 50  # of the traffic, the latest


def index(request: Request, at: At) -> Response:
    """Every model that is served, with its split; what is wrong comes first."""
    endpoints = sorted(
        list_endpoints(at), key=lambda each: not (each.troubles or any(one.slow for one in each.versions))
    )
    rows = [
        (each, one, place == 0) for each in endpoints for place, one in enumerate(each.versions or (None,))
    ]  # a version a row
    return page(request, "endpoints", title="Endpoints", live=latest_change(at).mark, rows=rows)


def show(request: Request, at: At, problem: Problem | None = None) -> Response:
    """Who answers, how they do and compare, what a rollout waits for, and every change with who and why."""
    model = _model(request)
    endpoint = show_endpoint(at, model)
    try:
        versions = list(list_versions(at, model=model).versions)
    except NotFoundError:  # declared, and never trained
        versions = []
    history = traffic_history(at, model) if versions else None
    divided = len(endpoint.versions) > 1 or endpoint.rollout
    changes = sorted(history.changes, key=lambda each: -each.number) if history else []
    return page(
        request,
        "endpoint",
        title=f"Endpoint {model}",
        problem=problem,
        endpoint=endpoint,
        traffic=show_traffic(at, model) if divided else None,
        number=changes[0].number if changes else 0,
        by=changes[0].by if changes else (),
        offered=_offered(versions, [each.version for each in endpoint.versions if each.role == "candidate"]),
        shares={each.version: f"{100 * each.share:g}" for each in endpoint.versions if each.role == "candidate"},
        changes=changes[:CHANGES],
        more=len(changes) - CHANGES,
        rollouts=list(reversed(history.rollouts)) if history else [],
        asked=request.url.path.rpartition("/")[2] if problem else "",
    )


def divide(request: Request, at: At, form: Form) -> str:
    """Sets the shares of candidates: those of the form, and no other ones."""
    shares = {
        int(name.removeprefix(SHARE)): _share(name.removeprefix(SHARE), form.text(name))
        for name in form.fields
        if name.startswith(SHARE) and _is_number(name.removeprefix(SHARE)) and form.text(name)
    }
    by = [each.strip() for each in form.text("by").split(",") if each.strip()]
    set_traffic(
        at,
        _model(request),
        {version: share for version, share in shares.items() if share},
        by=by or None,
        expect=_number(form, "expect"),
        reason=form.text("reason"),
    )
    return _address(request, at)


def stop(request: Request, at: At, form: Form) -> str:
    """Sends all traffic to the version in Production."""
    stop_traffic(at, _model(request), reason=form.text("reason"))
    return _address(request, at)


def ask(request: Request, at: At, problem: Problem | None = None) -> Response:
    """What a rollback would change, and a form for it: `?to=2` for another version than the one before."""
    model = _model(request)
    given = problem.form.text("to") if problem else request.query_params.get("to", "")
    if given and not _is_number(given):
        raise NotFoundError("version", given, [], hint="A version is a number: ?to=2")
    preview = preview_rollback(at, model, to=int(given) if given else None)
    both = [each.metrics for each in (preview.replaced, preview.brought_back) if each is not None]
    return page(
        request,
        "rollback",
        title=f"Roll back {model}",
        problem=problem,
        preview=preview,
        metrics=list(dict.fromkeys(name for metrics in both for name in metrics)),
        confirms=_is_highest(request),
    )


def go_back(request: Request, at: At, form: Form) -> str:
    """Rolls back from the version that was shown to the one that was shown."""
    model, written = _model(request), form.text("name")
    if _is_highest(request) and written != model:
        raise ConfigError(
            f"{written!r} is not the name of the model. Nothing was changed.",
            hint=f"In {at.env}, type {model} to confirm.",
        )
    roll_back(at, model, to=_number(form, "to"), expect=_number(form, "expect"), reason=form.text("reason"))
    return _address(request, at)


def _model(request: Request) -> str:
    return str(request.path_params["model"])


def _address(request: Request, at: At) -> str:
    return f"/{at.env}/endpoints/{quote(_model(request), safe='')}"


def _is_highest(request: Request) -> bool:
    return request.path_params["env"] == request.app.state.environments[-1]


def _offered(versions: list[VersionReport], candidates: list[int]) -> list[VersionReport]:
    """Versions that may be given a share: candidates first, then the newest ones. Operations say which of them may have any."""
    beside = sorted((each for each in versions if each.stage != "Production"), key=lambda each: -each.version)
    others = [each for each in beside if each.version not in candidates]
    return [*(each for each in beside if each.version in candidates), *others[:OFFERED]]


def _share(version: str, text: str) -> float:
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = math.nan
    if not 0 <= percent <= 100:
        raise ConfigError(
            f"{text!r} is no share for version {version}. Nothing was changed.",
            hint="Write percent of the entities: 5 for 5 %, and 0 or nothing for none.",
        )
    return percent / 100


def _number(form: Form, name: str) -> int | None:
    """A number that the page itself wrote into its form; None where it wrote none."""
    text = form.text(name)
    if text and not _is_number(text):
        raise ConfigError(f"{text!r} is no number.", hint="Load the page and try again. Nothing was changed.")
    return int(text) if text else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


ROUTES = [
    Route("/{env}/endpoints", reads(index)),
    Route("/{env}/endpoints/{model}", reads(show)),
    Route("/{env}/endpoints/{model}/split", acts(divide, show), methods=["POST"]),
    Route("/{env}/endpoints/{model}/stop", acts(stop, show), methods=["POST"]),
    Route("/{env}/endpoints/{model}/rollback", reads(ask)),
    Route("/{env}/endpoints/{model}/rollback", acts(go_back, ask), methods=["POST"]),
]
