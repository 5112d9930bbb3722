"""Worker processes that predict: fresh interpreters, each with the model loaded once, that end with this process.

They get chunks of rows and return records in memory that both sides map (`shared`). No file is written that would
have to be removed after `kill -9`.
"""

from __future__ import annotations

import pickle
import selectors
import socket
import sys
from typing import TYPE_CHECKING

from headrace.core import processes
from headrace.core.errors import DataError
from headrace.inference.engines.base import chunks
from headrace.inference.engines.shared import receive, send

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from headrace.scoring.version import LoadedVersion

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
MODULE = "headrace.inference.engines.worker"
AHEAD = 2  # chunks that a worker has: one in work, one waiting


class Workers:
    """Some worker processes, with one version of a model.

    Args:
        version: of the model.
        count: of processes.
        threads: that each may use.
    """

    def __init__(self, version: LoadedVersion, *, count: int, threads: int) -> None:
        assert version.folder is not None
        self.folder = version.folder
        model = [str(version.folder), version.model, str(version.number), str(threads)]
        environment = processes.environment(**dict.fromkeys(THREADS, str(threads)))
        self._workers = [_Worker(model, environment) for _ in range(count)]

    def predict(self, rows: pa.Table) -> Iterator[pa.Table]:
        """See Engine."""
        waiting = list(enumerate(chunks(rows)))[::-1]
        total, place = len(waiting), 0
        done: dict[int, pa.Table] = {}
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker.connection, selectors.EVENT_READ, worker)
            for worker in self._workers * AHEAD:
                if waiting:
                    worker.give(*waiting.pop())
            while place < total:
                for key, _ in selector.select():
                    worker: _Worker = key.data
                    number, records = worker.take()
                    done[number] = records
                    if waiting:
                        worker.give(*waiting.pop())
                while place in done:
                    yield done.pop(place)
                    place += 1

    def close(self) -> None:
        """Ends them."""
        for worker in self._workers:
            worker.close()


class _Worker:
    """One process. It ends when its standard input does: when this process closes it, or dies."""

    def __init__(self, model: Sequence[str], environment: Mapping[str, str]) -> None:
        self.connection, theirs = socket.socketpair()
        with theirs:
            quiet = [f"-W{each}" for each in sys.warnoptions]
            self._process = processes.start(
                processes.module(MODULE, str(theirs.fileno()), *model, options=quiet),
                env=environment,
                descriptors=[theirs.fileno()],
                cwd=model[0],
                stdin=processes.PIPE,
            )

    def give(self, number: int, rows: pa.Table) -> None:
        """Sends a chunk."""
        try:
            send(self.connection, {"chunk": number}, rows)
        except OSError:
            raise self._died() from None

    def take(self) -> tuple[int, pa.Table]:
        """The records of a chunk.

        Raises:
            DataError: it died.
            HeadraceError: what it ran into.
        """
        try:
            answer = receive(self.connection)
        except OSError:
            answer = None
        if answer is None:
            raise self._died()
        told, records = answer
        if records is None:
            raise pickle.loads(bytes.fromhex(told["error"]))  # noqa: S301  # it is our own process
        return told["chunk"], records

    def close(self) -> None:
        """Ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.connection.close()
        self._process.kill()
        self._process.wait()

    def _died(self) -> DataError:
        code = self._process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        return DataError(
            f"a process that predicts {how}.",
            hint="Nothing of the partition was written; run again to go on. Short of memory? Fewer --processes.",
        )
