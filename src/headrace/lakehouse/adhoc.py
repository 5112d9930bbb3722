"""Ad hoc SQL: one SELECT over the latest version of every readable table."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import duckdb

from headrace.core.errors import SqlError
from headrace.lakehouse.declarations import Sql
from headrace.lakehouse.sql import check, explain

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.lakehouse.lakehouse import Lakehouse


def ask(lakehouse: Lakehouse, text: str) -> pa.Table:
    """Answers a SELECT.

    Raises:
        SqlError: it does not parse, is no SELECT, or reads what is not a table of the lakehouse.
    """
    query = check(Sql(text, "<query>"), [name.name for name in lakehouse.names()], deterministic=False)
    with lakehouse.connect(dict.fromkeys(query.inputs)) as connection:
        try:
            answer = cast(
                "pa.Table", connection.execute(query.text).to_arrow_table()
            )  # a relation's errors have no place
        except duckdb.Error as error:
            raise explain(error, query) from None
    names = answer.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SqlError(
            f"the answer has more than one column {', '.join(map(repr, twice))}.",
            hint="Name each column once: a.x AS a_x.",
        )
    return answer
