"""The contract of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from headrace.scoring.version import LoadedVersion

CHUNK = 32_768  # rows that are predicted at a time, whatever the engine, so that each gives the same bits


class ScoringEngine(Protocol):
    """Predicts.

    Attributes:
        name: as a person is told.
    """

    name: str

    def predict(self, version: LoadedVersion, rows: pa.Table) -> Iterator[pa.Table]:
        """Prediction records (`records.predict`) of full rows, in their order, some at a time as they come.

        Each row is predicted in the company of the same rows on every engine, so that the bits are the same.

        Raises:
            UserCodeError: the model or an on-demand function failed.
            DataError: a row cannot be read as declared, or something that predicts has died. Asking again is safe.
        """
        ...

    def close(self) -> None:
        """Ends what it started. It also ends when this process dies, however that happens."""
        ...


def chunks(rows: pa.Table) -> list[pa.Table]:
    """The rows, as they are predicted together."""
    return [rows.slice(start, CHUNK) for start in range(0, rows.num_rows, CHUNK)]
