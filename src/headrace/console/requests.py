"""A request for a page: which environment it is about, and what a form has sent."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException

from headrace.core.errors import ConflictError, NotFoundError, RefusedError, UnavailableError
from headrace.operations.operation import At

if TYPE_CHECKING:
    from starlette.requests import Request

    from headrace.core.errors import HeadraceError

STATUS = ((NotFoundError, 404), (RefusedError, 403), (ConflictError, 409), (UnavailableError, 503))
LARGEST = 1 << 20  # bytes of a form
FIELDS = 100  # of a form
OWN = ("form", "back", "token")  # fields
COOKIE = "headrace_form"  # a random text; a form has to send what is signed of it


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a form has sent, by field: the first value of each."""

    fields: dict[str, str]

    def text(self, name: str) -> str:
        """The text of a field without white space at its ends; empty where it was not sent."""
        return self.fields.get(name, "").strip()

    def long(self, name: str) -> str:
        """The text of a field as it was written, with the ends of its lines as on this machine."""
        return self.fields.get(name, "").replace("\r\n", "\n")

    @property
    def written(self) -> dict[str, str]:
        """What somebody wrote: neither the fields of the console itself nor a token."""
        return {name: text for name, text in self.fields.items() if text and name not in OWN}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a form asked for was not done.

    Attributes:
        error: why.
        form: what was sent.
    """

    error: HeadraceError
    form: Form

    @property
    def status(self) -> int:
        """Of the answer."""
        return next((code for kind, code in STATUS if isinstance(self.error, kind)), 422)


def place(request: Request) -> At:
    """Where the operations of a page work: the project of the console, and the environment in the path.

    Raises:
        HTTPException: 404, the project has no such environment.
    """
    env: str = request.path_params["env"]
    if env not in request.app.state.environments:
        raise HTTPException(404, f"This project has no environment {env!r}.")
    return At(env=env, folder=request.app.state.folder)


def signed(request: Request, value: str) -> str:
    """What a form sends to show that it comes from a page of this console."""
    return hmac.new(request.app.state.secret, value.encode(), "sha256").hexdigest()


async def read_form(request: Request) -> Form:
    """What a form of this console has sent.

    Raises:
        HTTPException: 413, it is too large; 403, it is of no page of this console, or of one that ended.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise HTTPException(413, f"A form has at most {LARGEST >> 20} MiB. Nothing was done.")
    try:
        sent = parse_qs(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=FIELDS)
    except ValueError:
        raise HTTPException(413, f"A form has at most {FIELDS} fields. Nothing was done.") from None
    form = Form(fields={name: values[0] for name, values in sent.items()})
    cookie = request.cookies.get(COOKIE, "")
    if not cookie or not hmac.compare_digest(form.text("form").encode(), signed(request, cookie).encode()):
        raise HTTPException(
            403,
            "This form is of another console, or of one that has ended. Nothing was done: load the page and try again.",
        )
    return form


def number(request: Request, name: str) -> int:
    """A number in the path.

    Raises:
        HTTPException: 404, it is none.
    """
    text: str = request.path_params[name]
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise HTTPException(404, f"{text!r} is no number.")
    return int(text)
