"""One version of one table: its place and its entries in the log, without its rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.lakehouse import log

if TYPE_CHECKING:
    from typing import Self

    from deltalake import DeltaTable

    from headrace.core.ids import Json
    from headrace.lakehouse.storage import Place

OURS = "headrace."  # the table properties that Headrace writes and reads start so


@dataclass(frozen=True, kw_only=True)
class TableVersion:
    """A table at a version.

    Attributes:
        name: `schema.table`.
        env: the environment whose table it is.
        place: where it lies.
        table: delta-rs's view of this version. It is loaded at that version and never moved to another.
    """

    name: str
    env: str
    place: Place = field(repr=False)
    table: DeltaTable = field(repr=False, compare=False)

    @cached_property
    def version(self) -> int:
        """The version's number."""
        return self.table.version()

    @property
    def path(self) -> str:
        """The folder or URL of the table."""
        return self.place.path

    @cached_property
    def data_version(self) -> int:
        """The last version up to this one that changed rows or columns."""
        return log.data_version(self.place, self.version)

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns in Delta's order and types."""
        return pa.schema(self.table.schema().to_arrow())

    @cached_property
    def properties(self) -> dict[str, str]:
        """The table properties whose names start with `headrace.`."""
        return {key: value for key, value in self.table.metadata().configuration.items() if key.startswith(OURS)}

    @cached_property
    def id(self) -> str:
        """The table's own id: one that was removed and made anew has another."""
        return str(self.table.metadata().id)

    @property
    def content(self) -> list[Json]:
        """What a step that reads the table is told apart by: whose it is, which one, and the last version that changed it.

        A table that was dropped and made anew counts its versions from the beginning, and has another id.
        """
        return [self.env, self.id, self.data_version]

    def at(self, version: int) -> Self | None:
        """An earlier version; None where the log no longer has it."""
        table = self.place.open(version)
        return None if table is None else replace(self, table=table)
