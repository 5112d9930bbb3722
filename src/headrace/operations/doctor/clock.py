"""The clock of this machine against those of the servers that it works with."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from headrace.core.errors import ConfigError, UnavailableError
from headrace.operations.doctor.finding import ok, warning

if TYPE_CHECKING:
    from headrace.operations.doctor.finding import CheckFinding

MOST = 5.0  # seconds; an HTTP date has whole ones
PATIENCE = 5.0  # seconds for a connection, and for an answer


def skew(server: str, theirs: datetime, before: datetime, after: datetime) -> CheckFinding:
    """How far two clocks are apart.

    Args:
        server: whose clock it is.
        theirs: what it showed.
        before: what this machine's clock showed when the server was asked.
        after: what it showed when the answer was there.
    """
    apart = max((before - theirs).total_seconds(), (theirs - after).total_seconds(), 0.0)
    if apart <= MOST:
        return ok("clock", f"that of {server} agrees to {MOST:.0f} s")
    side = "ahead of" if theirs < before else "behind"
    return warning(
        "clock",
        f"this machine is {apart:,.0f} s {side} {server}",
        "Synchronise both clocks (NTP: `timedatectl set-ntp true`): leases, availability times and signatures depend on them.",
    )


def ask_http(url: str, path: str, what: str) -> tuple[str, CheckFinding | None]:
    """Asks an HTTP server, without credentials and without following a redirection.

    Args:
        url: of the server; credentials in it are not sent.
        path: what is requested.
        what: the server, for messages.

    Returns:
        What it answered, and the finding about its clock; None where it sends no date.

    Raises:
        ConfigError: it is no URL.
        UnavailableError: it does not answer, or fails.
    """
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"the address of {what} is no URL.", hint="Write https://host:port.")
    shown = f"{host}{f':{port}' if port else ''}"
    connection = (HTTPSConnection if parts.scheme == "https" else HTTPConnection)(host, port, timeout=PATIENCE)
    before = datetime.now(UTC)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}{path}", headers={"User-Agent": "headrace"})
        answer = connection.getresponse()
    except TimeoutError:
        raise UnavailableError(
            f"{what} at {shown} does not answer within {PATIENCE:.0f} s.",
            hint="Is it up, and can it be reached from here?",
        ) from None
    except (OSError, HTTPException) as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        raise UnavailableError(
            f"{what} at {shown} cannot be reached: {said}.", hint="Is it up, and can it be reached from here?"
        ) from None
    finally:
        connection.close()
    if answer.status >= 500:
        raise UnavailableError(f"{what} at {shown} answers {answer.status}.", hint="See its log.")
    return shown, _of_date(answer.headers.get("Date", ""), what, before, datetime.now(UTC))


def _of_date(text: str, what: str, before: datetime, after: datetime) -> CheckFinding | None:
    try:
        theirs = parsedate_to_datetime(text)
    except ValueError:
        return None
    return skew(what, theirs.replace(tzinfo=UTC) if theirs.tzinfo is None else theirs.astimezone(UTC), before, after)
