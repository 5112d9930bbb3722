"""What comes after a command that changed something: what follows it is brought along, then people are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.cli.output import wrong

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.core.events import DeliveryFailure
    from headrace.workspace.workspace import Workspace


def bring_along(workspace: Workspace) -> None:
    """MLflow's aliases and `serving.json` say what is so now."""
    from headrace.operations.sync import follow

    _late(follow(workspace))


def tell_people(workspace: Workspace) -> None:
    """Hands events to the channels that people are told by: last, for their far side may take its time."""
    from headrace.operations.sync import tell

    _late(tell(workspace))


def _late(troubles: Iterable[DeliveryFailure]) -> None:
    for trouble in troubles:
        wrong(f"{trouble.channel} was not told yet: {trouble.error.rstrip('.')}; it is tried again.")
