"""The page on which one signs in: asked for, or shown where a form came after its sign-in had ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.console.rendering import page
from headrace.console.requests import place
from headrace.console.sessions import COOKIE, sessions, signed_in
from headrace.core.errors import RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.console.requests import Form
    from headrace.operations.operation import At


def expired(request: Request, form: Form) -> Response:
    """A form was sent after its sign-in had ended: nothing was done, and what was written is shown to be kept."""
    error = RefusedError("You are not signed in any more. Nothing was done.", hint="What was written is below.")
    path, _, _ = request.url.path.rpartition("/")
    return sign_in_page(request, place(request), path, error=error, status=401, kept=form.written)


def sign_in_page(
    request: Request,
    at: At,
    back: str,
    *,
    error: RefusedError | None = None,
    status: int = 200,
    kept: dict[str, str] | None = None,
) -> Response:
    """A field for the token.

    Args:
        request: that is answered.
        at: the environment.
        back: where one comes to afterwards.
        error: why one is not signed in.
        status: of the answer.
        kept: what somebody had written, by field.
    """
    return page(
        request,
        "sign_in",
        title="Sign in",
        status=status,
        back=within(back, at),
        error=error,
        kept=kept or {},
        stale=COOKIE in request.cookies and not signed_in(request) and not sessions(request).required,
    )


def within(back: str, at: At) -> str:
    """A page of this environment: nothing that was written into the address leads elsewhere."""
    home = f"/{at.env}"
    safe = back.startswith((f"{home}/", f"{home}?")) and "\\" not in back and "sign-in" not in back
    return back if safe and back.isprintable() else home
