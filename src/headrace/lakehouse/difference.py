"""The difference between a table and its intended rows. Null equals null here, and NaN equals NaN."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.lakehouse.columns import stored
from headrace.lakehouse.identifiers import column, quoted
from headrace.lakehouse.rows import those_that_fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb
    import pyarrow as pa

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot

MADE = "made"  # the rows that should be there, as a view


@dataclass(frozen=True, kw_only=True)
class RowChanges:
    """What has to be written.

    Attributes:
        changed: rows that are new or differ, whole.
        deleted: the identity of rows that should no longer be there.
    """

    changed: pa.Table
    deleted: pa.Table


def difference(
    lakehouse: Lakehouse, current: Snapshot, made: pa.Table, identity: Sequence[str], *, aside: Sequence[str] = ()
) -> RowChanges:
    """Compares by identity.

    Args:
        lakehouse: where `current` is.
        current: the table as it is; no two rows agree in the identity.
        made: the table as it should be; a type that is another than in `current` is a wider one.
        identity: the columns that tell rows apart.
        aside: columns of the table that do not count, and that `made` need not have.
    """
    there = set(current.schema.names)
    differs = [
        f"made.{column(name)} IS DISTINCT FROM there.{column(name)}"
        if name in there
        else f"made.{column(name)} IS NOT NULL"
        for name in made.column_names
        if name not in identity and name not in aside
    ]
    same_row = " AND ".join(f"made.{column(name)} = there.{column(name)}" for name in identity)
    key = ", ".join(column(name) for name in identity)
    first = column(identity[0])
    with ExitStack() as held:
        # the table as it is has the rows that do not fit, too
        plain = held.enter_context(lakehouse.connect({current.name: current.version}, arrow={MADE: made}))
        wider = is_wider(made.schema, current.schema)
        compared = held.enter_context(beside(lakehouse, current, made)) if wider else plain
        changed = compared.sql(
            f"SELECT made.* FROM {MADE} AS made LEFT JOIN {quoted(current.name)} AS there ON {same_row} "
            f"WHERE there.{first} IS NULL{''.join(f' OR {each}' for each in differs)}"
        ).to_arrow_table()
        deleted = plain.sql(
            f"SELECT {key} FROM {quoted(current.name)} AS there WHERE NOT EXISTS (FROM {MADE} AS made WHERE {same_row})"
        ).to_arrow_table()
    return RowChanges(changed=changed.cast(made.schema), deleted=deleted.cast(made.select(list(identity)).schema))


def is_wider(made: pa.Schema, there: pa.Schema) -> bool:
    """Whether a column is of another type in rows that were made than in the table."""
    return any(
        made.field(field.name).type != (stored(field.type) or field.type) for field in there if field.name in made.names
    )


def beside(lakehouse: Lakehouse, current: Snapshot, made: pa.Table) -> duckdb.DuckDBPyConnection:
    """A connection with the view `made` and the table, whose columns are in the types of `made` where these are wider.

    A row of the table with a value that the wider type does not hold is left out: none of `made` is equal to it.
    """
    if not is_wider(made.schema, current.schema):
        return lakehouse.connect({current.name: current.version}, arrow={MADE: made})
    there = those_that_fit(current.to_arrow(), {field.name: field.type for field in made.schema})
    return lakehouse.connect({}, arrow={MADE: made, current.name: there})


def same_rows(lakehouse: Lakehouse, current: Snapshot, made: pa.Table) -> bool:
    """Whether a table holds exactly these rows and columns, each as often, in whatever order.

    Compares the number of rows and two sums of 64-bit hashes over them: constant memory, and two tables that differ pass
    for the same with a probability of about 2^-128.
    """
    if set(current.schema.names) != set(made.column_names) or is_wider(made.schema, current.schema):
        return False
    listed = ", ".join(column(name) for name in made.column_names)
    prints = (
        f"SELECT count(*), sum(hash({listed})::HUGEINT), sum(hash({listed}, 1)::HUGEINT) FROM {table}"
        for table in (quoted(current.name), MADE)
    )
    with lakehouse.connect({current.name: current.version}, arrow={MADE: made}) as connection:
        first, second = (connection.execute(statement).fetchall()[0] for statement in prints)
    return first == second
