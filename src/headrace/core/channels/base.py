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
        secret: it is written as `{secret = "NAME"}`, the name of an environment variable, and never in clear.
        by_reference: it may be written in either way, as a URL that holds a token.
        required: there is no channel without it.
        possible: whether a value is possible; of a secret it is not asked.
        wrong: the end of the sentence about a value that is not: "is not a port."
        hint: what to write instead.
    """

    name: str
    secret: bool = False
    by_reference: bool = False
    required: bool = False
    possible: Callable[[object], bool] = _any
    wrong: str = "is not possible."
    hint: str = ""


class Channel(ABC):
    """Where events are told. A kind is a class whose constructor takes its settings by keyword.

    Attributes:
        kind: what `headrace.toml` calls it.
        settings: the keys that it takes there; others are refused.
        main: the setting that a plain text, or a reference to a secret, in place of the table stands for; "" for none.
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
