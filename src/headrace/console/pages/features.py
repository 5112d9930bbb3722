"""Feature tables, and one of them: its columns, whether it is late, and what uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from headrace.console.handlers import reads
from headrace.console.rendering import page
from headrace.operations.features import list_feature_tables, show_feature_table
from headrace.operations.freshness import list_late_tables
from headrace.operations.search import search_feature_tables
from headrace.operations.table_quality import show_table_quality
from headrace.operations.tables import show_table

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.operations.operation import At

ROWS = 10  # of a sample
USES = 30  # versions that used it, the latest


def index(request: Request, at: At) -> Response:
    """The feature tables of the project, late ones first; with `?q=word` what the shared catalog finds."""
    word = request.query_params.get("q", "").strip()[:200]
    late = {each.table: each for each in list_late_tables(at)}
    return page(
        request,
        "features",
        title="Features",
        word=word,
        found=search_feature_tables(at, word) if word else None,
        tables=sorted(list_feature_tables(at), key=lambda each: each.feature_table not in late),
        late=late,
    )


def show(request: Request, at: At) -> Response:
    """One feature table. Before its first refresh it has neither columns nor rows."""
    name = str(request.path_params["table"])
    found = show_feature_table(at, name)
    return page(
        request,
        "feature",
        title=name,
        table=found,
        late={each.table: each for each in list_late_tables(at)}.get(name),
        sample=show_table(at, name, rows=ROWS) if found.env else None,
        quality=show_table_quality(at, name) if found.env else None,
        uses=USES,
    )


ROUTES = [
    Route("/{env}/features", reads(index)),
    Route("/{env}/features/{table}", reads(show)),
]
