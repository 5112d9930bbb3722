"""The contract of a channel: its kind, its settings as data, and `send`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.core.events import Event


def _any(_: object) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class ChannelSetting:
    """One key of `[env.<name>.notify.<channel>]`.

    Attributes:
        name: the key, and the keyword of the channel's constructor.
        secret: whether it is a secret: it is then written as `{secret = "NAME"}`, the name of an environment variable, and
            never as it is. Defaults to no.
        by_reference: whether it may be written as it is or as `{secret = "NAME"}`, as a URL that may hold a token. Defaults
            to no.
        required: whether a channel without it is refused; defaults to no.
        possible: a function of a value that returns whether the value is possible; it is not called for a secret. Defaults
            to any value.
        wrong: the end of the sentence that refuses a value: `"is not a port."`; defaults to `"is not possible."`.
        hint: what to write instead; defaults to nothing.

    Example:
        >>> port = hr.ChannelSetting(
        ...     name="port",
        ...     possible=lambda value: isinstance(value, int) and 0 < value < 65536,
        ...     wrong="is not a port.",
        ...     hint="For example 587.",
        ... )
        >>> port.possible(99999)
        False
    """

    name: str
    secret: bool = False
    by_reference: bool = False
    required: bool = False
    possible: Callable[[object], bool] = _any
    wrong: str = "is not possible."
    hint: str = ""


class Channel(ABC):
    """A way to send events to people, such as a webhook or e-mail.

    A kind is a subclass, whose constructor takes the settings by keyword. `headrace.toml` names a kind of a project by its
    class: `kind = "package.module:Class"`.

    Attributes:
        kind: the name of a built-in kind in `headrace.toml`, `webhook` or `email`.
        settings: the keys that it takes there; others are refused.
        main: the setting that may be written alone in place of the table, as `url` of a webhook: `webhook = "https://…"` is
            `webhook = {url = "https://…"}`. Defaults to none, `""`.

    Example:
        In the module `shop.channels`, for `desk = {kind = "shop.channels:Desk", prefix = "[shop]"}` in `[env.prod.notify]`;
        `event` is an alert of the model `late_arrival`:

        >>> class Desk(hr.Channel):
        ...     kind, settings = "desk", (hr.ChannelSetting(name="prefix"),)
        ...     def __init__(self, prefix=""):
        ...         self.prefix = prefix
        ...     def send(self, event):
        ...         print(self.prefix, event.id, event.name, event.subject)
        >>> Desk(prefix="[shop]").send(event)
        [shop] 7 alert.opened late_arrival/1
    """

    kind: ClassVar[str]
    settings: ClassVar[tuple[ChannelSetting, ...]]
    main: ClassVar[str] = ""

    @abstractmethod
    def send(self, event: Event) -> None:
        """Tells people of one event; it was taken when this returns.

        It may come again with an event of the same `id`, after a process died between the delivery and the note of it: the
        id belongs into what is sent, so that the far side can tell. A channel need not remember ids itself. An event is one
        message whatever is in its texts, line breaks included. Events come one after another, the oldest first; what takes
        long holds up the later events of this channel, so it ends by itself after some seconds.

        A channel that keeps events in a file on this machine has them on the disk when this returns: it calls `os.fsync`
        on the file, and on the folder of a new file. An event that was taken is not sent again after a loss of power.

        Raises:
            HeadraceError: the event was not taken; nothing of it counts as taken. It comes again, after 5 seconds, 10 seconds
                and so on up to an hour. The message names the far side, by its host or its path. It is kept in the state
                database and shown by `headrace status`: it never holds a credential.
        """
