"""Which predictions are new, or differ from the existing ones."""

# pyarrow.compute makes its functions when it is imported
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from headrace.lakehouse.identifiers import column, literal
from headrace.lakehouse.scan import connect
from headrace.scoring.columns import AT, ID, MADE

if TYPE_CHECKING:
    from collections.abc import Collection

    import duckdb


@dataclass(frozen=True, kw_only=True)
class PendingRows:
    """What has to be written.

    Attributes:
        rows: predictions.
        replace: whether some of them stand there in another form.
    """

    rows: pa.Table
    replace: bool


def difference(
    connection: duckdb.DuckDBPyConnection, new: pa.Schema, standing: str, there: Collection[str]
) -> PendingRows:
    """Compares the view `new` with what stands.

    Args:
        connection: where both are.
        new: the columns of the new predictions.
        standing: SQL of a relation.
        there: its columns.
    """
    differs = " or ".join(
        f"n.{column(name)} is distinct from o.{column(name)}"
        if name in there
        else f"n.{column(name)} is not null"  # of a class that no version knew before
        for name in new.names
        if name not in (ID, *MADE)
    )
    changed = connection.sql(
        f"""
        select n.*, o.{ID} is not null as _stands
        from new n left join {standing} o using ({ID})
        where o.{ID} is null or {differs}
        """
    ).to_arrow_table()
    return PendingRows(rows=changed.drop_columns(["_stands"]), replace=bool(pc.any(changed.column("_stands")).as_py()))


def compare(new: pa.Table, standing: pa.Table) -> PendingRows:
    """The same for two tables in memory."""
    with connect([], {"new": new, "standing": standing}) as connection:
        return difference(connection, new.schema, "standing", standing.schema.names)


def nearby(predictions: pa.Table) -> str:
    """SQL that holds for each row that may be one of these predictions: an id stands for one moment."""
    bounds = pc.min_max(predictions.column(AT))
    kind = "timestamptz" if getattr(predictions.schema.field(AT).type, "tz", None) else "timestamp"
    low, high = (f"{kind} {literal(bounds[side].as_py().isoformat())}" for side in ("min", "max"))
    return f"{AT} between {low} and {high}"
