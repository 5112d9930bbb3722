"""Which dashboards there are, of the project and as drafts, and what is known of one without asking anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from headrace.core.errors import ConfigError, HeadraceError, NotFoundError
from headrace.operations.dashboard_tiles import TileReport, as_refreshed, read_tiles, whole
from headrace.operations.record import Record
from headrace.queries.dashboards import Dashboard, Tile, differences

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from headrace.queries.dashboard_store import Dashboards, Draft
    from headrace.queries.records import Parameter
    from headrace.workspace.workspace import Workspace

Origin = Literal["project", "draft"]
FILES = 200  # of the folder of a project that are read


@dataclass(frozen=True, kw_only=True)
class DashboardSummary(Record):
    """A dashboard.

    Attributes:
        name: of it.
        title: of its page.
        owner: whom to ask about it.
        origin: `project`: it is a file of the code that runs; `draft`: it was saved in the environment.
        tiles: how many.
        refresh: how often a scheduler renews its answers; None: when somebody asks for it.
        refreshed: when its oldest answer is of; None: a tile has none yet.
        version: of a draft.
        saved: when a draft was, last.
        saved_by: who saved it.
        differs: what a draft has changed of the project's dashboard of this name; None: there is none.
        error: why a file cannot be read.
    """

    name: str
    title: str
    owner: str
    origin: Origin
    tiles: int
    refresh: str | None
    refreshed: datetime | None
    version: int | None = None
    saved: datetime | None = None
    saved_by: str | None = None
    differs: tuple[str, ...] | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class DashboardReport(Record):
    """A dashboard with the answers of its tiles.

    Attributes:
        name: of it.
        title: of its page.
        description: what it is for.
        owner: whom to ask about it.
        refresh: how often a scheduler renews its answers; None: when somebody asks for it.
        origin: `project`: it is a file of the code that runs; `draft`: it was saved in the environment.
        draft: whether there is a draft of this name.
        version: of a draft; `replaces` of `save_dashboard`.
        saved: when a draft was, last.
        saved_by: who saved it.
        differs: what a draft has changed of the project's dashboard of this name; None: there is none.
        parameters: values that the tiles leave open, each once.
        values: name of a parameter → the value that was given.
        tiles: in their order.
    """

    name: str
    title: str
    description: str
    owner: str
    refresh: str | None
    origin: Origin
    draft: bool
    version: int | None
    saved: datetime | None
    saved_by: str | None
    differs: tuple[str, ...] | None
    parameters: tuple[Parameter, ...]
    values: Mapping[str, str]
    tiles: tuple[TileReport, ...]

    @property
    def written(self) -> Dashboard:
        """What is saved of it: without answers."""
        tiles = tuple(
            Tile(
                title=each.title,
                query=each.query,
                sql=each.sql if each.own_sql else None,
                parameters=each.parameters if each.own_sql else (),
                chart=each.chart if each.own_chart else None,
                values=each.values,
                width=each.width,
            )
            for each in self.tiles
        )
        return Dashboard(
            name=self.name,
            title=self.title,
            description=self.description,
            owner=self.owner,
            refresh=self.refresh,
            tiles=tiles,
        )


def summaries(workspace: Workspace) -> list[DashboardSummary]:
    """The dashboards of the code that runs here and the drafts of the environment, by name."""
    project, broken = project_dashboards(workspace)
    store = dashboard_store(workspace)
    drafts, times = {each.dashboard.name: each for each in store.list()}, store.times()
    made = [_summary(workspace, each, None, None, times) for each in project.values()]
    made += [_summary(workspace, each.dashboard, each, project.get(name), times) for name, each in drafts.items()]
    made += [
        DashboardSummary(
            name=name, title=name, owner="", origin="project", tiles=0, refresh=None, refreshed=None, error=error
        )
        for name, error in broken.items()
    ]
    return sorted(made, key=lambda each: (each.name, each.origin == "draft"))


def project_dashboards(workspace: Workspace) -> tuple[dict[str, Dashboard], dict[str, str]]:
    """The dashboards of the code that runs here, by name, and name → why a file cannot be read.

    Where no code may run, there are none.
    """
    from headrace.queries.dashboard_file import FOLDER

    try:
        folder = workspace.code.folder / FOLDER
    except HeadraceError:  # no release yet, for example: there are drafts all the same
        return {}, {}
    return read_folder(folder)


def read_folder(folder: Path) -> tuple[dict[str, Dashboard], dict[str, str]]:
    """The dashboards of a folder, by name, and name → why a file cannot be read."""
    from headrace.queries.dashboard_file import read

    found: dict[str, Dashboard] = {}
    broken: dict[str, str] = {}
    paths = sorted(folder.glob("*.toml")) if folder.is_dir() else []
    for path in paths[:FILES]:
        try:
            found[path.stem] = read(path)
        except HeadraceError as error:
            broken[path.stem] = str(error)
        except OSError as error:
            broken[path.stem] = f"{path} cannot be read: {error.strerror}."
    for path in paths[FILES:]:
        broken[path.stem] = f"{path} is not read: only the first {FILES} files are."
    return found, broken


def stored(workspace: Workspace, name: str, *, draft: bool) -> DashboardReport:
    """A dashboard with its stored answers.

    Raises:
        NotFoundError: there is none of this name.
        ConfigError: its file cannot be read.
    """
    project, broken = project_dashboards(workspace)
    store = dashboard_store(workspace)
    found, of_project = store.find(name), project.get(name)
    if found is None and name in broken:
        raise ConfigError(broken[name], hint="Correct the file; the other dashboards are not affected.")
    if (found is None and of_project is None) or (draft and found is None):
        known = [each.dashboard.name for each in store.list()]
        raise NotFoundError(
            "draft of a dashboard" if draft else "dashboard", name, known if draft else [*project, *known]
        )
    shown = found if found is not None and (draft or of_project is None) else None
    dashboard = shown.dashboard if shown is not None else of_project
    assert dashboard is not None
    answers = store.answers(name)
    tiles = tuple(as_refreshed(each, answers) for each in read_tiles(workspace, dashboard))
    parameters: dict[str, Parameter] = {}
    for tile in tiles:
        for each in tile.open:
            parameters.setdefault(each.name, each)
    return DashboardReport(
        name=name,
        title=dashboard.title,
        description=dashboard.description,
        owner=dashboard.owner,
        refresh=dashboard.refresh,
        origin="project" if shown is None else "draft",
        draft=found is not None,
        version=None if shown is None else shown.version,
        saved=None if shown is None else shown.saved,
        saved_by=None if shown is None else shown.saved_by,
        differs=_differs(workspace, found, of_project),
        parameters=tuple(parameters.values()),
        values={},
        tiles=tiles,
    )


def _summary(
    workspace: Workspace,
    dashboard: Dashboard,
    draft: Draft | None,
    of_project: Dashboard | None,
    times: Mapping[str, Mapping[str, datetime]],
) -> DashboardSummary:
    return DashboardSummary(
        name=dashboard.name,
        title=dashboard.title,
        owner=dashboard.owner,
        origin="project" if draft is None else "draft",
        tiles=len(dashboard.tiles),
        refresh=dashboard.refresh,
        refreshed=oldest(workspace, dashboard, times),
        version=None if draft is None else draft.version,
        saved=None if draft is None else draft.saved,
        saved_by=None if draft is None else draft.saved_by,
        differs=_differs(workspace, draft, of_project),
    )


def oldest(workspace: Workspace, dashboard: Dashboard, times: Mapping[str, Mapping[str, datetime]]) -> datetime | None:
    """When the oldest answer of a dashboard is of; None: a tile has none yet."""
    there = times.get(dashboard.name, {})
    asked = [there.get(each.digest) for each in read_tiles(workspace, dashboard) if each.sql is not None]
    known = [each for each in asked if each is not None]
    return min(known) if known and len(known) == len(asked) else None


def _differs(workspace: Workspace, draft: Draft | None, of_project: Dashboard | None) -> tuple[str, ...] | None:
    if draft is None or of_project is None:
        return None
    return differences(whole(workspace, draft.dashboard), whole(workspace, of_project))


def dashboard_store(workspace: Workspace) -> Dashboards:
    """The drafts of an environment, and the stored answers of its dashboards."""
    from headrace.queries.dashboard_store import Dashboards

    return Dashboards(workspace.state)
