"""One SELECT over every table that can be read from an environment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError
from headrace.operations.operation import operation
from headrace.operations.record import Record, rows_as_json

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from headrace.core.ids import Json
    from headrace.workspace.workspace import Workspace

SECONDS = 60.0
ROWS = 1_000_000
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


@operation("sql")
def query(workspace: Workspace, text: str, *, timeout: float = SECONDS, max_rows: int = ROWS) -> QueryResult:
    """Answers one SELECT over the latest version of every table that can be read.

    Args:
        workspace: the environment.
        text: the SELECT.
        timeout: the time that it may take, in seconds.
        max_rows: the number of rows that the answer may have.

    Raises:
        ConfigError: it asks for a list of tables or of columns, in the words of another database.
        SqlError: it cannot be parsed, is no SELECT, or reads what is not a table of the lakehouse.
        LimitError: it takes too long, or its answer or its memory is too large.
    """
    from headrace.lakehouse.adhoc import QueryLimits, ask

    if match := CATALOG.fullmatch(text):
        name = match["table"]
        command = f"headrace table show {name}" if name else "headrace table list"
        raise ConfigError(f"{text.strip()!r} is not a SELECT.", hint=f"Type: {command}")
    return QueryResult(arrow=ask(workspace.lakehouse, text, QueryLimits(seconds=timeout, rows=max_rows)))
