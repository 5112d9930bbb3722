"""One SELECT over every table that can be read from an environment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError
from headrace.operations.operation import operation
from headrace.operations.record import Record, rows_as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    import pandas as pd
    import pyarrow as pa

    from headrace.core.ids import Json
    from headrace.workspace.workspace import Workspace

SECONDS = 60.0
ROWS = 1_000_000
NAMED = 8  # columns in a repr
CATALOG = re.compile(  # what other databases' shells answer about their tables
    r"\s*(?:(?:describe|desc|summarize|show\s+columns\s+(?:from|in)|\\d\+?)(?:\s+table)?\s+(?P<table>[\w.\"]+)"
    r"|show\s+(?:all\s+)?(?:tables|schemas|databases)|describe|\\dt?|\.tables)\s*;?\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class QueryResult(Record):
    """The answer to a SELECT.

    Attributes:
        arrow: its rows.
    """

    arrow: pa.Table

    def __repr__(self) -> str:
        """The number of rows, and the columns."""
        names = self.arrow.column_names
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return f"<{type(self).__name__}: {self.count:,} rows of {', '.join(names[:NAMED])}{more}>"

    @property
    def count(self) -> int:
        """The number of rows."""
        return self.arrow.num_rows

    def rows(self, limit: int | None = None) -> list[dict[str, object]]:
        """The rows as Python values, column → value.

        Args:
            limit: the number of rows, from the first one; None: all.

        Returns:
            One dictionary a row. A moment that Python has no value for is text: `infinity`, or such as `12024-01-01`.
        """
        from headrace.lakehouse.values import rows_of

        return rows_of(self.arrow if limit is None else self.arrow.slice(0, limit))

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table."""
        return self.arrow

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a data frame, with the index 0, 1, 2 and so on."""
        return self.arrow.to_pandas()

    def to_json(self) -> dict[str, Json]:
        """The answer as a JSON object.

        Returns:
            `columns`, in order, and `rows`, column → value; NaN and infinities are the texts "NaN", "Infinity", "-Infinity".
        """
        return {"columns": list(self.arrow.column_names), "rows": rows_as_json(self.rows())}


@dataclass(frozen=True, kw_only=True)
class TableColumns(Record):
    """What a SELECT may name.

    Attributes:
        table: its name.
        columns: their names, in the order of the table.
    """

    table: str
    columns: tuple[str, ...]


@operation("table list")
def list_columns(workspace: Workspace) -> list[TableColumns]:
    """Every table that can be read, with its columns; no file of data is read."""
    lakehouse = workspace.lakehouse
    return [
        TableColumns(table=each.name, columns=tuple(lakehouse.snapshot(each.name).schema.names))
        for each in lakehouse.names()
    ]


def placeholders(text: str) -> tuple[str, ...]:
    """The names of the placeholders `:name` of a SELECT, each once, in order."""
    from headrace.lakehouse import placeholders as reading

    return reading.placeholders(text)


@operation("sql")
def query(
    workspace: Workspace,
    text: str,
    *,
    timeout: float = SECONDS,
    max_rows: int = ROWS,
    values: Mapping[str, str | int | float | date] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> QueryResult:
    """Answers one SELECT over the latest version of every table that can be read.

    Args:
        workspace: the environment.
        text: the SELECT.
        timeout: the time that it may take, in seconds.
        max_rows: the number of rows that the answer may have.
        values: name of a placeholder `:name` → the value that is bound to it; None: there is none.
        cancelled: asked several times a second whether it is to end now; None: nobody ends it.

    Raises:
        ConfigError: it asks for a list of tables or of columns, in the words of another database.
        SqlError: it cannot be parsed, is no SELECT, reads what is not a table of the lakehouse, or lacks a value.
        LimitError: it takes too long, is cancelled, or its answer or its memory is too large.
    """
    from headrace.lakehouse.adhoc import QueryLimits, ask

    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"{text!r} is no SELECT.", hint='Write it as a text: "select …".')
    if match := CATALOG.fullmatch(text):
        name = match["table"]
        command = f"headrace table show {name}" if name else "headrace table list"
        raise ConfigError(f"{text.strip()!r} is not a SELECT.", hint=f"Type: {command}")
    limits = QueryLimits(seconds=timeout, rows=max_rows)
    return QueryResult(arrow=ask(workspace.lakehouse, text, limits, values=values, cancelled=cancelled))
