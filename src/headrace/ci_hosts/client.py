"""JSON over HTTP to one host: with limits of time and size, few attempts, and a token that no other host gets."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import urljoin, urlsplit

from headrace.core.errors import (
    ConfigError,
    HeadraceError,
    MalformedAnswerError,
    NotFoundError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
)
from headrace.core.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping
    from http.client import HTTPResponse
    from urllib.request import OpenerDirector

    from headrace.core.ids import Json

Method = Literal["GET", "POST", "PATCH", "PUT"]

TIME_OUT = 20.0  # seconds for a connection, and for each part of an answer
DEADLINE = 60.0  # seconds for an answer as a whole
PAUSES = (1.0, 2.0, 4.0)  # seconds before each further attempt, where the host does not say how long
PATIENCE = 60.0  # seconds that a host may ask to wait
LARGEST = 32 * 2**20  # bytes of an answer
REDIRECTS = 3
MOVED = (301, 302, 303, 307, 308)
SAME_METHOD = (307, 308)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a host answered.

    Attributes:
        status: of HTTP.
        headers: by their names in lower case.
        body: the JSON document; None where there is none.
    """

    status: int
    headers: Mapping[str, str]
    body: Json


@dataclass(frozen=True, kw_only=True)
class Client:
    """Asks one host.

    Attributes:
        name: of the host, for people.
        url: the address that paths begin after, `https://api.github.com`.
        token: the header that carries the token, and its value.
        secret: the token itself, which no message shows.
        headers: further headers of each request.
        rights: what a token needs, for the message of a refusal.
        time_out: seconds for a connection, and for each part of an answer.
        pause: waits for a number of seconds.
    """

    name: str
    url: str
    token: tuple[str, str] = field(repr=False)
    secret: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    rights: str = ""
    time_out: float = TIME_OUT
    pause: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        if not is_url(self.url):
            raise ConfigError(
                f"the address of {self.name} is not a URL that can be used.",
                hint="It starts with https:// (or http://), names a host, and holds no credentials.",
            )
        if not self.secret.isascii() or not self.secret.isprintable() or " " in self.secret or not self.secret:
            raise ConfigError(f"the token of {self.name} holds a character that no token has.", hint=self.rights)

    def ask(
        self,
        method: Method,
        path: str,
        body: Mapping[str, Json] | None = None,
        *,
        accepted: Container[int] = (),
    ) -> Answer:
        """One request, tried again while the host is overloaded or fails.

        A POST that failed may have been done, so it is tried again only where the host refused it for a limit.

        Args:
            method: of HTTP.
            path: below the address, with its query.
            body: sent as JSON.
            accepted: statuses beside 2xx that the caller reads itself.

        Raises:
            RefusedError: 401, or 403: the token is not known, or may not.
            NotFoundError: 404.
            RateLimitedError: 429, or 403 of a limit, and the host asks to wait for longer than a minute, or again.
            UnavailableError: it cannot be reached, breaks off, or answers 5xx, again and again; a POST once.
            HeadraceError: any other answer that is not 2xx.
        """
        pauses, again = iter(PAUSES), method != "POST"
        while True:
            following, wait = next(pauses, None), None
            try:
                answer = self._once(method, path, body)
            except UnavailableError as error:
                if following is None or not again or isinstance(error, MalformedAnswerError):
                    raise
            else:
                if answer.status < 300 or (answer.status in accepted and not _is_limit(answer)):
                    return answer
                wait = _wait(answer)
                passes = _is_limit(answer) or (again and answer.status >= 500)
                if following is None or not passes or (wait is not None and wait > PATIENCE):
                    raise self._wrong(answer, path, wait)
            self.pause(following if wait is None else wait)

    def _once(self, method: Method, path: str, body: Mapping[str, Json] | None) -> Answer:
        url = f"{self.url.rstrip('/')}{path}"
        for _ in range(REDIRECTS + 1):
            answer = self._send(method, url, body)
            if answer.status not in MOVED:
                return answer
            url = self._moved(url, answer, method)
        raise UnavailableError(f"{self.name} redirects again and again.")

    def _moved(self, url: str, answer: Answer, method: Method) -> str:
        """Where a redirection leads, on the same host.

        Raises:
            RefusedError: elsewhere, or with another method than this one.
        """
        target = urljoin(url, answer.headers.get("location", ""))
        if _origin(target) != _origin(url):
            raise RefusedError(
                f"{self.name} ({_shown(url)}) redirects to {_shown(target)}, and the token is not sent there.",
                hint="Is the address of the host right?",
            )
        if method != "GET" and answer.status not in SAME_METHOD:
            raise RefusedError(f"{self.name} redirects a {method} by {answer.status}, which would make it a GET.")
        return target

    def _send(self, method: Method, url: str, body: Mapping[str, Json] | None) -> Answer:
        from http.client import HTTPException
        from urllib.error import URLError
        from urllib.request import Request

        data = None if body is None else json.dumps(body).encode()
        headers = {"User-Agent": "headrace", "Accept": "application/json", **self.headers}
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = Request(url, data=data, headers=headers, method=method)  # noqa: S310  # the scheme was checked
        request.add_unredirected_header(*self.token)
        try:
            with _opener().open(request, timeout=self.time_out) as response:
                return self._read(response)
        except URLError as error:
            told = "it did not answer in time" if isinstance(error.reason, TimeoutError) else str(error.reason)
            raise UnavailableError(f"{self.name} ({_shown(url)}) cannot be reached: {self._safe(told)}.") from None
        except TimeoutError:
            raise UnavailableError(f"{self.name} ({_shown(url)}) did not answer in time.") from None
        except (OSError, HTTPException) as error:
            raise UnavailableError(f"{self.name} ({_shown(url)}) broke off: {type(error).__name__}.") from None

    def _read(self, response: HTTPResponse) -> Answer:
        """The whole answer, of limited size and in limited time."""
        until, parts, size = time.monotonic() + DEADLINE, list[bytes](), 0
        while part := response.read1(1 << 16):
            size += len(part)
            if size > LARGEST or time.monotonic() > until:
                raise MalformedAnswerError(f"{self.name} answers without an end.")
            parts.append(part)
        headers = {name.lower(): value for name, value in response.headers.items()}
        status, text = int(response.status), b"".join(parts)
        try:
            return Answer(status=status, headers=headers, body=json.loads(text) if text.strip() else None)
        except (ValueError, RecursionError):
            if status >= 300:
                return Answer(status=status, headers=headers, body=None)
            raise MalformedAnswerError(
                f"{self.name} answered {status} with something that is not JSON.", hint="Is its address right?"
            ) from None

    def _wrong(self, answer: Answer, path: str, wait: float | None) -> HeadraceError:
        status, told = answer.status, self._told(answer)
        if _is_limit(answer):
            after = "later" if wait is None else f"in {wait:,.0f} s"
            error = RateLimitedError(
                f"{self.name} answered {status}: too many requests{told}.", hint=f"Run it {after}."
            )
            error.retry_after = wait
            return error
        if status in (401, 403):
            what = "does not know the token" if status == 401 else "does not allow that with this token"
            return RefusedError(f"{self.name} answered {status}: it {what}{told}.", hint=self.rights)
        if status == 404:
            place = path.partition("?")[0]
            return NotFoundError(f"path at {self.name}", place, None, hint=f"It may be hidden, too: {self.rights}")
        if status >= 500:
            return UnavailableError(f"{self.name} answered {status}{told}.", hint="Run it later.")
        return HeadraceError(f"{self.name} answered {status}{told}.")

    def _told(self, answer: Answer) -> str:
        """What a host says itself, bounded."""
        body = answer.body
        message = (body.get("message") or body.get("error")) if isinstance(body, dict) else None
        text = message if isinstance(message, str) else "" if message is None else json.dumps(message)
        return f" ({self._safe(' '.join(text.split())[:200])})" if text else ""

    def _safe(self, text: str) -> str:
        return visible(text.replace(self.secret, "…"))


def is_url(text: str) -> bool:
    """Whether it is the URL of a host, without credentials in it."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return good and "@" not in parts.netloc and text.isascii() and text.isprintable() and " " not in text


def _opener() -> OpenerDirector:
    from urllib import request as handlers

    opener = handlers.OpenerDirector()  # without the handlers of statuses, redirections, files and FTP
    for handler in (handlers.ProxyHandler, handlers.HTTPHandler, handlers.HTTPSHandler):
        opener.add_handler(handler())
    return opener


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", None, None


def _shown(url: str) -> str:
    scheme, host, port = _origin(url)
    return f"{scheme}://{visible(host or '')}{'' if port in (80, 443, None) else f':{port}'}"


def _is_limit(answer: Answer) -> bool:
    """A limit of requests; GitHub answers 403 to some."""
    left = answer.headers.get("x-ratelimit-remaining")
    return answer.status == 429 or (answer.status == 403 and ("retry-after" in answer.headers or left == "0"))


def _wait(answer: Answer) -> float | None:
    """The seconds that a host asks to wait; None where it does not say."""
    after = answer.headers.get("retry-after", "").strip()
    if after.isascii() and after.isdecimal():
        return float(after[:9])
    if after:
        try:
            return max(0.0, (parsedate_to_datetime(after).astimezone(UTC) - datetime.now(UTC)).total_seconds())
        except ValueError:
            return None
    reset = answer.headers.get("x-ratelimit-reset", "")
    if _is_limit(answer) and reset.isascii() and reset.isdecimal():
        return max(0.0, float(reset[:12]) - datetime.now(UTC).timestamp())
    return None
