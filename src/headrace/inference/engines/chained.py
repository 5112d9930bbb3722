"""Batch answers of a model with `predict=`: threads of this process, which has the gateway to its routes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

from headrace.chains.pacing import PATIENCE, Pace
from headrace.core.errors import DataError, HeadraceError
from headrace.inference.records import predict

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from headrace.scoring.version import LoadedVersion

THREADS = 8  # rows that are answered at the same time; a route may allow fewer calls


class Chained:
    """See Engine. An error ends the work only after every answer that was made has been returned: each was paid for.

    Args:
        threads: that answer.
    """

    name = "this process"

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads or THREADS

    def predict(self, version: LoadedVersion, rows: pa.Table) -> Iterator[pa.Table]:
        """See Engine; a row at a time."""
        chain, stop = version.chain, Event()
        assert chain is not None, "of such a model alone"
        chain.pace = Pace(PATIENCE)

        def answer(place: int) -> pa.Table | None:
            if stop.is_set():
                return None
            try:
                return predict(version, rows.slice(place, 1))
            except DataError as error:
                stop.set()
                raise _with_row(error, version, rows, place) from error
            except BaseException:
                stop.set()
                raise

        failed: HeadraceError | None = None
        with ThreadPoolExecutor(self._threads, thread_name_prefix="answer") as pool:
            futures = [pool.submit(answer, place) for place in range(rows.num_rows)]
            try:
                for future in futures:
                    try:
                        records = future.result()
                    except HeadraceError as error:
                        failed = failed or error
                        continue
                    if records is not None:
                        yield records
            finally:
                stop.set()
        if failed is not None:
            raise failed

    def close(self) -> None:
        """See Engine: nothing was started."""


def _with_row(error: DataError, version: LoadedVersion, rows: pa.Table, place: int) -> DataError:
    """The same error, beginning with the key of the row."""
    key = ", ".join(f"{name} {rows.column(name)[place].as_py()}" for name in version.plan.keys)
    hint = (
        error.hint or "Correct that row, or leave it out, and score again: answers that a table has cost nothing again."
    )
    return DataError(f"{key}: {error.what}", hint=hint, findings=error.findings)
