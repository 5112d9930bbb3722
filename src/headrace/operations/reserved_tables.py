"""Reserved places: tables that the project declares, tables made from these, and the stores themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core.errors import RefusedError
from headrace.deployment.declarations import Deployment
from headrace.features.declarations import FeatureTable
from headrace.lakehouse.declarations import Source, Table
from headrace.llm.index.declarations import VectorIndex
from headrace.monitoring import metric_tables
from headrace.training.declarations import Model

if TYPE_CHECKING:
    from headrace.environments.config import Environment
    from headrace.environments.project import Project
    from headrace.inference.declarations import Into
    from headrace.workspace.workspace import Workspace

LOCAL = "file://"


def predictions(deployment: Deployment) -> tuple[Into, ...]:
    """Where what a model says goes, in batch and from its stream."""
    stream = deployment.stream
    streamed = (stream.into,) if stream is not None and isinstance(stream.into, str) else ()
    return tuple(dict.fromkeys((*deployment.score.destinations, *streamed)))


def declared_tables(project: Project) -> dict[str, str]:
    """Table that a program declares → where."""
    declared = (*project.all(Source), *project.all(Table), *project.all(FeatureTable), *project.all(VectorIndex))
    return {each.name: str(each.where) for each in declared}


def derived_tables(project: Project) -> dict[str, str]:
    """Table that is made of predictions → what it holds."""
    found: dict[str, str] = {}
    for each in project.all(Deployment):
        for table in (into for into in predictions(each) if isinstance(into, str)):
            found |= dict.fromkeys(metric_tables.names(table), f"what monitoring counts of {each.name}")
        if each.stream is not None and isinstance(each.stream.letters, str):
            found[each.stream.letters] = f"dead letters of {each.name}"
    return found


def datasets(project: Project) -> set[str]:
    """Tables that models are evaluated or tuned on by name alone: nothing in the project makes them."""
    models = project.all(Model)
    found = [each.evaluate.dataset for each in models]
    found += [each.prompt_tuning.dataset for each in models if each.prompt_tuning is not None]
    return {each for each in found if isinstance(each, str)}


def check_load(workspace: Workspace, table: str, *, dataset: bool = False) -> None:
    """A file that is loaded by hand takes no table that the project makes itself.

    Args:
        workspace: the environment.
        table: its name.
        dataset: whether a data set is written, which may be one that a model names.

    Raises:
        RefusedError: it does.
    """
    project = workspace.project
    made = {
        into: f"predictions of {each.name}"
        for each in project.all(Deployment)
        for into in predictions(each)
        if isinstance(into, str)
    }
    found = {**made, **derived_tables(project), **declared_tables(project)}
    if table in found and not (dataset and table in datasets(project)):
        what, elsewhere = (
            ("feedback is not written", "") if dataset else ("a file is not loaded by hand", " with --into")
        )
        raise RefusedError(
            f"{what} into {table!r}, which the project makes itself: {found[table]}.",
            hint=f"Choose another table{elsewhere}; what a source declares, headrace run refresh loads.",
        )


def check_outside(workspace: Workspace, folder: Path, what: str) -> None:
    """Nothing is written by hand into the stores, of this environment or of another one.

    Raises:
        RefusedError: the folder is below one of them.
    """
    whole = folder.resolve()
    for environment in (workspace.environment, *workspace.config.environments):
        for store in _stores(environment):
            if whole.is_relative_to(store):
                raise RefusedError(
                    f"{what} into {str(folder)!r}, which is inside of {str(store)!r}: what {environment.name} keeps.",
                    hint="Name a folder of its own, outside.",
                )


def _stores(environment: Environment) -> list[Path]:
    """The folders in which an environment keeps everything."""
    places = (environment.lakehouse_root, environment.artifacts_root)
    local = [each.removeprefix(LOCAL) for each in places if each.startswith(LOCAL) or "://" not in each]
    return [environment.root.resolve(), *(Path(each).resolve() for each in local)]
