"""Dashboards: the list, one with its tiles, the forms that change a draft, and the file that travels.

A page shows stored answers, so that it opens at once; with values in its address, tiles are asked anew.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.routing import Route

from headrace.console.dashboard_report import dashboard_report
from headrace.console.handlers import acts, reads
from headrace.console.rendering import download, page
from headrace.console.requests import COOKIE
from headrace.console.shown_answers import LETTERS
from headrace.console.shown_tiles import shown_tiles
from headrace.console.tile_form import FIELDS, fields_of, given, sent, tile_of
from headrace.core.errors import NotFoundError
from headrace.operations.dashboards import (
    COLUMNS,
    TILES,
    Dashboard,
    ask_dashboard,
    delete_dashboard,
    list_dashboards,
    refresh_dashboard,
    save_dashboard,
    show_dashboard,
)
from headrace.operations.saved_queries import CHART_KINDS, list_queries

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.console.requests import Form, Problem
    from headrace.console.running import Running
    from headrace.operations.dashboards import DashboardReport, Tile
    from headrace.operations.operation import At

SECONDS = 30.0  # that the tiles of a page may take when they are asked for it


def index(request: Request, at: At, problem: Problem | None = None) -> Response:
    """Those of the project and drafts, and a form for a new one."""
    return page(request, "dashboards", title="Dashboards", problem=problem, dashboards=list_dashboards(at))


def create(request: Request, at: At, form: Form) -> str:  # noqa: ARG001
    """An empty draft."""
    name = form.text("name")
    save_dashboard(at, Dashboard(name=name, title=form.text("title") or name))
    return f"{_address(at, name)}/edit"


def show(request: Request, at: At, problem: Problem | None = None) -> Response:
    """A dashboard of the project, or the draft where the project has none of this name."""
    return _shown(request, at, draft=False, problem=problem)


def show_draft(request: Request, at: At, problem: Problem | None = None) -> Response:
    """The draft."""
    return _shown(request, at, draft=True, problem=problem)


def show_refused(request: Request, at: At, problem: Problem | None = None) -> Response:
    """The one of which something was refused: the draft, where its form says so."""
    return _shown(request, at, draft=problem is not None and _is_draft(problem.form), problem=problem)


def edit(request: Request, at: At, problem: Problem | None = None) -> Response:
    """The forms that change a draft; one that was refused has what was sent."""
    report = show_dashboard(at, _name(request), draft=True)
    wrong = problem.form if problem else None
    place = None if wrong is None else wrong.text("place")
    details = _details(report)
    if wrong is not None and place == "details":
        details |= {name: text for name, text in wrong.fields.items() if name in details}
    tiles = [fields_of(each) for each in report.written.tiles]
    if wrong is not None and place is not None and place.isascii() and place.isdigit() and int(place[:4]) < len(tiles):
        tiles[int(place[:4])] = sent(wrong)
    new = sent(wrong) if wrong is not None and place == "new" else {**dict.fromkeys(FIELDS, ""), "width": "6"}
    return page(
        request,
        "dashboard_edit",
        title=f"Change {report.title}",
        problem=problem,
        report=report,
        details=details,
        tiles=tiles,
        new=new,
        queries=[each.name for each in list_queries(at)],
        chart_kinds=CHART_KINDS,
        columns=COLUMNS,
        most=TILES,
    )


def save_details(request: Request, at: At, form: Form) -> str:
    """Title, description, owner and refresh of a draft."""
    report, version = _looked_at(request, at, form)
    changed = replace(
        report.written,
        title=form.text("title"),
        description=form.long("description").strip(),
        owner=form.text("owner"),
        refresh=form.text("refresh") or None,
    )
    save_dashboard(at, changed, replaces=version)
    return f"{_address(at, report.name)}/edit"


def save_tile(request: Request, at: At, form: Form) -> str:
    """Adds, changes, moves or removes a tile."""
    report, version = _looked_at(request, at, form)
    before, do = report.written, form.text("do")
    if form.text("place") == "new":
        place = len(before.tiles)
        changed = replace(before, tiles=(*before.tiles, tile_of(form)))
    else:
        place = _place(form, before.tiles)
        match do:
            case "up" | "down":
                changed = before.moved(place, -1 if do == "up" else 1)
            case "remove":
                changed = before.without(place)
            case _:
                tiles = (*before.tiles[:place], tile_of(form), *before.tiles[place + 1 :])
                changed = replace(before, tiles=tiles)
    save_dashboard(at, changed, replaces=version)
    return f"{_address(at, report.name)}/edit#tile-{place + 1}"


def refresh(request: Request, at: At, form: Form) -> str:
    """Asks every tile, and stores the answers."""
    name, draft = _name(request), _is_draft(form)
    with _answering(request):
        refresh_dashboard(at, name, draft=draft)
    return _address(at, name) + ("/draft" if draft else "")


def copy(request: Request, at: At, form: Form) -> str:  # noqa: ARG001
    """A draft of a dashboard of the project, to change it."""
    report = show_dashboard(at, _name(request))
    save_dashboard(at, report.written)
    return f"{_address(at, report.name)}/edit"


def delete(request: Request, at: At, form: Form) -> str:
    """Removes the draft that was looked at."""
    delete_dashboard(at, _name(request), version=_version(form))
    return f"/{at.env}/dashboards"


def export(request: Request, at: At) -> Response:
    """The file that travels."""
    name, draft = _name(request), request.query_params.get("draft") == "yes"
    values = given(request.query_params, {each.name for each in show_dashboard(at, name, draft=draft).parameters})
    with _answering(request):
        made = dashboard_report(at, name, values, draft=draft)
    return download(made.name, made.html)


def _shown(request: Request, at: At, *, draft: bool, problem: Problem | None) -> Response:
    name = _name(request)
    report = show_dashboard(at, name, draft=draft)
    values = given(request.query_params, {each.name for each in report.parameters})
    if values:
        with _answering(request) as cancelled:
            report = ask_dashboard(at, name, values, draft=draft, seconds=SECONDS, cancelled=cancelled)
    return page(
        request,
        "dashboard",
        title=report.title,
        problem=problem,
        report=report,
        tiles=shown_tiles(report),
        letters=LETTERS,
    )


def _answering(request: Request) -> AbstractContextManager[Callable[[], bool]]:
    """While tiles are asked: one of the questions that the console answers at once."""
    running: Running = request.app.state.running
    return running.answering(request.cookies.get(COOKIE, ""), secrets.token_hex(8))


def _is_draft(form: Form) -> bool:
    return form.text("draft") == "yes"


def _details(report: DashboardReport) -> dict[str, str]:
    return {
        "title": report.title,
        "description": report.description,
        "owner": report.owner,
        "refresh": report.refresh or "",
    }


def _looked_at(request: Request, at: At, form: Form) -> tuple[DashboardReport, int | None]:
    """The draft, and the version that the form is of: where they differ, saving is refused."""
    return show_dashboard(at, _name(request), draft=True), _version(form)


def _version(form: Form) -> int:
    text = form.text("version")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


def _place(form: Form, tiles: tuple[Tile, ...]) -> int:
    text = form.text("place")
    if not text.isascii() or not text.isdigit() or len(text) > 4 or int(text) >= len(tiles):
        raise NotFoundError("tile", text[:20], [str(number) for number in range(len(tiles))])
    return int(text)


def _name(request: Request) -> str:
    return request.path_params["name"]


def _address(at: At, name: str) -> str:
    return f"/{at.env}/dashboards/{quote(name, safe='')}"


ONE = "/{env}/dashboards/{name}"
ROUTES = [
    Route("/{env}/dashboards", reads(index), methods=["GET"]),
    Route("/{env}/dashboards", acts(create, index), methods=["POST"]),
    Route(ONE, reads(show), methods=["GET"]),
    Route(f"{ONE}/draft", reads(show_draft), methods=["GET"]),
    Route(f"{ONE}/export", reads(export), methods=["GET"]),
    Route(f"{ONE}/edit", reads(edit), methods=["GET"]),
    Route(f"{ONE}/edit/details", acts(save_details, edit), methods=["POST"]),
    Route(f"{ONE}/edit/tile", acts(save_tile, edit), methods=["POST"]),
    Route(f"{ONE}/refresh", acts(refresh, show_refused), methods=["POST"]),
    Route(f"{ONE}/copy", acts(copy, show), methods=["POST"]),
    Route(f"{ONE}/delete", acts(delete, edit), methods=["POST"]),
]
