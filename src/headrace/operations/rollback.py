"""Rolls back to a version that has been in Production."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.sync import bring_along, tell_people

if TYPE_CHECKING:
    from datetime import datetime

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


@operation("model rollback", of="name")
def roll_back(workspace: Workspace, name: str, *, to: int | None = None, reason: str) -> RollbackReport:
    """Brings a version back to Production that has been there; servers and MLflow's aliases follow before this returns.

    Args:
        workspace: the environment.
        name: of the model.
        to: the number of the version; None: the one that was in Production before. Each further call goes one further back.
        reason: it is kept with the decision.

    Raises:
        RefusedError: the role or the reason is missing, the version has never been in Production, or servers cannot start
            from its copy.
        NotFoundError: there is no such version, or none has been in Production before.
        DataError: its artifact is not what was registered.
    """
    from headrace.deployment import rollback

    replaced = workspace.registry.current(name, "Production")
    change = rollback.roll_back(
        workspace.registry,
        name,
        home=workspace.home(name),
        to=to,
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
