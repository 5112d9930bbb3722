"""Who looks: the one who started the console, or whoever has signed in with a token, in each environment by itself.

A token is kept in the memory of this process alone; the browser has a random text in a cookie that no script reads.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.exceptions import HTTPException

from headrace.core import vault

if TYPE_CHECKING:
    from collections.abc import Generator

    from starlette.requests import Request

COOKIE = "headrace_session"
LIFE = 12 * 3600.0  # seconds since the last page
SESSIONS = 1_000  # the one that was used longest ago ends when another begins
TRIES, WITHIN = 10, 60.0  # failed sign-ins, and in how many seconds: of everybody, since a token is no name to count by


class SignedOutError(Exception):
    """A page is for who has signed in, and nobody has; or whoever had is not any more."""


@dataclass
class Session:
    """A browser that has signed in.

    Attributes:
        tokens: environment → token.
        used: when it asked last, by the monotonic clock.
    """

    tokens: dict[str, str] = field(default_factory=dict)
    used: float = 0.0


class Sessions:
    """The sessions of a console, and how often a sign-in has failed.

    Args:
        required: whether nobody is let in who has not signed in.
    """

    def __init__(self, *, required: bool) -> None:
        self.required = required
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._failed: deque[float] = deque(maxlen=TRIES)
        self._one = Lock()

    def token(self, cookie: str, env: str, *, renew: bool = True) -> str | None:
        """Of whoever has signed in to an environment by this cookie.

        Args:
            cookie: of the browser; empty: it has none.
            env: the environment.
            renew: whether the session lives on from now.

        Returns:
            None: nobody has signed in there, and the console acts as whoever started it.

        Raises:
            SignedOutError: nobody has, and somebody has to; or the session of the cookie has ended.
        """
        with self._one:
            session = self._open.get(cookie)
            if session is not None and time.monotonic() - session.used > LIFE:
                del self._open[cookie]
                session = None
            if session is None and cookie:
                raise SignedOutError
            token = session.tokens.get(env) if session else None
            if token is None and self.required:
                raise SignedOutError
            if session is not None and renew:
                session.used = time.monotonic()
                self._open.move_to_end(cookie)
            return token

    def sign_in(self, cookie: str, env: str, token: str) -> str:
        """Remembers a token, and gives the cookie to know it by: another one than before."""
        with self._one:
            session = self._open.pop(cookie, None) or Session()
            session.tokens[env], session.used = token, time.monotonic()
            new = secrets.token_urlsafe(32)
            self._open[new] = session
            if len(self._open) > SESSIONS:
                self._open.popitem(last=False)
            return new

    def sign_out(self, cookie: str) -> None:
        """Forgets every token of a session."""
        with self._one:
            self._open.pop(cookie, None)

    def check_rate(self) -> None:
        """Refuses a sign-in where too many have failed just now.

        Raises:
            HTTPException: 429.
        """
        with self._one:
            if len(self._failed) == TRIES and time.monotonic() - self._failed[0] < WITHIN:
                wait = WITHIN - (time.monotonic() - self._failed[0])
                raise HTTPException(
                    429,
                    f"{TRIES} sign-ins have failed within a minute. Nobody can sign in for {wait:.0f} s.",
                    {"retry-after": f"{wait:.0f}"},
                )

    def failed(self) -> None:
        """Counts a sign-in that has failed."""
        with self._one:
            self._failed.append(time.monotonic())


def sessions(request: Request) -> Sessions:
    """Those of the console that is asked."""
    return request.app.state.sessions


def signed_in(request: Request) -> bool:
    """Whether somebody has signed in to the environment of a page, and is signed in still."""
    try:
        return _token(request, renew=False) is not None
    except SignedOutError:
        return False


@contextmanager
def acting(request: Request, *, renew: bool = True) -> Generator[None]:
    """As whoever has signed in meanwhile; where nobody has, as whoever started the console.

    Args:
        request: whose cookie says who.
        renew: whether the session lives on: not by what a page asks by itself.

    Raises:
        SignedOutError: somebody has to sign in, or in again.
    """
    token = _token(request, renew=renew)  # once: a sign-out between two looks would make it whoever started the console
    if token is None:
        yield
        return
    with vault.bearing(token):
        yield


def _token(request: Request, *, renew: bool) -> str | None:
    return sessions(request).token(request.cookies.get(COOKIE, ""), request.path_params.get("env", ""), renew=renew)


def sign_in_address(request: Request) -> str:
    """Where one signs in to come back to this page."""
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return f"/{request.path_params['env']}/sign-in?back={quote(back, safe='')}"
