"""The contract of an online store."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Rows = Iterable[tuple[bytes, int, bytes]]  # key, time, packed values


@dataclass(frozen=True, kw_only=True)
class OnlineTable:
    """What a store knows of a feature table.

    Attributes:
        keys: pairs (key column, type), in order.
        columns: pairs (column, type), in the order in which values are packed.
        as_of: the moment up to which rows were published, microseconds since 1970 UTC.
        data_version: of the feature table, that they were published from.
        source: which table that was; one that was made anew counts its versions anew.
    """

    keys: tuple[tuple[str, str], ...]
    columns: tuple[tuple[str, str], ...]
    as_of: int
    data_version: int
    source: str = ""


def as_json(described: OnlineTable) -> str:
    """As a store keeps it."""
    return json.dumps(asdict(described))


def from_json(text: str) -> OnlineTable:
    """What `as_json` gave."""
    stored = json.loads(text)
    pairs = {each: tuple((name, kind) for name, kind in stored.pop(each)) for each in ("keys", "columns")}
    return OnlineTable(**pairs, **stored)


@dataclass(frozen=True, slots=True)
class OnlineRow:
    """The latest row of a key.

    Attributes:
        time: when it became available, microseconds since 1970 UTC.
        packed: its values; see `packing`.
    """

    time: int
    packed: bytes


@dataclass(frozen=True, kw_only=True)
class PublishedRows:
    """What a write changed: rows added or made different, and rows removed."""

    rows: int
    removed: int = 0


class OnlineStore(Protocol):
    """Rows by table and key.

    May be used by several threads and processes at once. A write appears whole or not at all, to readers and after the
    death of the writer, and its rows together with its description. No error shows a secret of the store's address.

    Attributes:
        is_local: it is on this machine, and a read takes microseconds.
    """

    is_local: bool

    def table(self, name: str) -> OnlineTable | None:
        """What is known of a table; None before it was published. Quick enough to be asked for each request.

        Raises:
            DataError: the store cannot be read.
        """
        ...

    def replace(self, name: str, described: OnlineTable, rows: Rows, *, expected: OnlineTable | None) -> PublishedRows:
        """Makes these rows all that there is of a table, also where they are older than those that were there.

        Args:
            name: the table.
            described: what is known of it from now on.
            rows: where a key comes twice, the later time stays.
            expected: what the rows were computed against.

        Raises:
            ConflictError: something else than `expected` is described there now, or another writer does not come to an
                end. Nothing was written.
            DataError: the store cannot be written.
        """
        ...

    def update(self, name: str, described: OnlineTable, rows: Rows, *, expected: OnlineTable) -> PublishedRows:
        """Adds rows. An older one never takes the place of a newer one; again changes nothing.

        Keys and columns are those that are there: rows that are packed otherwise need `replace`.

        Raises:
            ConflictError, DataError: as `replace`.
        """
        ...

    def read(self, name: str, keys: Sequence[bytes]) -> list[OnlineRow | None]:
        """The rows of keys, in their order; None for a key that is not there.

        Rows of two calls, or of a call and a `table` before it, may be of different publications.

        Raises:
            DataError: the table was never published, or the store cannot be read.
        """
        ...

    def read_of(self, name: str, described: OnlineTable, keys: Sequence[bytes]) -> list[OnlineRow | None] | None:
        """As `read`, all of the publication that is so described; None where that is not the one that is there.

        Raises:
            DataError: the store cannot be read.
        """
        ...

    @property
    def place(self) -> str:
        """Where it is, without a secret and without looking: of two that differ in it, one can be full while the other is empty."""
        ...

    def owner(self) -> str | None:
        """Whose it is marked as; None where it is nobody's. Makes and writes nothing.

        Raises:
            DataError: the store cannot be read.
        """
        ...

    def claim(self, mark: str) -> str:
        """Marks the store as this owner's unless it is somebody's; gives whose it is. Any number may at once.

        Raises:
            DataError: the store cannot be read or written.
        """
        ...

    def disclaim(self) -> None:
        """Takes the mark away; without effect where there is none.

        Raises:
            DataError: the store cannot be read or written.
        """
        ...

    def drop(self, name: str) -> None:
        """Forgets a table; without effect where there is none. The mark of an owner stays.

        Raises:
            DataError: the store cannot be read or written.
        """
        ...

    def close(self) -> None:
        """Lets go of what this thread holds; it may be used again."""
        ...
