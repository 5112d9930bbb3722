"""Which version may leave here to be served elsewhere, and where its files may go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import RefusedError
from headrace.operations.reserved_tables import check_outside
from headrace.operations.scoring_rules import gates_hold

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.registry.records import Version
    from headrace.workspace.workspace import Workspace


def check_export(workspace: Workspace, version: Version, into: Path) -> None:
    """An exported version answers callers, so it takes what Production takes.

    Raises:
        RefusedError: gates hold here, and it has neither been in Production nor been approved for it; the folder is inside
            of a store.
        DataError: it is approved, and its artifact is not what was registered.
    """
    check_outside(workspace, into, "a version is not exported")
    authorization = workspace.registry.authorization
    if not gates_hold(workspace, version.model) or authorization.has_served(version):
        return
    champion = workspace.registry.current(version.model, "Production")
    if champion is None or authorization.approval(version, champion.version) is None:
        raise RefusedError(
            f"{version.name} is in {version.stage}, has never been in Production and is not approved for it: "
            "what is exported answers callers, and takes what Production takes.",
            hint=f"headrace run deploy --model {version.model} --version {version.version}",
        )
