"""The latest status that the workers of streams reported."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from headrace.operations.record import Record

if TYPE_CHECKING:
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class StreamStatus(Record):
    """What a worker of a stream reported last.

    Attributes:
        model: the name of the model.
        source: what it reads.
        host: the machine of the worker.
        pid: the id of its process.
        status: `works`; `waits` for something that it cannot have now; `died` without an end.
        version: the number of the version that predicted last; None before.
        messages: the number of messages that were read since it started.
        dead_letters: the number of messages that could not be scored since then.
        lag: the number of messages that wait; of a change feed, the number of versions.
        delay_s: seconds from when the oldest message of the last batch was sent to its prediction; None where that is not known.
        at: when it reported.
    """

    model: str
    source: str
    host: str
    pid: int
    status: Literal["works", "waits", "died"]
    version: int | None
    messages: int
    dead_letters: int
    lag: int
    delay_s: float | None
    at: datetime


def stream_workers(workspace: Workspace) -> list[StreamStatus]:
    """The workers of an environment's streams, those that died among them until another one takes over."""
    from headrace.inference.streaming.worker_status import told

    return [
        StreamStatus(
            model=worker["model"],
            source=worker["source"],
            host=worker["host"],
            pid=worker["pid"],
            status="died" if worker["gone"] else "waits" if worker["held"] else "works",
            version=worker["version"] or None,
            messages=worker["messages"],
            dead_letters=worker["dead_letters"],
            lag=sum(worker["lag"].values()),
            delay_s=worker["delay_s"],
            at=datetime.fromisoformat(worker["at"]),
        )
        for worker in told(workspace.environment.root)
    ]
