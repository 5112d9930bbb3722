"""A request to move a version: the evidence, and approving or rejecting it with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from headrace.console.handlers import acts, reads
from headrace.console.rendering import page
from headrace.console.requests import number
from headrace.operations.latest_change import latest_change
from headrace.operations.requests import approve_request, reject_request, show_request

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.console.requests import Form, Problem
    from headrace.operations.operation import At


def show(request: Request, at: At, problem: Problem | None = None) -> Response:
    """What is asked for, on which evidence, who has signed, and a form for whoever may decide."""
    found = show_request(at, number(request, "request"))
    return page(
        request,
        "request",
        title=f"Request {found.request}",
        problem=problem,
        live=latest_change(at).mark if found.status == "open" else None,
        asked=found,
    )


def approve(request: Request, at: At, form: Form) -> str:
    """Signs the request. Operations say who may."""
    approve_request(at, number(request, "request"), reason=form.text("reason"))
    return _address(request, at)


def reject(request: Request, at: At, form: Form) -> str:
    """Rejects the request, with a reason."""
    reject_request(at, number(request, "request"), reason=form.text("reason"))
    return _address(request, at)


def _address(request: Request, at: At) -> str:
    return f"/{at.env}/requests/{number(request, 'request')}"


ROUTES = [
    Route("/{env}/requests/{request}", reads(show)),
    Route("/{env}/requests/{request}/approve", acts(approve, show), methods=["POST"]),
    Route("/{env}/requests/{request}/reject", acts(reject, show), methods=["POST"]),
]
