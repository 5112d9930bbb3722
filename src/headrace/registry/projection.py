"""Stages as aliases in MLflow's registry: a projection, which is corrected after manual changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.access.audit import record
from headrace.core.events import publish

if TYPE_CHECKING:
    from headrace.core.events import Event
    from headrace.core.ids import Json
    from headrace.registry.records import Stage
    from headrace.registry.registry import Registry

ALIASES: dict[str, Stage] = {"staging": "Staging", "production": "Production"}
TAG = "headrace.stage"


@dataclass(frozen=True, kw_only=True)
class AliasRepair:
    """An alias that pointed elsewhere than the registry says.

    Attributes:
        found: the version that MLflow's alias pointed at; None for no alias.
        set_to: the version that is in the stage; None for none.
    """

    model: str
    alias: str
    found: int | None
    set_to: int | None


def follow(registry: Registry, event: Event) -> None:
    """Takes events of the outbox: aliases and tags come to where the stages are."""
    if event.name == "stage.changed":
        model = str(event.payload["model"])
        _align(registry, model)
        for version in registry.versions(model):
            registry.tracking.tag_version(model, version.version, TAG, version.stage)


def repair(registry: Registry) -> list[AliasRepair]:
    """Sets right what was moved by hand in MLflow. To be called when the outbox is empty.

    Each repair is in the audit record, and an event tells of it.
    """
    found = [each for model in registry.models() for each in _align(registry, model)]
    for each in found:
        told: dict[str, Json] = {"alias": each.alias, "found": each.found, "set_to": each.set_to}
        with registry.state.begin() as connection:
            record(connection, "headrace", "alias.repaired", each.model, told)
            publish(connection, "alias.repaired", each.model, told)
    return found


def _align(registry: Registry, model: str) -> list[AliasRepair]:
    there = registry.tracking.aliases(model)
    changed: list[AliasRepair] = []
    for alias, stage in ALIASES.items():
        current = registry.current(model, stage)
        wanted = None if current is None else current.version
        if there.get(alias) != wanted:
            registry.tracking.set_alias(model, alias, wanted)
            changed.append(AliasRepair(model=model, alias=alias, found=there.get(alias), set_to=wanted))
    return changed
