"""Tables, one table (its columns, some of its rows, its quality, its versions and what used it), and its profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from headrace.console import paging
from headrace.console.handlers import reads
from headrace.console.rendering import page
from headrace.operations.freshness import list_late_tables
from headrace.operations.profile import profile_table
from headrace.operations.table_quality import show_table_quality
from headrace.operations.tables import list_table_versions, list_tables, show_table

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.operations.operation import At
    from headrace.operations.profile import BarReport

ROWS = 10  # of a sample
VERSIONS = 50  # the latest
USES = 30  # versions of models, the latest


def index(request: Request, at: At) -> Response:
    """Every table that can be read from the environment; those that are late are named first."""
    shown = paging.wanted(request)
    tables, shown = paging.cut(list_tables(at, limit=shown.limit, offset=shown.offset).tables, shown)
    late = {each.table: each for each in list_late_tables(at)}
    return page(request, "tables", title="Tables", tables=tables, late=late, shown=shown)


def show(request: Request, at: At) -> Response:
    """A table as it is."""
    name = str(request.path_params["name"])
    found = show_table(at, name, rows=ROWS)
    versions = list_table_versions(at, name, limit=VERSIONS + 1)
    return page(
        request,
        "table",
        title=name,
        table=found,
        late=next((each for each in list_late_tables(at) if each.table == name), None),
        quality=show_table_quality(at, name),
        uses=USES,
        versions=versions[:VERSIONS],
        more=len(versions) > VERSIONS,
    )


def profile(request: Request, at: At) -> Response:
    """What each column holds. It is computed when the page is asked for."""
    name = str(request.path_params["name"])
    table = show_table(at, name, rows=0)  # refuses what is no table: a profile takes files and SELECTs, too
    found = profile_table(at, name) if table.rows and table.columns else None
    bars = {each.column: [(_bar(bar), float(bar.rows)) for bar in each.bars] for each in found.columns} if found else {}
    return page(request, "profile", title=f"Profile of {name}", table=table, profile=found, bars=bars)


def _bar(bar: BarReport) -> str:
    """A text, or where a range begins: it ends where the next one does."""
    if bar.low is None:
        return "others" if bar.value is None else bar.value
    return f"{bar.low:.4g}" if isinstance(bar.low, float) else str(bar.low)


ROUTES = [
    Route("/{env}/tables", reads(index)),
    Route("/{env}/tables/{name}", reads(show)),
    Route("/{env}/tables/{name}/profile", reads(profile)),
]
