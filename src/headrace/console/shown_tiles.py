"""The tiles of a dashboard as pages and files show them: a number, a picture or a table, and why there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headrace.console.shown_answers import shown_answer

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.console.shown_answers import Answer
    from headrace.operations.dashboards import DashboardReport


@dataclass(frozen=True, kw_only=True)
class ShownTile:
    """A tile.

    Attributes:
        title: above it.
        width: in columns, of 12.
        query: the saved query that it stands on; None: its SELECT is its own.
        sql: its SELECT; None: the saved query is not there.
        refreshed: when it was answered; None: not yet.
        answer: None where there is none.
        figure: the only value of the answer, shown by itself; None where there are others.
        stored: how many of the rows are stored, where not all are; None: all.
        error: why there is no answer.
    """

    title: str
    width: int
    query: str | None
    sql: str | None
    refreshed: datetime | None
    answer: Answer | None
    figure: object
    stored: int | None
    error: str | None


def shown_tiles(report: DashboardReport) -> list[ShownTile]:
    """What is shown of each tile."""
    made: list[ShownTile] = []
    for each in report.tiles:
        there = each.result
        answer = None if there is None else replace(shown_answer(there, each.chart), count=each.count)
        one = answer is not None and len(answer.rows) == each.count == 1 and len(answer.columns) == 1
        made.append(
            ShownTile(
                title=each.title,
                width=each.width,
                query=None if each.own_sql else each.query,
                sql=each.sql,
                refreshed=each.refreshed,
                answer=answer,
                figure=answer.rows[0][0] if answer is not None and one and answer.picture is None else None,
                stored=there.count if there is not None and there.count < each.count else None,
                error=each.error,
            )
        )
    return made
