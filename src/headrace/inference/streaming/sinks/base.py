"""The contract of a sink of predictions or dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

PREDICTION = ("prediction_id",)
LETTER = ("topic", "partition", "offset")


class Sink(Protocol):
    """Takes rows that were made of a stretch of each of some partitions.

    Attributes:
        keeps_positions: rows and the ends of their stretches are written in one transaction: each stretch counts exactly
            once, whoever dies. Otherwise rows are there at least once, with the key that tells repeats.
    """

    keeps_positions: bool

    def positions(self, partitions: Sequence[int]) -> dict[int, int | None]:
        """Where the last stretch of each partition ended, None before the first; the next `write` goes on from there.

        A sink that keeps none gives None for each.
        """
        ...

    def settled(self, starts: Mapping[int, int]) -> set[tuple[int, int]]:
        """Partition and offset of the dead letters that are there at or after a start: who wrote them died soon after.

        A sink that keeps no positions gives none.
        """
        ...

    def write(self, rows: pa.Table | None, ends: Mapping[int, int]) -> Mapping[int, str]:
        """Rows, and the ends of the stretches that they were made of.

        A row takes the place of one with its key. With None only the ends are noted. Gives the places of rows that the sink
        will never take, however often it is asked, each with the reason; the others are written.

        Raises:
            MovedError: another worker has come further in one of the partitions. Nothing was written.
            UnavailableError, ConflictError: it cannot be written now.
            DataError: rows that do not fit.
            ConfigError: it refuses whatever this worker writes.
        """
        ...

    def close(self) -> None:
        """Gives up what it holds."""
        ...
