"""Signing in to an environment with a token, and out again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse
from starlette.routing import Route

from headrace.console.requests import place, read_form
from headrace.console.sessions import COOKIE, sessions
from headrace.console.sign_in_page import sign_in_page, within
from headrace.core import vault
from headrace.core.errors import RefusedError
from headrace.operations.access import current_caller

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.operations.access import Caller
    from headrace.operations.operation import At


def show(request: Request) -> Response:
    """A field for the token."""
    return sign_in_page(request, place(request), request.query_params.get("back", ""))


async def sign_in(request: Request) -> Response:
    """Whom the token belongs to is asked of the environment. What a form had sent before comes back with the page."""
    form = await read_form(request)
    at, known, token = place(request), sessions(request), form.text("token")
    known.check_rate()
    try:
        await run_in_threadpool(_caller, at, token)
    except RefusedError as error:
        known.failed()
        shown = RefusedError(error.what.replace(f"the token in {vault.TOKEN}", "this token"), hint=error.hint)
        return sign_in_page(request, at, form.text("back"), error=shown, status=403)
    back = RedirectResponse(within(form.text("back"), at), 303)
    cookie = known.sign_in(request.cookies.get(COOKIE, ""), str(at.env), token)
    back.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", path="/", secure=request.url.scheme == "https")
    return back


async def sign_out(request: Request) -> Response:
    """Every token of the browser is forgotten."""
    await read_form(request)
    sessions(request).sign_out(request.cookies.get(COOKIE, ""))
    gone = RedirectResponse(f"/{place(request).env}", 303)
    gone.delete_cookie(COOKIE, path="/")
    return gone


def _caller(at: At, token: str) -> Caller:
    if not token or not token.isascii():
        raise RefusedError("this is no token.", hint="headrace access token NAME makes one.")
    with vault.bearing(token):
        return current_caller(at)


ROUTES = [
    Route("/{env}/sign-in", show),
    Route("/{env}/sign-in", sign_in, methods=["POST"]),
    Route("/{env}/sign-out", sign_out, methods=["POST"]),
]
