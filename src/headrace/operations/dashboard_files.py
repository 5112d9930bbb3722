"""Dashboards as files: drafts are written into the folder of the project, and its files become drafts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from headrace.core.errors import ConfigError, ConflictError, NotFoundError
from headrace.operations.dashboard_reading import dashboard_store, read_folder
from headrace.operations.dashboard_tiles import whole
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.queries.dashboards import Dashboard, differences

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class DashboardFile(Record):
    """What became of a dashboard between its draft and its file.

    Attributes:
        name: of the dashboard.
        file: in the folder of the project.
        result: `written`: the file is new or another one; `saved`: the draft is; `unchanged`: both were the same.
        version: of the draft.
    """

    name: str
    file: Path
    result: Literal["written", "saved", "unchanged"]
    version: int


@operation("dashboard pull", of="name")
def pull_dashboards(workspace: Workspace, name: str | None = None) -> list[DashboardFile]:
    """Writes drafts as files into the folder of the project, with the SELECT of each tile inside.

    The same draft gives the same bytes. A file that is there is replaced: git has what it was.

    Args:
        workspace: the environment whose drafts are written.
        name: of a dashboard; None: all drafts.

    Raises:
        NotFoundError: there is no draft of this name.
        ConfigError: the folder, or a file in it, is a link or cannot be written.
    """
    from headrace.queries.dashboard_file import write

    drafts = {each.dashboard.name: each for each in dashboard_store(workspace).list()}
    made: list[DashboardFile] = []
    for each in _chosen("draft of a dashboard", name, drafts):
        draft = drafts[each]
        path = _place(workspace, each)
        written = _write(path, write(whole(workspace, draft.dashboard)))
        made.append(
            DashboardFile(name=each, file=path, result="written" if written else "unchanged", version=draft.version)
        )
    return made


@operation("dashboard push", of="name")
def push_dashboards(
    workspace: Workspace, name: str | None = None, *, replace_drafts: bool = False
) -> list[DashboardFile]:
    """Makes drafts of the files in the folder of the project, to change them in the console. Nothing of them is asked.

    A tile whose saved query is the same in this environment stands on it again; else it keeps its own SELECT.

    Args:
        workspace: the environment.
        name: of a dashboard; None: all files.
        replace_drafts: whether drafts that are there, and differ, are replaced.

    Raises:
        NotFoundError: there is no file of this name.
        ConfigError: a file cannot be read. Nothing was saved.
        ConflictError: there is a draft that differs. Nothing was saved.
    """
    store, by = dashboard_store(workspace), workspace.access.me().name
    found, broken = read_folder(_folder(workspace))
    names = _chosen("file of a dashboard", name, [*found, *broken])
    if wrong := [broken[each] for each in names if each in broken]:
        raise ConfigError(wrong[0], findings=wrong[1:], hint="Correct the file. Nothing was saved.")
    there = {each.dashboard.name: each for each in store.list()}
    changed = {
        each: each not in there or bool(_differences(workspace, there[each].dashboard, found[each])) for each in names
    }
    taken = [there[each] for each in names if changed[each] and each in there]
    if taken and not replace_drafts:
        told = [
            f"{each.dashboard.name}: version {each.version}, {each.saved_by}, {each.saved:%Y-%m-%d %H:%M:%S}Z"
            for each in taken
        ]
        raise ConflictError(
            "there are drafts that differ from the files. Nothing was saved.",
            findings=told,
            hint="Keep them first: headrace dashboard pull. Or replace them: headrace dashboard push --replace",
        )
    made: list[DashboardFile] = []
    for each in names:
        before = there.get(each)
        if before is not None and not changed[each]:
            made.append(_file(workspace, each, "unchanged", before.version))
            continue
        saved = store.save(
            _on_saved_queries(workspace, found[each]), by=by, replaces=None if before is None else before.version
        )
        made.append(_file(workspace, each, "saved", saved.version))
    return made


def _differences(workspace: Workspace, one: Dashboard, other: Dashboard) -> tuple[str, ...]:
    return differences(whole(workspace, one), whole(workspace, other))


def _on_saved_queries(workspace: Workspace, dashboard: Dashboard) -> Dashboard:
    """The same, with tiles on saved queries where these are what the tiles say."""
    from headrace.queries.store import Queries

    saved = {each.name: each for each in Queries(workspace.state).list()}
    tiles = [
        replace(each, sql=None, parameters=())
        if each.query in saved
        and (saved[each.query].sql.strip(), saved[each.query].parameters) == (each.sql, each.parameters)
        else each
        for each in dashboard.tiles
    ]
    return replace(dashboard, tiles=tuple(tiles))


def _chosen(what: str, name: str | None, known: Iterable[str]) -> list[str]:
    names = sorted(known)
    if name is None:
        return names
    if name not in names:
        raise NotFoundError(what, name, names)
    return [name]


def _folder(workspace: Workspace) -> Path:
    from headrace.queries.dashboard_file import FOLDER

    return workspace.config.folder / FOLDER


def _place(workspace: Workspace, name: str) -> Path:
    return _folder(workspace) / f"{name}.toml"


def _file(workspace: Workspace, name: str, result: Literal["saved", "unchanged"], version: int) -> DashboardFile:
    return DashboardFile(name=name, file=_place(workspace, name), result=result, version=version)


def _write(path: Path, text: str) -> bool:
    """Writes a file whole or not at all; False: it is the same already."""
    if path.is_symlink() or path.parent.is_symlink():
        raise ConfigError(
            f"{path} is a link, or in a folder that is one.", hint="Nothing was written. Remove the link."
        )
    content = text.encode()
    try:
        if path.is_file() and path.read_bytes() == content:
            return False
        path.parent.mkdir(exist_ok=True)
        part = path.with_name(f".{path.name}.{uuid4().hex}")
        try:
            part.write_bytes(content)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from None
    return True
