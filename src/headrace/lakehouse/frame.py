"""A data frame as a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from headrace.core.declaration import caller
from headrace.core.errors import DeclarationError
from headrace.lakehouse.declarations import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from headrace.core.schema import Schema


def frame(name: str, rows: Any, *, schema: Schema | None = None, description: str = "", owner: str = "") -> Source:
    """A data frame that is in memory, as a source: the table becomes its rows.

    Args:
        name: the bronze table, `"bronze.rows"`.
        rows: a data frame of pandas (its index is left out), of polars, or an Arrow table. It must not be changed afterwards: it
            is written when the source is loaded.
        schema: types of columns that are not to be those of the frame: `hr.Schema(zip="string")`; defaults to none.
        description: what it is, for people; defaults to none. `hr.documented()` asks for it.
        owner: who is responsible, for people; defaults to nobody.

    Returns:
        The source, for `hr.Model(spine=…)` and for the SQL of tables.

    Raises:
        DeclarationError: it is no data frame, has no column or no row, two columns of one name, or a column whose values
            are of several kinds.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"radius_mm": [17.9, 13.5], "malignant": [True, False]})
        >>> tumours = hr.frame("bronze.tumours", frame, owner="pathology")
        >>> [batch.num_rows for batch in tumours.read()]
        [2]
    """
    table = arrow_table(rows, f"{caller()}: the frame of {name!r}")

    def read() -> Iterable[pa.RecordBatch]:
        return table.to_batches()

    return Source(name, read=read, schema=schema, description=description, owner=owner)


def arrow_table(rows: Any, at: str) -> pa.Table:
    """A data frame as an Arrow table, its index left out.

    Args:
        rows: a data frame of pandas or of polars, or an Arrow table.
        at: how a message begins: what the frame is.

    Raises:
        DeclarationError: it is no data frame, has no column or no row, two columns of one name, or a column whose values
            are of several kinds.
    """
    import pyarrow as pa

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
    if "" in columns:
        raise DeclarationError(f"{at} has a column without a name.", hint="Name it, or leave it out.")
    if twice := [each for each in columns if columns.count(each) > 1]:
        raise DeclarationError(f"{at} has two columns {twice[0]!r}.", hint="Rename one of them, or leave it out.")
    try:
        if hasattr(rows, "__dataframe__") and hasattr(rows, "iloc"):  # of pandas
            return pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata()
        return cast("pa.Table", pa.table(rows))
    except (pa.ArrowException, TypeError, OverflowError) as error:
        said = ": ".join(str(each).rstrip(".") for each in error.args)
        raise DeclarationError(
            f"{at} cannot be kept as a table: {said}.",
            hint="Make the values of each column of one kind: frame[column].astype(float), or .astype(str) for texts.",
        ) from None


def _columns(rows: Any) -> Sequence[object] | None:
    """The names of its columns; None for what is no data frame."""
    if hasattr(rows, "column_names") and hasattr(rows, "__arrow_c_stream__"):  # Arrow's
        return list(rows.column_names)
    columns = getattr(rows, "columns", None)
    return None if columns is None or not hasattr(rows, "__arrow_c_stream__") else list(columns)
