"""What pages show of the answer to a SELECT: its picture, its first rows and columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.console.answer_charts import picture

if TYPE_CHECKING:
    from headrace.console.answer_charts import Picture
    from headrace.operations.saved_queries import Chart
    from headrace.operations.sql import QueryResult

ROWS, COLUMNS = 500, 100  # that are shown
LETTERS = 300  # of a value


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a page shows of an answer.

    Attributes:
        count: the number of its rows.
        columns: their names, the first ones.
        more_columns: the number of those that are not shown.
        rows: values, the first rows.
        picture: beside the table; None: the table is all.
    """

    count: int
    columns: list[str]
    more_columns: int
    rows: list[list[object]]
    picture: Picture | None


def shown_answer(result: QueryResult, chart: Chart) -> Answer:
    """What is shown of an answer: its picture, and its first rows and columns."""
    columns = result.arrow.column_names[:COLUMNS]
    return Answer(
        count=result.count,
        columns=columns,
        more_columns=max(len(result.arrow.column_names) - COLUMNS, 0),
        rows=[[row[each] for each in columns] for row in result.rows(ROWS)],
        picture=picture(result, chart),
    )
