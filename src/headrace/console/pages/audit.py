"""The audit record: who did what, to what, when; filtered by a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from headrace.console import paging
from headrace.console.handlers import reads
from headrace.console.rendering import page
from headrace.operations.audit import list_audit_entries

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.operations.operation import At


def index(request: Request, at: At) -> Response:
    """The entries with a word in who, action, object or details, the latest first: `?q=word`."""
    word = request.query_params.get("q", "").strip()[:200]
    shown = paging.wanted(request)
    entries = list_audit_entries(at, word=word, limit=shown.limit, offset=shown.offset)
    entries, shown = paging.cut(entries, shown)
    return page(request, "audit", title="Audit", entries=entries, shown=shown, word=word)


ROUTES = [Route("/{env}/audit", reads(index))]
