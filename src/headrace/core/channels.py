"""Channels that tell people of events: a webhook and e-mail. Each takes one event, or raises; the outbox tries again.

An event may come twice when a process dies between the delivery and the note of it: its id is in every message, so that
the far side can tell. What is raised goes into the state database and into logs, and therefore never holds credentials.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from headrace.core.errors import ConfigError, HeadraceError

if TYPE_CHECKING:
    import smtplib
    from collections.abc import Sequence
    from email.message import EmailMessage
    from http.client import HTTPResponse
    from urllib.request import Request

    from headrace.core.events import Event

SIGNATURE = "X-Headrace-Signature"
TIME_OUT = 10.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """Posts each event as a JSON object: `id`, `name`, `subject`, `at`, `payload`.

    With a secret, the header `X-Headrace-Signature: sha256=<hex>` is the HMAC-SHA256 of the body. Any 2xx answer means
    that it was taken. Redirections are not followed: they would carry the event, and its signature, to somebody else.

    Attributes:
        url: `http` or `https`; it may hold credentials.
        secret: what the body is signed with.
        time_out: seconds.
    """

    url: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)
    time_out: float = TIME_OUT

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            possible = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # its text would show what stands in front of the host
            possible = False
        if not possible:
            raise ConfigError(
                "the URL of a webhook is not one.",
                hint="It starts with https:// (or http://), and names a host; its port is a number, credentials are percent-encoded.",
            )

    @property
    def shown(self) -> str:
        """The URL without what must not be seen: credentials, path and query, where tokens are."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}/…"

    def __call__(self, event: Event) -> None:
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
        if self.secret is not None:
            headers[SIGNATURE] = f"sha256={hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()}"
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


@dataclass(frozen=True, kw_only=True)
class Email:
    """Sends each event as a plain message.

    Attributes:
        host: of the SMTP server.
        port: 465 begins encrypted; on others STARTTLS is used where the server offers it.
        sender: the address that it comes from.
        to: the addresses that it goes to.
        user: to log in with; never over a connection that is not encrypted.
        password: of the user.
        time_out: seconds.
    """

    host: str
    port: int = 25
    sender: str
    to: Sequence[str]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    time_out: float = TIME_OUT

    def __call__(self, event: Event) -> None:
        """Sends an event.

        Raises:
            HeadraceError: the server could not be reached, or refused somebody.
        """
        import smtplib
        import ssl

        secure = ssl.create_default_context()
        try:
            if self.port == 465:
                with smtplib.SMTP_SSL(self.host, self.port, timeout=self.time_out, context=secure) as server:
                    self._send(server, event, encrypted=True)
            else:
                with smtplib.SMTP(self.host, self.port, timeout=self.time_out) as server:
                    server.ehlo()
                    encrypted = server.has_extn("starttls")
                    if encrypted:
                        server.starttls(context=secure)
                    self._send(server, event, encrypted=encrypted)
        except smtplib.SMTPRecipientsRefused as error:
            raise HeadraceError(f"{self.host}:{self.port} refused {', '.join(error.recipients)}.") from None
        except smtplib.SMTPResponseException as error:
            raise HeadraceError(f"{self.host}:{self.port} answered {error.smtp_code} to event {event.id}.") from None
        except (OSError, smtplib.SMTPException) as error:
            raise HeadraceError(f"{self.host}:{self.port} cannot be reached: {error}.") from None

    def _send(self, server: smtplib.SMTP, event: Event, *, encrypted: bool) -> None:
        if self.user is not None:
            if not encrypted:
                raise HeadraceError(f"{self.host}:{self.port} is not encrypted; {self.user} does not log in there.")
            server.login(self.user, self.password or "")
        # raises when every address is refused; when only some are, the others would get it again at each attempt
        server.send_message(self._message(event))

    def _message(self, event: Event) -> EmailMessage:
        from email.message import EmailMessage

        message = EmailMessage()
        message["From"], message["To"] = self.sender, ", ".join(self.to)
        message["Subject"] = " ".join(f"[headrace] {event.name} {event.subject}".split())  # one line, whatever is in it
        message["Date"] = event.at
        message["X-Headrace-Event"] = str(event.id)
        message.set_content(json.dumps(event.payload, indent=2, ensure_ascii=False))
        return message


def _body(event: Event) -> bytes:
    told = {"id": event.id, "name": event.name, "subject": event.subject, "at": event.at.isoformat()}
    return json.dumps({**told, "payload": event.payload}, ensure_ascii=False).encode()
