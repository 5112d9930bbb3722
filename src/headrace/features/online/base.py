"""The contract of an online store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, kw_only=True)
class OnlineTable:
    """What a store knows of a feature table.

    Attributes:
        keys: pairs (key column, type), in order.
        columns: pairs (column, type), in the order in which values are packed.
        as_of: the moment up to which rows were published, microseconds since 1970 UTC.
        data_version: of the feature table, that they were published from.
    """

    keys: tuple[tuple[str, str], ...]
    columns: tuple[tuple[str, str], ...]
    as_of: int
    data_version: int


@dataclass(frozen=True, slots=True)
class OnlineRow:
    """The latest row of a key.

    Attributes:
        time: when it became available, microseconds since 1970 UTC.
        packed: its values; see `packing`.
    """

    time: int
    packed: bytes


class OnlineStore(Protocol):
    """Rows by table and key. Safe to be used by several processes at once; a write appears whole or not at all."""

    def table(self, name: str) -> OnlineTable | None:
        """What is known of a table; None before it was published."""
        ...

    def replace(self, name: str, described: OnlineTable, rows: Iterable[tuple[bytes, int, bytes]]) -> int:
        """Makes these (key, time, values) all that there is of a table; gives how many. Again changes nothing."""
        ...

    def update(self, name: str, described: OnlineTable, rows: Iterable[tuple[bytes, int, bytes]]) -> int:
        """Adds rows. An older one never takes the place of a newer one. `as_of` of the table only rises."""
        ...

    def read(self, name: str, keys: Sequence[bytes]) -> list[OnlineRow | None]:
        """The rows of keys, in their order; None for a key that is not there.

        Raises:
            DataError: the table was never published.
        """
        ...

    def close(self) -> None:
        """Lets go of what this thread holds; it may be used again."""
        ...
