"""One version of one table, for reading only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.lakehouse import scan
from headrace.lakehouse.table_version import TableVersion

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Snapshot(TableVersion):
    """A table at a version, with its rows."""

    def rows(self) -> int:
        """How many rows there are."""
        return scan.count(self)

    def without_values(self, names: Sequence[str]) -> frozenset[str]:
        """Those of these columns in which no row has a value: they may take any type, for nothing would change."""
        return scan.without_values(self, names)

    def to_arrow(self, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """The rows, in Delta's types.

        Args:
            columns: which, and in which order; None for all.
            where: an SQL predicate over the columns of the table. Not for text that a stranger typed.
        """
        return scan.to_arrow(self, columns, where)
