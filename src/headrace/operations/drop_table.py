"""Drops one table, in dev. After a kill at any moment, the same command drops what is left."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from headrace.core.errors import HeadraceError, RefusedError
from headrace.core.failpoints import reach
from headrace.operations.in_use import alone
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.environments.config import Environment
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class DropPlan(Record):
    """What would be taken away.

    Attributes:
        table: its name.
        env: the environment.
        rows: the number of rows in its latest version.
        version: the number of its latest Delta version.
        dependents: what depends on it, a clause each: tables, models, their versions, the online store.
    """

    table: str
    env: str
    rows: int
    version: int
    dependents: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DropReport(Record):
    """What was taken away.

    Attributes:
        table: the name that was asked for.
        env: the environment.
        dropped: the names of the tables that are gone: this one, and the rows that its expectations set apart.
        dependents: what depended on it, a clause each.
    """

    table: str
    env: str
    dropped: tuple[str, ...]
    dependents: tuple[str, ...]


def check_dev(environment: Environment, what: str) -> None:
    """Refuses where released or committed code runs: what is there was made to be kept.

    Raises:
        RefusedError: the environment is not for development.
    """
    if environment.code != "any":
        raise RefusedError(
            f"{what} is for environments in which the working tree may run; in {environment.name!r} only "
            f"{'a release' if environment.code == 'release' else 'committed code'} does. Nothing was removed.",
            hint="What is there was made to be kept: others read it, and versions in the registry cite it.",
        )


def _dependents(workspace: Workspace, name: str) -> list[str]:
    """What depends on a table, a line each: tables, models, their versions, the online store."""
    found = [
        f"version {number} ({stage}) of model {model} cites it" for model, number, stage in citing(workspace, name)
    ]
    with suppress(HeadraceError, SQLAlchemyError):
        published = workspace.online.table(name)
        if published is not None:
            found.append("the online store answers with its rows until the next `headrace run publish`")
    try:
        return [*_declared(workspace, name), *found]
    except HeadraceError as error:
        return [*found, f"which tables and models read it is not known: {error.what}"]


def _declared(workspace: Workspace, name: str) -> Iterator[str]:
    from headrace.chains.declarations import indexes as chain_indexes
    from headrace.lakehouse import graph
    from headrace.lakehouse.declarations import Source, Table
    from headrace.llm.index.declarations import VectorIndex
    from headrace.pipelines.model_inputs import tables
    from headrace.training.declarations import Model

    declared = [*workspace.project.all(Source), *workspace.project.all(Table)]
    indexes = workspace.project.all(VectorIndex)
    known = {*(each.name for each in workspace.lakehouse.names()), *(each.name for each in declared)}
    if name not in {each.name for each in (*declared, *indexes)}:
        yield "no source, table or vector index of this project is declared by its name, so `headrace run refresh` does not make it anew"
    for each in declared:
        if name in graph.inputs(each, known):
            yield f"table {each.name} reads it"
    for index in indexes:
        if index.table.name == name:
            yield f"vector index {index.name} is made of it"
    for model in workspace.project.all(Model):
        if name in tables(model):
            searched = name in {each.name for each in chain_indexes(model.uses)}
            yield f"model {model.name} {'searches it' if searched else 'is trained and scored on it'}"


def citing(workspace: Workspace, name: str) -> list[tuple[str, int, str]]:
    """Model, number and stage of each version that was made from the table."""
    return [
        (version.model, version.version, version.stage)
        for version in workspace.registry.versions()
        if name in version.inputs or name == f"training.{version.model.lower()}"
    ]


@operation("table drop", of="name", publishes_catalog=True)
def drop_table(workspace: Workspace, name: str, *, confirm: Callable[[DropPlan], None] | None = None) -> DropReport:
    """Takes a table away for good, in an environment for development, and the rows that its expectations set apart.

    Args:
        workspace: the environment.
        name: of the table.
        confirm: called before anything is removed; it raises to prevent that. None: nobody is asked.

    Raises:
        RefusedError: the environment is not for development, or the table belongs to another one.
        BusyError: something runs that may write the table.
        NotFoundError: there is no such table.
    """
    environment = workspace.environment
    check_dev(environment, "`headrace table drop`")
    snapshot = workspace.lakehouse.snapshot(name)
    plan = DropPlan(
        table=name,
        env=environment.name,
        rows=snapshot.rows(),
        version=snapshot.version,
        dependents=tuple(_dependents(workspace, name)),
    )
    if confirm is not None:
        confirm(plan)
    return DropReport(
        table=name, env=environment.name, dropped=tuple(_alone(workspace, name)), dependents=plan.dependents
    )


def _alone(workspace: Workspace, name: str) -> list[str]:
    with alone(workspace, "drop a table"):
        return take_away(workspace, name)


def take_away(workspace: Workspace, name: str) -> list[str]:
    """Takes a table of this environment away, and the rows that its expectations set apart; returns the names of both.

    The caller has the environment alone.

    Raises:
        RefusedError: the table is another environment's.
        NotFoundError: there is no such table.
    """
    from headrace.access.audit import record
    from headrace.lakehouse.declarations import quarantine_name

    env = workspace.environment.name
    snapshot = workspace.lakehouse.snapshot(name)
    if snapshot.env != env:
        raise RefusedError(f"{name!r} is a table of {snapshot.env!r} that {env!r} only reads. Nothing was removed.")
    me = workspace.access.me().name
    names = [each for each in (name, quarantine_name(name)) if workspace.lakehouse.exists(each, own=True)]
    for each in names:
        there = workspace.lakehouse.snapshot(each)
        with workspace.state.begin() as connection:
            record(connection, me, "table.dropped", each, {"version": there.version, "id": there.id})
        workspace.lakehouse.drop(each)
        reach(f"table.dropped:{each}")
    return names
