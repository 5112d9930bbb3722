"""The channel `email`: each event as a plain message."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

from headrace.core.channels.base import Channel, ChannelSetting
from headrace.core.errors import HeadraceError

if TYPE_CHECKING:
    import smtplib
    from collections.abc import Sequence
    from email.message import EmailMessage

    from headrace.core.events import Event

TIME_OUT = 10.0  # seconds


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_port(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536


def _are_addresses(value: object) -> bool:
    items = cast("list[object]", value) if isinstance(value, list | tuple) else []
    return bool(items) and all(isinstance(each, str) and "@" in each for each in items)


@dataclass(frozen=True, kw_only=True)
class Email(Channel):
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

    kind: ClassVar[str] = "email"
    settings: ClassVar[tuple[ChannelSetting, ...]] = (
        ChannelSetting(name="host", required=True, possible=_is_text, wrong="is no text."),
        ChannelSetting(
            name="port",
            possible=_is_port,
            wrong="is not a port.",
            hint="465 begins encrypted; 25 or 587 may turn it on.",
        ),
        ChannelSetting(name="sender", required=True, possible=_is_text, wrong="is no text."),
        ChannelSetting(
            name="to",
            required=True,
            possible=_are_addresses,
            wrong="is not a list of addresses.",
            hint='to = ["team@example.org"]',
        ),
        ChannelSetting(name="user", possible=_is_text, wrong="is no text."),
        ChannelSetting(name="password", secret=True),
    )

    host: str
    port: int = 25
    sender: str
    to: Sequence[str]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    time_out: float = TIME_OUT

    def send(self, event: Event) -> None:
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
