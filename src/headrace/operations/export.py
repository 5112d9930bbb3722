"""Exports the files that serve a version elsewhere: which version may be exported, and to which place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from headrace.core.errors import NotFoundError, RefusedError
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.reserved_tables import check_outside
from headrace.operations.scoring_rules import gates_hold

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.registry.records import Version
    from headrace.workspace.workspace import Workspace

ExportKind = Literal["container", "kubernetes", "sagemaker"]
KINDS: tuple[ExportKind, ...] = get_args(ExportKind)


@dataclass(frozen=True, kw_only=True)
class ExportReport(Record):
    """What was written.

    Attributes:
        model: the name of the model.
        version: its number.
        to: what the files are for.
        into: the folder that holds them.
        files: their paths, relative to the folder, sorted.
        steps: the commands that serve the version from there, in order.
        features: whether the online store was a file, of which a copy as of now was written.
    """

    model: str
    version: int
    to: ExportKind
    into: Path
    files: tuple[str, ...]
    steps: tuple[str, ...]
    features: bool


@operation("model export", of="name")
def export_model(
    workspace: Workspace, name: str, *, to: ExportKind, into: Path, version: int | None = None
) -> ExportReport:
    """Writes what is needed to serve a version without this project: a container file, the model, and manifests.

    Args:
        workspace: the environment.
        name: of the model.
        to: what it is for.
        into: a folder of its own; it is created, and an earlier export in it is replaced.
        version: the number of the version; None: the one in Production.

    Raises:
        NotFoundError: there is no such model or version, or none is in Production.
        RefusedError: gates hold here, and the version has neither been in Production nor been approved for it; or the folder
            is inside of a store.
        DataError: the version has no whole copy, its artifact is not what was registered, or the folder holds something else.
    """
    from headrace.deployment.targets import container, kubernetes, sagemaker, tree

    registry = workspace.registry
    registry.versions(name)  # an unknown model is answered with those that there are
    chosen = registry.get(name, version) if version is not None else registry.current(name, "Production")
    if chosen is None:
        raise NotFoundError("version in Production of model", name, (), hint="Name one with --version.")
    _check(workspace, chosen, into)
    target = {"container": container, "kubernetes": kubernetes, "sagemaker": sagemaker}[to].TARGET
    online = workspace.environment.online_address
    written = tree.export(chosen, workspace.home(name), into, online=online, said=target.texts(chosen))
    return ExportReport(
        model=chosen.model,
        version=chosen.version,
        to=to,
        into=into,
        files=written.files,
        steps=tuple(target.steps(chosen, into)),
        features=written.features,
    )


def _check(workspace: Workspace, version: Version, into: Path) -> None:
    """An exported version answers callers, so it takes what Production takes."""
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
