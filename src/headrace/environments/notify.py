"""`[env.<name>.notify]`: the channels that receive events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, cast

from headrace.core.channels import registry
from headrace.core.errors import HeadraceError
from headrace.environments.secret import Secret
from headrace.environments.section import Section
from headrace.environments.toml import Table, described

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from headrace.core.channels import Channel
    from headrace.core.events import Event


@dataclass(frozen=True, kw_only=True)
class ChannelConfig:
    """One channel that events are delivered to: `[env.<name>.notify.<channel>]`.

    Attributes:
        kind: a kind of `core.channels.registry`, or `package.module:Class`.
        settings: the settings of that kind, secrets by reference.
    """

    kind: str
    settings: Mapping[str, object] = field(repr=False)


def senders(
    notify: Mapping[str, ChannelConfig],
    environment: str,
    importing: Callable[[str], ModuleType] = import_module,
) -> dict[str, Callable[[Event], None]]:
    """Makes the functions that deliver events.

    Args:
        notify: the channels by their names.
        environment: the name of the environment, for messages.
        importing: returns the module of a kind from outside by its name. Defaults to an import of an installed module.

    Returns:
        A function for each channel by its name, for `Outbox.deliver`. Secrets are read, and a class from outside is
        imported, when an event is delivered, so that what is missing is a failure of that channel alone.
    """
    return {
        name: partial(_send, channel, f"[env.{environment}] notify.{name}", importing)
        for name, channel in notify.items()
    }


def unusable_channels(
    notify: Mapping[str, ChannelConfig],
    environment: str,
    importing: Callable[[str], ModuleType] = import_module,
) -> dict[str, HeadraceError]:
    """Makes each channel, with its secrets, and sends nothing.

    Args:
        notify: the channels by their names.
        environment: the name of the environment, for messages.
        importing: returns the module of a kind from outside by its name. Defaults to an import of an installed module.

    Returns:
        For each channel that cannot be made: why.
    """
    wrong: dict[str, HeadraceError] = {}
    for name, channel in notify.items():
        try:
            _made(channel, f"[env.{environment}] notify.{name}", importing)
        except HeadraceError as error:
            wrong[name] = error
    return wrong


def _send(config: ChannelConfig, where: str, importing: Callable[[str], ModuleType], event: Event) -> None:
    channel, secrets = _made(config, where, importing)
    registry.send(channel, event, where=where, secrets=secrets)


def _made(config: ChannelConfig, where: str, importing: Callable[[str], ModuleType]) -> tuple[Channel, frozenset[str]]:
    """The channel, and the secrets that it was made with."""
    values, secrets = dict(config.settings), set[str]()
    for key, value in config.settings.items():
        if isinstance(value, Secret):
            values[key] = value.read(f"{where}.{key}")
            secrets.add(cast("str", values[key]))
    try:
        channel = registry.make(registry.find(config.kind, importing), values, where=where)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # the constructor of a channel from outside, too
        raise registry.hidden(error, where=where, secrets=secrets) from None
    return channel, frozenset(secrets)


def read_notify(section: Section) -> dict[str, ChannelConfig]:
    """Reads the channels of an environment: each is a table with `kind`, which defaults to the channel's name.

    Args:
        section: the environment's section.

    Returns:
        The channels by their names.

    Raises:
        ConfigError: a kind, a key or a value is not possible.
    """
    inner = section.inner("notify", None, example='notify = {webhook = "https://…"}')
    table = dict(inner.table)
    signed = table.pop("signed_with", None)
    if signed is not None and "webhook" not in table:
        raise inner.error("signed_with", "there is no webhook to sign for.")
    channels = {name: _read_channel(inner, name, value) for name, value in table.items()}
    if signed is not None:
        settings = {**channels["webhook"].settings, "signed_with": inner.secret("signed_with", signed)}
        channels["webhook"] = replace(channels["webhook"], settings=settings)
    return channels


def _read_channel(section: Section, name: str, value: object) -> ChannelConfig:
    """One channel. Of a kind from outside only that no secret is in clear is known before it is imported."""
    table = _channel_table(value)
    kind = name if table is None else table.pop("kind", name)
    if not isinstance(kind, str) or not (kind in registry.KINDS or registry.is_outside(kind)):
        if table is None or "kind" not in cast("Table", value):
            section.source.only([name], registry.KINDS, section.name)
        hint = f'kind = one of {", ".join(registry.KINDS)}, or "package.module:Class".'
        raise section.error(name, f"kind {described(kind)} is no kind of channel.", hint=hint)
    cls = registry.KINDS.get(kind)
    if table is None:
        if cls is None or not cls.main:
            raise section.wrong(name, value, "is not a table.", hint=f"{name} = {{…}}")
        return ChannelConfig(kind=kind, settings=_known_settings(section, cls, {cls.main: value}, name))
    inner = Section(source=section.source, folder=section.folder, name=f"{section.name}.{name}", table=table)
    settings = _known_settings(inner, cls, table) if cls else _outside_settings(inner, table)
    return ChannelConfig(kind=kind, settings=settings)


def _channel_table(value: object) -> dict[str, object] | None:
    """The settings of a channel; None for a text, or a reference to one, that stands for its main setting."""
    if not isinstance(value, Mapping) or list(cast("Table", value)) == ["secret"]:
        return None
    return dict(cast("Table", value))


def _known_settings(
    section: Section, cls: type[Channel], table: Mapping[str, object], main: str = ""
) -> dict[str, object]:
    """The settings of a kind that is known; `main` is the key of a value that stands for the main one."""
    known = {setting.name: setting for setting in cls.settings}
    section.source.only(table, known, section.name)
    for setting in cls.settings:
        if setting.required and setting.name not in table:
            above, _, name = section.name.rpartition(".")
            raise section.source.error(f"{name}: there is no {setting.name!r}.", section=above, key=name, excerpt=False)
    settings: dict[str, object] = {}
    for name, value in table.items():
        setting, key = known[name], main or name
        if setting.secret:
            settings[name] = section.secret(key, value)
        elif setting.by_reference and not isinstance(text := section.secret_or_text(key, value), str):
            settings[name] = text
        elif not setting.possible(value):
            raise section.wrong(key, value, setting.wrong, hint=setting.hint)
        else:
            settings[name] = value
    return settings


def _outside_settings(section: Section, table: Mapping[str, object]) -> dict[str, object]:
    """The settings of a kind that is not imported yet: plain values, and references to secrets."""
    return {
        key: section.secret_or_text(key, cast("object", value)) if isinstance(value, Mapping) else value
        for key, value in table.items()
    }
