"""The kinds of writes to a table: append rows, overwrite all of it, or upsert and delete by key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from headrace.lakehouse.rows import Rows


@dataclass(frozen=True)
class Append:
    """Adds rows. Columns of the table that the rows lack are null; columns that the table lacks are added to it.

    A column that is wider in the rows than in the table is widened: then the table is rewritten in the same version.

    Attributes:
        rows: what is added.
        properties: table properties that hold from this version on, beside those of the commit. Defaults to none.
    """

    rows: Rows
    properties: Mapping[str, str] = field(default_factory=dict[str, str], kw_only=True)


@dataclass(frozen=True)
class Overwrite:
    """Gives the table exactly these rows and these columns. A column that stays keeps its type, or widens.

    Attributes:
        rows: what the table becomes.
        properties: table properties that hold from this version on, beside those of the commit. Defaults to none.
    """

    rows: Rows
    properties: Mapping[str, str] = field(default_factory=dict[str, str], kw_only=True)


@dataclass(frozen=True)
class Upsert:
    """Replaces the rows that have these keys, whole, or adds them; and deletes others in the same version.

    Columns widen as for `Append`. Rows whose type alone changes are not replaced: their other columns stay as they are.

    Attributes:
        rows: the rows to write, no two of one key. Columns of the table that they lack become null in them.
        key: the columns that identify a row. Null equals null.
        delete: the keys of rows to delete; keys that are not in the table are ignored, and so are further columns.
            Defaults to none.
        properties: table properties that hold from this version on, beside those of the commit. Defaults to none.
    """

    rows: Rows
    key: Sequence[str]
    delete: pa.Table | None = None
    properties: Mapping[str, str] = field(default_factory=dict[str, str], kw_only=True)


Change = Append | Overwrite | Upsert
