"""The contract of a destination of predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class ScoredRows:
    """What a write did.

    Attributes:
        rows: predictions that were new, or other than what stood there.
        version: of the table that holds them, where it has versions.
    """

    rows: int
    version: int | None = None


class Destination(Protocol):
    """Keeps each prediction once, by its id.

    Attributes:
        name: as a person is told, without anything secret.
    """

    name: str

    def write(self, predictions: pa.Table, *, id: str) -> ScoredRows:  # noqa: A002
        """Brings one partition in.

        Afterwards each of these predictions is there once and is what was given; all others are as they were. One that
        stood there already and is equal but for how it was made (`feature_versions`, `scored_at`) stays untouched. Columns
        that are new here are added, and null where they were not known.

        It may be cut off at any moment, and be repeated: then it comes to the same. Several processes may write at the
        same time; of two that write the same prediction, one comes last.

        Args:
            predictions: no two of one id. A column that is missing here becomes null.
            id: of the partition, the same each time it is repeated.

        Raises:
            DataError: what is there takes no such rows. Nothing of the partition was written.
        """
        ...

    def identity(self) -> str | None:
        """What tells the table or folder from one that was removed and made anew, where that can be told.

        None where nothing is there. As long as it is the same, what was written before is still there.
        """
        ...

    def close(self) -> None:
        """Lets go of connections."""
        ...
