"""What follows the events of an environment: MLflow's aliases, `serving.json`, people who want to be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.core.events import Event, Trouble
    from headrace.workspace.workspace import Workspace


def follow(workspace: Workspace, *, patient: bool = False) -> Sequence[Trouble]:
    """Delivers what was not delivered yet, and sets aliases right that were moved by hand in MLflow.

    Gives one entry for each channel that still has something to take.
    """
    troubles = workspace.outbox.deliver(channels(workspace), patient=patient)
    if not any(trouble.channel == "mlflow" for trouble in troubles):
        from headrace.registry import projection

        projection.repair(workspace.registry)
    return troubles


def channels(workspace: Workspace) -> dict[str, Callable[[Event], None]]:
    """Every channel of an environment, by name."""
    return {
        "mlflow": lambda event: _alias(workspace, event),
        "serving": lambda event: (
            serve_current(workspace, str(event.payload["model"])) if event.name == "stage.changed" else None
        ),
        **workspace.environment.channels(),
    }


def serve_current(workspace: Workspace, model: str) -> None:
    """`serving.json` says the version that is in Production now."""
    from headrace.deployment import staged

    staged.promote(
        workspace.home(model),
        workspace.registry.current(model, "Production"),
        online=workspace.environment.root / "online.db",
        spool=workspace.environment.root / "spool" / model,
    )


def _alias(workspace: Workspace, event: Event) -> None:
    from headrace.registry import projection

    projection.follow(workspace.registry, event)
