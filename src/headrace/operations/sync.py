"""Updates that follow the events of an environment: MLflow's aliases and `serving.json`; and notifications.

Aliases and `serving.json` are part of an operation, which waits for nothing else. Notifications are sent by a process
that has time: a slow webhook delays neither a rollback nor a rule that stops a version.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from socket import gethostname
from typing import TYPE_CHECKING

from headrace.access.audit import record
from headrace.core.errors import DataError, HeadraceError
from headrace.core.ids import digest
from headrace.operations import later
from headrace.workspace.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from types import ModuleType

    from headrace.core.events import DeliveryFailure, Event
    from headrace.registry.records import Share
    from headrace.serving.manifest import Role
    from headrace.workspace.workspace import Workspace

LOG = logging.getLogger(__name__)


def follow(workspace: Workspace, *, patient: bool = False) -> Sequence[DeliveryFailure]:
    """Brings MLflow's aliases and `serving.json` along, and sets right what was changed by hand.

    Gives one entry for each channel that still has something to take.
    """
    troubles = workspace.outbox.deliver(_own(workspace), patient=patient)
    late = {trouble.channel for trouble in troubles}
    if "mlflow" not in late:
        from headrace.registry import projection

        projection.repair(workspace.registry)
    if serving_here(workspace) not in late:
        _repair_serving(workspace)
    return troubles


def tell(workspace: Workspace) -> Sequence[DeliveryFailure]:
    """Tells people, by the channels of the environment; one that failed is left alone until its time has come."""

    def imported(module: str) -> ModuleType:  # the project is looked for only where a channel is a class of it
        return workspace.project.imported(module)

    channels = workspace.environment.channels(imported)
    return workspace.outbox.deliver({name: _unmuted(send) for name, send in channels.items()}, patient=True)


def _unmuted(send: Callable[[Event], None]) -> Callable[[Event], None]:
    """A channel that takes events of muted alerts without sending them."""

    def take(event: Event) -> None:
        if not (event.name.startswith("alert.") and event.payload.get("muted")):
            send(event)

    return take


def bring_along(workspace: Workspace) -> None:
    """Aliases and `serving.json` say what is so now; what could not be told yet is logged, and is tried again."""
    _log(follow(workspace))


def tell_people(workspace: Workspace) -> None:
    """Hands events to people's channels, after a command's answer; what could not be told yet is logged, and is tried again."""
    where, folder, release = workspace.configured.name, workspace.config.folder, workspace.release

    def afterwards() -> None:
        with _what_is_done_is_done(), open_workspace(where, folder=folder, release=release) as opened:
            _log(tell(opened))

    if not later.put_off((where, folder, release), afterwards):
        with _what_is_done_is_done():
            _log(tell(workspace))


@contextmanager
def _what_is_done_is_done() -> Generator[None]:
    """Neither an interruption nor a state database that is down makes an act look as if it were not done."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except KeyboardInterrupt:
        LOG.warning("interrupted while people were told; what was asked for is done, and they are told later.")
    except (HeadraceError, SQLAlchemyError) as error:
        LOG.warning("people are not told yet: %s", str(error).splitlines()[0])


def _log(failures: Sequence[DeliveryFailure]) -> None:
    for failure in failures:
        LOG.warning("%s was undecided: %s; it is tried again.", failure.channel, failure.error.rstrip("."))


def _repair_serving(workspace: Workspace) -> None:
    """What cannot be set right is left; `headrace status` tells of it."""
    for model in workspace.registry.models():
        if not workspace.home(model).is_dir():
            continue
        try:
            changed = serve_current(workspace, model)
        except DataError:
            continue
        if changed:
            with workspace.state.begin() as connection:
                record(connection, "headrace", "serving.repaired", model, {})


def _own(workspace: Workspace) -> dict[str, Callable[[Event], None]]:
    return {
        "mlflow": lambda event: _alias(workspace, event),
        serving_here(workspace): lambda event: _serving(workspace, event),
    }


def serving_here(workspace: Workspace) -> str:
    """The channel of the servers' folder on this machine: another one has another folder, and comes as far by itself."""
    return f"serving on {gethostname()[:64]} {digest(str(workspace.environment.root))[:8]}"


def _serving(workspace: Workspace, event: Event) -> None:
    if event.name not in ("stage.changed", "traffic.changed"):
        return
    model = str(event.payload["model"])
    try:
        serve_current(workspace, model)
    except DataError:
        if _is_copied_here(workspace, model):
            raise  # otherwise another machine serves it: `headrace run deploy --version N` makes the copy here


def _is_copied_here(workspace: Workspace, model: str) -> bool:
    """Whether this machine has a copy of the version in Production, however damaged."""
    from headrace.deployment.serving_bundle import folder_name

    version = workspace.registry.current(model, "Production")
    return version is not None and (workspace.home(model) / folder_name(version)).is_dir()


def serve_current(workspace: Workspace, model: str) -> bool:
    """`serving.json` says what is in Production now, and who answers beside it; gives whether it said something else.

    Raises:
        DataError: the version in Production has no whole copy.
    """
    from headrace.deployment import serving_bundle
    from headrace.serving.manifest import ServedSplit

    registry = workspace.registry
    split = registry.traffic.current(model)
    roles: list[tuple[Role, Sequence[Share]]] = [("candidate", split.candidates), ("shadow", split.shadows)]
    return serving_bundle.promote(
        workspace.home(model),
        None if split.primary is None else registry.get(model, split.primary),
        online=workspace.environment.online_address,
        spool=workspace.environment.root / "spool" / model,
        others=[(registry.get(model, each.version), role, each.weight) for role, shares in roles for each in shares],
        split=ServedSplit(id=split.id, salt=split.salt, by=split.columns),
    )


def _alias(workspace: Workspace, event: Event) -> None:
    from headrace.registry import projection

    projection.follow(workspace.registry, event)
