"""A dashboard as a file that travels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.console.reports import Report, render
from headrace.console.shown_answers import LETTERS
from headrace.console.shown_tiles import shown_tiles
from headrace.operations.dashboards import export_dashboard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.operations.operation import At


def dashboard_report(at: At, name: str, values: Mapping[str, str] | None = None, *, draft: bool = False) -> Report:
    """A dashboard with its stored answers, or those of now where values are given or an answer is missing.

    Args:
        at: where.
        name: of the dashboard.
        values: name of a parameter → its value as text.
        draft: whether it is the draft where the project has one of this name, too.

    Raises:
        NotFoundError: there is none of this name, or it has no such parameter.
        MissingExtraError: Jinja is not installed.
    """
    found = export_dashboard(at, name, values, draft=draft)
    env = str(at.settled().env)
    html = render("dashboard", title=found.title, env=env, report=found, tiles=shown_tiles(found), letters=LETTERS)
    return Report(name=f"{name}-dashboard.html", html=html)
