"""The table to write: its place, its snapshots, and whether it has rows yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.lakehouse.snapshot import Snapshot

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from headrace.lakehouse.storage import Place

BORN = "headrace.born"  # the app transaction of the first version with rows


@dataclass(frozen=True, kw_only=True)
class WriteTarget:
    """The table that is written.

    Attributes:
        name: its name, `schema.table`.
        env: the environment that it belongs to.
        place: where its files are.
    """

    name: str
    env: str
    place: Place

    def snapshot(self, version: int | None = None) -> Snapshot | None:
        """Returns a version of the table, by default the latest; None if nothing had been committed by then."""
        table = self.place.open(version)
        return None if table is None or is_unborn(table) else self.of(table)

    def of(self, table: DeltaTable) -> Snapshot:
        """Returns a version that has been loaded as a snapshot."""
        return Snapshot(name=self.name, env=self.env, place=self.place, table=table)


def is_unborn(table: DeltaTable) -> bool:
    """Whether a table was only begun, and nothing was ever committed to it."""
    return not table.file_uris() and table.transaction_version(BORN) is None
