"""A data frame as a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from headrace.core.declaration import caller
from headrace.core.errors import DeclarationError
from headrace.lakehouse.declarations import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa


def frame(name: str, rows: Any, *, description: str = "", owner: str = "") -> Source:
    """A data frame that is in memory, as a source: the table becomes its rows.

    Args:
        name: the bronze table, `"bronze.rows"`.
        rows: a data frame of pandas (its index is left out), of polars, or an Arrow table. It is read when the source is
            loaded.
        description: what it is, for people; defaults to none.
        owner: who is responsible, for people; defaults to nobody.

    Returns:
        The source, for `hr.Model(spine=…)` and for the SQL of tables.

    Raises:
        DeclarationError: it is no data frame, has no column or no row, two columns of one name, or a column whose values
            are of several kinds.
    """
    table = _table(name, rows)

    def read() -> Iterable[pa.RecordBatch]:
        return table.to_batches()

    return Source(name, read=read, description=description, owner=owner)


def _table(name: str, rows: Any) -> pa.Table:
    import pyarrow as pa

    at = f"{caller()}: the frame of {name!r}"
    columns = _columns(rows)
    if columns is None:
        raise DeclarationError(
            f"{at} is {type(rows).__name__}, no data frame.",
            hint="Give a data frame of pandas or polars, or an Arrow table.",
        )
    if not columns or not len(rows):
        raise DeclarationError(f"{at} has {len(rows)} rows and {len(columns)} columns.", hint="It needs one of each.")
    if strange := [each for each in columns if not isinstance(each, str)]:
        raise DeclarationError(
            f"{at} has a column that is called {strange[0]!r}, which is no text.",
            hint="Name its columns: frame.columns = ['length', 'width'].",
        )
    if twice := [each for each in columns if columns.count(each) > 1]:
        raise DeclarationError(f"{at} has two columns {twice[0]!r}.", hint="Rename one of them, or leave it out.")
    try:
        if hasattr(rows, "__dataframe__") and hasattr(rows, "iloc"):  # of pandas
            return pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata()
        return cast("pa.Table", pa.table(rows))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise DeclarationError(
            f"{at} cannot be kept as a table: {error}", hint="Make the values of each column of one kind: .astype(str)."
        ) from None


def _columns(rows: Any) -> Sequence[object] | None:
    """The names of its columns; None for what is no data frame."""
    if hasattr(rows, "column_names") and hasattr(rows, "__arrow_c_stream__"):  # Arrow's
        return list(rows.column_names)
    columns = getattr(rows, "columns", None)
    return None if columns is None or not hasattr(rows, "__arrow_c_stream__") else list(columns)
