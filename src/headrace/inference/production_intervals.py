"""Which version was in Production when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from headrace.registry.records import StageChange


@dataclass(frozen=True, kw_only=True)
class ProductionInterval:
    """A version (None: no version) in `since <= moment < until`."""

    version: int | None
    since: datetime
    until: datetime


def in_production(history: Iterable[StageChange], *, since: datetime, until: datetime) -> list[ProductionInterval]:
    """A span of time, cut where the version in Production changed.

    Args:
        history: of all versions of one model.
        since: the first moment.
        until: the first that is left out.
    """
    found: list[ProductionInterval] = []
    current, begun = None, since
    for change in sorted(history, key=lambda change: change.at):
        if change.stage == "Production":
            following = change.version
        elif change.version == current:
            following = None
        else:
            continue
        at = min(max(change.at, since), until)
        if following != current and at > begun:
            found.append(ProductionInterval(version=current, since=begun, until=at))
            begun = at
        current = following
    if begun < until:
        found.append(ProductionInterval(version=current, since=begun, until=until))
    return found
