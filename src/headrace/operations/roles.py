"""What each role may do in an environment, from the table of rights by which operations are refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.access.rights import OPERATIONS, ROLES
from headrace.core.errors import HeadraceError
from headrace.deployment.declarations import Deployment
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class RoleReport(Record):
    """A role and what it permits in an environment; whoever is known may read, with any role or none.

    Attributes:
        role: its name.
        may: the commands that change something for which it is enough, without `headrace`.
        signs: commands for which it is enough where the object itself asks for this role, as a request does for its approver.
        is_known: whether Headrace or a gate of the project asks for it; a role that nothing asks for may be misspelt.
    """

    role: str
    is_known: bool
    may: tuple[str, ...]
    signs: tuple[str, ...]


@operation("access list")
def list_roles(workspace: Workspace) -> list[RoleReport]:
    """The roles that Headrace knows, that gates of the project ask for, and that somebody holds."""
    held, asked = {grant.role for grant in workspace.access.grants()}, _asked_for(workspace)
    changes = {name: right for name, right in OPERATIONS.items() if right.does == "changes"}
    signs = tuple(name for name, right in changes.items() if right.signs)
    return [
        RoleReport(
            role=role,
            is_known=role in ROLES or role in asked,
            may=tuple(
                name
                for name, right in changes.items()
                if not right.signs and right.held_by(frozenset({role}), lowest=workspace.is_lowest)
            ),
            signs=signs if role not in ROLES else (),
        )
        for role in (*ROLES, *sorted((held | asked) - {*ROLES}))
    ]


def _asked_for(workspace: Workspace) -> set[str]:
    """The roles that gates name; none where the program of the project cannot be loaded."""
    try:
        deployments = workspace.project.all(Deployment)
    except HeadraceError:
        return set()
    return {role for each in deployments for gate in each.gates for role in gate.roles}
