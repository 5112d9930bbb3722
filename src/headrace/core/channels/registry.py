"""The kinds of channels, and the creation of a channel from its description in `headrace.toml`."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING

from headrace.core.channels.base import Channel
from headrace.core.channels.email import Email
from headrace.core.channels.webhook import Webhook
from headrace.core.errors import ConfigError, HeadraceError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from types import ModuleType

    from headrace.core.events import Event

KINDS: dict[str, type[Channel]] = {each.kind: each for each in (Webhook, Email)}
OUTSIDE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")  # package.module:Class


def is_outside(kind: str) -> bool:
    """Whether a kind names a class of a project or of an installed package: `shop.pager:Pager`."""
    return bool(OUTSIDE.fullmatch(kind))


def find(kind: str, importing: Callable[[str], ModuleType] = import_module) -> type[Channel]:
    """The class of a kind. One from outside is imported, with all the rights of the process.

    Args:
        kind: of `KINDS`, or `package.module:Class`.
        importing: gives a module by its name.

    Raises:
        NotFoundError: no such kind.
        ConfigError: no such module or class, or one that is no channel.
    """
    if kind in KINDS:
        return KINDS[kind]
    if not is_outside(kind):
        raise NotFoundError(
            "kind of channel", kind, KINDS, hint='Or a class of your own: kind = "package.module:Class".'
        )
    module, _, name = kind.partition(":")
    try:
        found: object = getattr(importing(module), name, None)
    except HeadraceError:
        raise
    except Exception as error:
        raise ConfigError(f"kind = {kind!r}: {module} cannot be imported: {type(error).__name__}.") from error
    if not isinstance(found, type) or not issubclass(found, Channel):
        raise ConfigError(
            f"kind = {kind!r} is no channel.", hint="It is a subclass of headrace.core.channels.Channel, with `send`."
        )
    return found


def make(cls: type[Channel], values: Mapping[str, object], *, where: str) -> Channel:
    """A channel with these settings, secrets in clear.

    Args:
        cls: its class.
        values: setting → value.
        where: what messages begin with: `[env.prod] notify.pager`.

    Raises:
        ConfigError: a setting that it does not have, one that is missing or not possible; no value is repeated.
    """
    known = {setting.name: setting for setting in cls.settings}
    for name in values:
        if name not in known:
            raise ConfigError(f"{where}: unknown key {name!r}.", hint=f"Known: {', '.join(known) or 'none'}.")
    for setting in cls.settings:
        if setting.required and setting.name not in values:
            raise ConfigError(f"{where}: there is no {setting.name!r}.", hint=setting.hint)
        if setting.name in values and not setting.secret and not setting.possible(values[setting.name]):
            raise ConfigError(f"{where}.{setting.name}: its value {setting.wrong}", hint=setting.hint)
    return cls(**values)


def send(channel: Channel, event: Event, *, where: str, secrets: Collection[str] = ()) -> None:
    """Sends an event by a channel; whatever it raises is an error of Headrace that holds none of its secrets.

    Args:
        channel: that takes it.
        event: to be told.
        where: what messages about an error of another kind begin with.
        secrets: the values that must not be in a message.

    Raises:
        HeadraceError: it was not taken.
    """
    try:
        channel.send(event)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a channel from outside may raise anything
        raise hidden(error, where=where, secrets=secrets) from None


def hidden(error: BaseException, *, where: str, secrets: Collection[str]) -> HeadraceError:
    """An error with `…` in place of every secret."""

    def without(text: str) -> str:
        for secret in sorted((each for each in secrets if each), key=len, reverse=True):
            text = text.replace(secret, "…")
        return text

    if isinstance(error, HeadraceError):
        text, hint = without(error.what), without(error.hint)
        return HeadraceError(text, hint=hint, findings=[without(each) for each in error.findings])
    return HeadraceError(without(f"{where} raised {type(error).__name__}: {error}"))
