"""Dashboards: those of the project, which are released with its code, and drafts, which are saved in an environment."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError, NotFoundError
from headrace.operations.dashboard_reading import (
    DashboardReport,
    DashboardSummary,
    dashboard_store,
    project_dashboards,
    stored,
    summaries,
)
from headrace.operations.dashboard_tiles import TileReport, ask_tiles, read_tiles, store_answer
from headrace.operations.operation import operation
from headrace.queries.dashboards import COLUMNS, TILES, Dashboard, Tile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.workspace.workspace import Workspace

__all__ = [
    "COLUMNS",
    "TILES",
    "Dashboard",
    "DashboardReport",
    "DashboardSummary",
    "Tile",
    "ask_dashboard",
    "delete_dashboard",
    "export_dashboard",
    "list_dashboards",
    "refresh_dashboard",
    "save_dashboard",
    "show_dashboard",
]

ALL = 120.0  # seconds that the tiles of a dashboard may take
PARAMETERS = 20  # of a SELECT


@operation("dashboard list")
def list_dashboards(workspace: Workspace) -> list[DashboardSummary]:
    """The dashboards of the project's code and the drafts of the environment, by name; a file that cannot be read says why."""
    return summaries(workspace)


@operation("dashboard show", of="name")
def show_dashboard(workspace: Workspace, name: str, *, draft: bool = False) -> DashboardReport:
    """A dashboard with its stored answers; nothing is asked.

    Args:
        workspace: the environment.
        name: of the dashboard.
        draft: whether the draft is shown where the project has one of this name, too.

    Raises:
        NotFoundError: there is none of this name.
        ConfigError: its file cannot be read.
    """
    return stored(workspace, name, draft=draft)


@operation("sql", of="name")
def ask_dashboard(
    workspace: Workspace,
    name: str,
    values: Mapping[str, str] | None = None,
    *,
    draft: bool = False,
    seconds: float = ALL,
    cancelled: Callable[[], bool] | None = None,
) -> DashboardReport:
    """A dashboard with the answers of now, which are not stored; with the right and the limits of any other SELECT.

    Args:
        workspace: the environment.
        name: of the dashboard.
        values: name of a parameter → its value as text; those that are missing have their defaults.
        draft: whether the draft is asked where the project has one of this name, too.
        seconds: that all tiles may take.
        cancelled: asked several times a second whether it is to end now; None: nobody ends it.

    Raises:
        NotFoundError: there is none of this name, or it has no such parameter.
        ConfigError: its file cannot be read.
    """
    found = stored(workspace, name, draft=draft)
    return _asked(workspace, found, values or {}, seconds=seconds, cancelled=cancelled)


@operation("dashboard export", of="name")
def export_dashboard(
    workspace: Workspace, name: str, values: Mapping[str, str] | None = None, *, draft: bool = False
) -> DashboardReport:
    """A dashboard for a file: with its stored answers, or those of now where values are given or an answer is missing.

    Parameters and errors as of `ask_dashboard`.
    """
    found = stored(workspace, name, draft=draft)
    if not values and all(each.refreshed is not None for each in found.tiles):
        return found
    return _asked(workspace, found, values or {}, seconds=ALL)


@operation("dashboard refresh", of="name")
def refresh_dashboard(workspace: Workspace, name: str, *, draft: bool = False) -> DashboardReport:
    """Asks each tile with the values that it has by itself, and stores the first rows of its answer.

    Args:
        workspace: the environment.
        name: of the dashboard.
        draft: whether the draft is refreshed where the project has one of this name, too.

    Raises:
        NotFoundError: there is none of this name.
        ConfigError: its file cannot be read.
    """
    return renew(workspace, name, draft=draft, seconds=ALL)


@operation("dashboard push")
def save_dashboard(workspace: Workspace, dashboard: Dashboard, *, replaces: int | None = None) -> DashboardReport:
    """Keeps a draft. What is new in it is read as when it is asked, and not run.

    Args:
        workspace: the environment.
        dashboard: to keep.
        replaces: the version that was looked at and is replaced; None: it is new.

    Raises:
        NotFoundError: a new tile stands on a saved query that is not there.
        SqlError: a new SELECT is none over tables that can be read, or lacks a parameter.
        ConflictError: there is a draft of this name, or somebody else has saved or deleted it meanwhile.
    """
    before = dashboard_store(workspace).find(dashboard.name)
    known = () if before is None else before.dashboard.tiles
    for each in dashboard.tiles:
        if each not in known:
            check_tile(workspace, each)
    keep(workspace, dashboard, replaces=replaces)
    return stored(workspace, dashboard.name, draft=True)


@operation("dashboard delete", of="name")
def delete_dashboard(workspace: Workspace, name: str, *, version: int | None = None) -> None:
    """Removes a draft. A dashboard of the project is removed with its file.

    Args:
        workspace: the environment.
        name: of the draft.
        version: that was looked at; None: whichever there is.

    Raises:
        NotFoundError: there is no draft of this name.
        ConflictError: somebody else has saved it meanwhile.
    """
    dashboard_store(workspace).delete(name, by=workspace.access.me().name, version=version)


def check_tile(workspace: Workspace, tile: Tile) -> None:
    """Refuses a tile that cannot be answered.

    Raises:
        NotFoundError: its saved query is not there, or has no such parameter.
        SqlError: its SELECT is none over tables that can be read, or lacks a parameter.
        ConfigError: a value is none of its kind, or there are too many parameters.
    """
    from headrace.lakehouse.adhoc import check_question
    from headrace.queries.store import Queries

    parameters = tile.parameters
    if tile.sql is None:
        parameters = Queries(workspace.state).get(tile.query or "").parameters
    else:
        if len(parameters) > PARAMETERS:
            raise ConfigError(f"the tile has {len(parameters)} parameters.", hint=f"It may have {PARAMETERS}.")
        check_question(workspace.lakehouse, tile.sql, [each.name for each in parameters])
    kinds = {each.name: each for each in parameters}
    for each in parameters:
        if each.default is not None:
            each.value(each.default)
    for name, text in tile.values.items():
        if name not in kinds:
            raise NotFoundError("parameter", name, kinds)
        kinds[name].value(text)


def keep(workspace: Workspace, dashboard: Dashboard, *, replaces: int | None) -> None:
    """Writes a draft, as whoever acts."""
    dashboard_store(workspace).save(dashboard, by=workspace.access.me().name, replaces=replaces)


def renew(
    workspace: Workspace,
    name: str,
    *,
    draft: bool,
    seconds: float,
    cancelled: Callable[[], bool] | None = None,
) -> DashboardReport:
    """Refreshes a dashboard, for whoever may; parameters as of `refresh_dashboard` and `ask_dashboard`."""
    before = stored(workspace, name, draft=draft)
    asked = ask_tiles(workspace, before.tiles, {}, seconds=seconds, cancelled=cancelled)
    store = dashboard_store(workspace)
    for old, new in zip(before.tiles, asked, strict=True):
        if new.refreshed is not None and new.refreshed != old.refreshed:
            store_answer(store, name, new)
    found, other = store.find(name), project_dashboards(workspace)[0].get(name)
    several = [each for each in (other, None if found is None else found.dashboard) if each is not None]
    store.forget(name, {tile.digest for each in several for tile in read_tiles(workspace, each)})
    after = stored(workspace, name, draft=draft)
    errors = {new.title: new.error for new in asked}
    tiles = tuple(
        each if each.refreshed is not None else _with_error(each, errors.get(each.title)) for each in after.tiles
    )
    return replace(after, tiles=tiles)


def _asked(
    workspace: Workspace,
    found: DashboardReport,
    values: Mapping[str, str],
    *,
    seconds: float,
    cancelled: Callable[[], bool] | None = None,
) -> DashboardReport:
    known = [each.name for each in found.parameters]
    for name in values:
        if name not in known:
            raise NotFoundError("parameter", name, known)
    tiles = ask_tiles(workspace, found.tiles, values, seconds=seconds, cancelled=cancelled)
    return replace(found, tiles=tiles, values=dict(values))


def _with_error(tile: TileReport, error: str | None) -> TileReport:
    return replace(tile, error=tile.error or error)
