"""A table's change feed as a source: one partition, whose offsets are versions and places within them.

An offset is `version * 2**32 + place`, where the rows of a version have a fixed order, so that a version of many rows is
several batches.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from headrace.core.errors import DataError, UnavailableError
from headrace.inference.streaming.sources.base import Batch, Message
from headrace.lakehouse import changes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pyarrow as pa

    from headrace.inference.streaming.sources.base import Positions
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot

PLACES = 2**32
LOOK = 0.2  # seconds between looks at the table while nothing comes


class ChangeFeedSource:
    """See Source.

    Args:
        lakehouse: where the table is.
        table: its name.
        positions: where the sink keeps how far it has come; None where it does not.
        memory: the file that keeps it then.
        max_messages: of a batch.
        tell: told of versions that went back.
        accept_loss: goes on with the next version where one can no longer be read.

    Raises:
        NotFoundError: there is no such table.
        RefusedError: it has no change feed.
    """

    def __init__(
        self,
        lakehouse: Lakehouse,
        table: str,
        *,
        positions: Positions | None,
        memory: Path,
        max_messages: int,
        tell: Callable[[str], None],
        accept_loss: bool = False,
    ) -> None:
        self.topic = table
        self._lakehouse, self._positions, self._memory = lakehouse, positions, memory
        self._max_messages, self._tell, self._accept_loss = max_messages, tell, accept_loss
        self._snapshot = lakehouse.snapshot(table)
        changes.check(self._snapshot)
        self.name = f"changes {table}/{self._snapshot.id}"
        self._next: int | None = None
        self._read: tuple[int, pa.Table] | None = None  # the version that is being worked on
        self._ended = False

    def poll(self) -> Batch | None:
        """See Source."""
        start = following = self._start() if self._next is None else self._next
        found: list[Message] = []
        while len(found) < self._max_messages:
            version, place = divmod(following, PLACES)
            if not self._has(version):
                break
            rows = self._rows(version)
            taken = rows.slice(place, self._max_messages - len(found)).to_pylist()
            found += [Message(0, following + number, row, None, None) for number, row in enumerate(taken)]
            after = place + len(taken)
            following = (version + 1) * PLACES if after >= rows.num_rows else version * PLACES + after
        self._next, self._ended = following, following == start
        if self._ended:
            time.sleep(LOOK)
            return None
        return Batch(messages=found, ends={0: following})

    def done(self, batch: Batch) -> None:
        """See Source."""
        if self._positions is None:
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            making = self._memory.with_name(f".{self._memory.name}.{os.getpid()}")
            making.write_text(json.dumps({"source": self.name, "next": batch.ends[0]}))
            making.replace(self._memory)

    def rewind(self) -> None:
        """See Source."""
        self._next, self._ended = None, False

    def hold(self, seconds: float) -> bool:
        """See Source."""
        time.sleep(seconds)
        return True

    def at_end(self) -> bool:
        """See Source."""
        return self._ended

    def lag(self) -> dict[int, int]:
        """See Source."""
        if self._next is None:
            return {}
        return {0: max(0, self._snapshot.version + 1 - self._next // PLACES)}

    def close(self) -> None:
        """See Source."""

    def _start(self) -> int:
        kept = self._kept() if self._positions is None else self._positions([0]).get(0)
        return changes.first(self._snapshot) * PLACES if kept is None else kept

    def _kept(self) -> int | None:
        try:
            kept = json.loads(self._memory.read_text())
        except FileNotFoundError:
            return None
        return int(kept["next"]) if kept["source"] == self.name else None

    def _has(self, version: int) -> bool:
        """Whether there is such a version by now."""
        if version > self._snapshot.version:
            self._snapshot = self._same(self._lakehouse.snapshot(self.topic))
        return version <= self._snapshot.version

    def _same(self, latest: Snapshot) -> Snapshot:
        if latest.id != self._snapshot.id:
            raise DataError(
                f"{self.topic} was removed and made anew; its versions count from the beginning.",
                hint="Start the stream again: it begins with the first version of the new table.",
            )
        changes.check(latest)
        return latest

    def _rows(self, version: int) -> pa.Table:
        if self._read is None or self._read[0] != version:
            if changes.went_back(self._snapshot, version):
                self._tell(f"version {version} of {self.topic} restored an earlier one: its rows are scored again")
            self._read = version, self._added(version)
        return self._read[1]

    def _added(self, version: int) -> pa.Table:
        try:
            return changes.added(self._snapshot, version)
        except UnavailableError as error:
            if self._accept_loss:
                self._tell(f"{error.what} It is left out.")
                return self._snapshot.schema.empty_table()
            raise DataError(
                error.what,
                hint=f"{error.hint} To go on without it: headrace run stream --accept-loss; "
                "decisions that are missing then: headrace run score",
            ) from None
