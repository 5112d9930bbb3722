"""The monitored columns of a relation, read in blocks: each column is read once; a single column may be larger than a block."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb
    import pyarrow as pa

VALUES_AT_ONCE = 2**23  # 64 MB of numbers

Kind = Literal["number", "string"]


@dataclass(frozen=True, kw_only=True)
class MonitoredColumn:
    """A column to watch.

    Attributes:
        name: as it is reported.
        expression: SQL over the relation, quoted.
        kind: of its values.
        feature: what the feature is called where it is declared; None for what is no feature.
    """

    name: str
    expression: str
    kind: Kind
    feature: str | None = None


def read_blocks(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    columns: Sequence[MonitoredColumn],
    beside: Mapping[str, str] | None = None,
) -> Iterator[tuple[pa.Table, dict[str, pa.ChunkedArray]]]:
    """Reads all rows of some columns after the others, in no order that can be relied on.

    Args:
        connection: in which the relation can be read.
        relation: SQL of the rows, as it stands after FROM.
        columns: to read; numbers come as doubles, all else as text.
        beside: name → SQL of what is read with every block, in the same order of rows.

    Yields:
        What is beside, and name → values of the columns.
    """
    further = [f"{sql} as {name}" for name, sql in (beside or {}).items()]
    rows = connection.sql(f"select count(*) from {relation}").fetchall()[0][0] if columns else 0
    width = max(1, VALUES_AT_ONCE // max(rows, 1) - len(further))
    left = iter(columns)
    while several := list(islice(left, width)):
        listed = [
            f"({each.expression})::{'double' if each.kind == 'number' else 'varchar'} as v{place}"
            for place, each in enumerate(several)
        ]
        made = connection.sql(f"select {', '.join([*further, *listed])} from {relation}").to_arrow_table()
        values = made.columns[len(further) :]
        yield (
            made.select(range(len(further))),
            {each.name: each_values for each, each_values in zip(several, values, strict=True)},
        )
