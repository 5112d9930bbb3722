"""The channel `webhook`: each event as a JSON object, posted to a URL."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from headrace.core.channels.base import Channel, ChannelSetting
from headrace.core.errors import ConfigError, HeadraceError

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from urllib.request import Request

    from headrace.core.events import Event

SIGNATURE = "X-Headrace-Signature"
TIME_OUT = 10.0  # seconds
HINT = "It starts with https:// (or http://), and names a host; its port is a number, credentials are percent-encoded."


def is_url(value: object) -> bool:
    """Whether it is a URL that events can be posted to."""
    try:
        parts = urlsplit(str(value))
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # its text would show what stands in front of the host
        return False


@dataclass(frozen=True, kw_only=True)
class Webhook(Channel):
    """Posts each event as a JSON object: `id`, `name`, `subject`, `at`, `payload`.

    With `signed_with`, the header `X-Headrace-Signature: sha256=<hex>` is the HMAC-SHA256 of the body. Any 2xx answer means
    that it was taken. Redirections are not followed: they would carry the event, and its signature, to somebody else.

    Attributes:
        url: `http` or `https`; it may hold credentials.
        signed_with: the secret that the body is signed with.
        time_out: seconds.
    """

    kind: ClassVar[str] = "webhook"
    main: ClassVar[str] = "url"
    settings: ClassVar[tuple[ChannelSetting, ...]] = (
        ChannelSetting(
            name="url", required=True, possible=is_url, wrong="is no URL of a webhook.", hint=HINT, by_reference=True
        ),
        ChannelSetting(name="signed_with", secret=True),
    )

    url: str = field(repr=False)
    signed_with: str | None = field(default=None, repr=False)
    time_out: float = TIME_OUT

    def __post_init__(self) -> None:
        if not is_url(self.url):
            raise ConfigError("the URL of a webhook is not one.", hint=HINT)

    @property
    def shown(self) -> str:
        """The URL without what must not be seen: credentials, path and query, where tokens are."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}/…"

    def send(self, event: Event) -> None:
        """Posts an event.

        Raises:
            HeadraceError: it could not be reached, or did not take it.
        """
        from http.client import HTTPException
        from urllib.error import HTTPError, URLError

        try:
            with self._send(self._request(_body(event))) as answer:
                answer.read(1)
        except HTTPError as error:
            error.close()
            raise HeadraceError(f"{self.shown} answered {error.code} to event {event.id}.") from None
        except URLError as error:
            raise HeadraceError(f"{self.shown} cannot be reached: {error.reason}.") from None
        except (OSError, HTTPException) as error:
            raise HeadraceError(f"{self.shown} broke off: {type(error).__name__}.") from None

    def _request(self, body: bytes) -> Request:
        from base64 import b64encode
        from urllib.parse import unquote
        from urllib.request import Request

        parts = urlsplit(self.url)
        headers = {"Content-Type": "application/json", "User-Agent": "headrace"}
        if self.signed_with is not None:
            headers[SIGNATURE] = f"sha256={hmac.new(self.signed_with.encode(), body, hashlib.sha256).hexdigest()}"
        if parts.username is not None:  # urllib would take user:password@host for the name of a host
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return Request(plain, data=body, headers=headers, method="POST")  # noqa: S310  # the scheme was checked

    def _send(self, request: Request) -> HTTPResponse:
        from urllib import request as handlers

        opener = handlers.OpenerDirector()  # without the handlers of redirections, files and FTP
        for handler in (
            handlers.ProxyHandler,
            handlers.HTTPHandler,
            handlers.HTTPSHandler,
            handlers.HTTPDefaultErrorHandler,
            handlers.HTTPErrorProcessor,
        ):
            opener.add_handler(handler())
        return opener.open(request, timeout=self.time_out)


def _body(event: Event) -> bytes:
    told = {"id": event.id, "name": event.name, "subject": event.subject, "at": event.at.isoformat()}
    return json.dumps({**told, "payload": event.payload}, ensure_ascii=False).encode()
