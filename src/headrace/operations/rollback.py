"""Rolls back to a version that has been in Production, and says beforehand what that changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import NotFoundError, RefusedError
from headrace.core.text import percent
from headrace.operations.models import report_version
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.sync import bring_along, tell_people

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.operations.models import VersionReport
    from headrace.registry.records import Stage
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class RollbackReport(Record):
    """A version came back to Production.

    Attributes:
        at: when.
        model: its name.
        version: the number of the version that is in Production now.
        stage: `Production`.
        by: who brought it back.
        reason: why.
        decision: the id of the decision by which it was moved.
        replaced: the number of the version that was in Production before; None where there was none.
        previous: the number of the version to which another rollback would go; None where there is none.
    """

    at: datetime
    model: str
    version: int
    stage: Stage
    by: str
    reason: str
    decision: int | None
    replaced: int | None
    previous: int | None


@dataclass(frozen=True, kw_only=True)
class RollbackPreview(Record):
    """What a rollback would change.

    Attributes:
        model: its name.
        replaced: the version in Production; None where there is none.
        brought_back: the version that would come; None where none can.
        was_there: when that one came to Production last; None where none can come.
        refused: why it cannot be done now; empty where it can.
        ends: what ends with it, in words: shares of candidates, a rollout.
        others: the numbers of all versions that have been in Production and are not there, the newest first.
    """

    model: str
    replaced: VersionReport | None
    brought_back: VersionReport | None
    was_there: datetime | None
    refused: str
    ends: tuple[str, ...]
    others: tuple[int, ...]


@operation("model rollback", of="name", reads=True)
def preview_rollback(workspace: Workspace, name: str, *, to: int | None = None) -> RollbackPreview:
    """What `roll_back` would change; nothing is done.

    Args:
        workspace: the environment.
        name: of the model.
        to: the number of the version; None: the one that was in Production before.

    Raises:
        NotFoundError: there is no such model or version.
    """
    from headrace.deployment import rollback

    registry = workspace.registry
    registry.versions(name)
    if to is not None:
        registry.get(name, to)
    replaced, target, refused = registry.current(name, "Production"), None, ""
    try:
        target = rollback.target(registry, name, home=workspace.home(name), to=to)
    except (NotFoundError, RefusedError) as error:
        refused = f"{error.what} {error.hint}".rstrip()
    served = {change.version: change.at for change in registry.history(name) if change.stage == "Production"}
    there = None if replaced is None else replaced.version
    return RollbackPreview(
        model=name,
        replaced=None if replaced is None else report_version(replaced),
        brought_back=None if target is None else report_version(target),
        was_there=None if target is None else served.get(target.version),
        refused=refused,
        ends=tuple(_ends(workspace, name)) if target else (),
        others=tuple(sorted(served.keys() - {there}, reverse=True)),
    )


def _ends(workspace: Workspace, name: str) -> list[str]:
    """Another version in Production ends the shares of candidates, which were approved beside the old one."""
    split, rollout = workspace.registry.traffic.current(name), workspace.registry.rollouts.running(name)
    ends = [f"the share of version {each.version}, {percent(each.weight)}" for each in split.candidates]
    return [*ends, *([] if rollout is None else [f"the rollout of version {rollout.version}"])]


@operation("model rollback", of="name", publishes_catalog=True)
def roll_back(
    workspace: Workspace, name: str, *, to: int | None = None, expect: int | None = None, reason: str
) -> RollbackReport:
    """Brings a version back to Production that has been there; servers and MLflow's aliases follow before this returns.

    Args:
        workspace: the environment.
        name: of the model.
        to: the number of the version; None: the one that was in Production before. Each further call goes one further back.
        expect: the number of the version that is to be replaced; None: whichever is in Production.
        reason: it is kept with the decision.

    Raises:
        RefusedError: the role or the reason is missing, the version has never been in Production, or servers cannot start
            from its copy.
        NotFoundError: there is no such version, or none has been in Production before.
        ConflictError: another version than the expected one is in Production.
        DataError: its artifact is not what was registered.
    """
    from headrace.deployment import rollback

    replaced = workspace.registry.current(name, "Production")
    change = rollback.roll_back(
        workspace.registry,
        name,
        home=workspace.home(name),
        to=to,
        expect=expect,
        reason=reason,
        identity=workspace.access.me(),
    )
    bring_along(workspace)
    report = RollbackReport(
        **vars(change),
        model=name,
        replaced=None if replaced is None else replaced.version,
        previous=rollback.before(workspace.registry, name),
    )
    tell_people(workspace)
    return report
