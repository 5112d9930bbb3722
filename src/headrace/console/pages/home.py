"""Home: what needs a person, then how models, tables and runs stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from headrace.console.handlers import reads
from headrace.console.rendering import page
from headrace.operations.audit import list_audit_entries
from headrace.operations.latest_change import latest_change
from headrace.operations.status import show_status

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.operations.operation import At
    from headrace.operations.status import ModelStatus

CHANGES = 8  # the latest
TABLES = 12  # those that were written to the longest time ago


def show(request: Request, at: At) -> Response:
    """The status of an environment, and the latest changes."""
    status = show_status(at, tables=TABLES, every_version=False)
    models: dict[str, dict[str, ModelStatus]] = {}
    for each in status.models:
        models.setdefault(each.model, {})[each.stage] = each  # the newest of a stage
    return page(
        request,
        "home",
        title="Home",
        live=latest_change(at).mark,
        status_of=status,
        models=[{"name": name, "stages": stages} for name, stages in models.items()],
        tables=sorted(status.tables, key=lambda table: (table.changed is not None, table.changed)),
        changes=list_audit_entries(at, limit=CHANGES),
    )


ROUTES = [Route("/{env}", reads(show))]
