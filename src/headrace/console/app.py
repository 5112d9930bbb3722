"""The console as an ASGI application: its routes, what every answer carries, and errors as pages."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from headrace.console.page_loading import Pages
from headrace.console.rendering import FOLDER, environment, page
from headrace.console.requests import STATUS
from headrace.console.running import Running
from headrace.console.sessions import Sessions
from headrace.core.errors import (
    ConfigError,
    HeadraceError,
)
from headrace.operations.environments import list_environments

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ["127.0.0.1", "localhost"]  # names that a page of elsewhere cannot point at this machine
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


def create_app(folder: Path | None = None, *, sign_in: bool = False, ahead: bool = False) -> Starlette:
    """The console of a project.

    Args:
        folder: of the project, or one below it; None: the current one.
        sign_in: whether nobody sees or does anything who has not signed in; else it acts as whoever started it.
        ahead: whether all pages are loaded once one was answered.

    Raises:
        ConfigError: there is no project, or its `headrace.toml` is malformed.
        MissingExtraError: a package of the extra `console` is not installed.
    """
    found = list_environments(folder)
    app = Starlette(
        routes=[
            Route("/", _first),
            Mount("/-", StaticFiles(directory=FOLDER / "static")),
            Mount("/", Pages(ahead=ahead)),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS),
            Middleware(_Headers),
            Middleware(GZipMiddleware, minimum_size=1_000, compresslevel=6),
        ],
        exception_handlers={
            HTTPException: _http_error,
            HeadraceError: _told,
            SQLAlchemyError: _no_database,
            Exception: _defect,
        },
    )
    app.state.folder, app.state.project, app.state.environments = found.folder, found.project, found.environments
    app.state.streams = 0  # open pages that are told of changes
    app.state.running = Running()
    app.state.language_models = {}  # environment → whether it has any, as of the last page
    app.state.sessions = Sessions(required=sign_in)
    app.state.templates, app.state.secret = environment(), secrets.token_bytes(32)
    return app


class _Headers:
    """Adds the headers that every answer carries."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(name.encode(), text.encode()) for name, text in HEADERS.items()]
            await send(message)

        await self.app(scope, receive, sending)


def _first(request: Request) -> Response:
    return RedirectResponse(f"/{request.app.state.environments[0]}")


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = error.detail if error.status_code != 404 or error.detail != "Not Found" else "There is no such page."
    return _error(request, error.status_code, what, headers=error.headers)


def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, HeadraceError)
    wrong = 422 if error.exit_code == ConfigError.exit_code else 500  # what was asked for, or what was found
    status = next((code for kind, code in STATUS if isinstance(error, kind)), wrong)
    return _error(request, status, error.what, findings=error.findings, hint=error.hint)


def _no_database(request: Request, error: Exception) -> Response:
    return _error(
        request,
        503,
        f"The state database does not answer: {type(error).__name__}.",
        hint="It is down, or was made by another version of Headrace: headrace doctor says what is wrong. Nothing was changed.",
    )


def _defect(request: Request, error: Exception) -> Response:
    """It is in the log of the console with all that is known; a page says that it is not the reader's doing."""
    return _error(
        request,
        500,
        f"This page has a defect: {type(error).__name__}. It is one of Headrace, not of your project.",
        hint="The console's log says where. The other pages go on; please report it.",
        headers=HEADERS,  # it is answered outside of what adds them
    )


def _error(
    request: Request,
    status: int,
    what: str,
    *,
    findings: tuple[str, ...] | list[str] = (),
    hint: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    begin = request.url.path.split("/")[1]
    request.path_params["env"] = begin if begin in request.app.state.environments else ""
    shown = page(request, "error", title=f"{status}", status=status, what=what, findings=findings, hint=hint)
    shown.headers.update(headers or {})
    return shown
