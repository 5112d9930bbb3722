"""Scoring on this machine: few rows in this process, many in worker processes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from headrace.inference.engines.base import chunks
from headrace.inference.engines.workers import Workers
from headrace.inference.records import predict

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from headrace.scoring.version import LoadedVersion

FEW = 100_000  # rows: starting workers, a second each, takes longer than predicting these


class Local:
    """See Engine.

    Args:
        processes: that predict. None: one a core, and none but this one where there are few rows.
    """

    def __init__(self, processes: int | None = None) -> None:
        self._asked = processes
        self._processes = processes or cores()
        self.name = "this process" if self._processes == 1 else f"{self._processes} processes"
        self._workers: Workers | None = None

    def predict(self, version: LoadedVersion, rows: pa.Table) -> Iterator[pa.Table]:
        """See Engine."""
        if self._processes == 1 or (self._asked is None and rows.num_rows < FEW):
            if rows.num_rows >= FEW:
                version.expect_many(cores())
            for chunk in chunks(rows):
                yield predict(version, chunk)
            return
        if self._workers is None or self._workers.folder != version.folder:
            self.close()
            self._workers = Workers(version, count=self._processes, threads=max(1, cores() // self._processes))
        yield from self._workers.predict(rows)

    def close(self) -> None:
        """See Engine."""
        if self._workers:
            self._workers.close()
            self._workers = None


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
