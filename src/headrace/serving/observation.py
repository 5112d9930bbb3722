"""What is recorded of a request for its observers. Nothing is recorded without an observer."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Generator

    from headrace.serving.predictors.chain import TimedAnswer


class ModelCall(NamedTuple):
    """A call of a model, with what it waited for the calls before it.

    Attributes:
        began: by the monotonic clock, in nanoseconds.
        ended: by the same clock.
    """

    version: int
    tier: str
    rows: int
    began: int
    ended: int


class EmbeddingCall(NamedTuple):
    """Vectors of texts that a request asked for.

    Attributes:
        model: the name of the embedder.
        dimension: of each vector.
        tokens: of the texts, estimated.
        began: by the monotonic clock, in nanoseconds.
        ended: by the same clock.
    """

    model: str
    dimension: int
    tokens: int
    began: int
    ended: int


@dataclass(slots=True)
class Observation:
    """A request, from its first byte to its answer.

    Attributes:
        began: when its first byte came, by the monotonic clock, in seconds.
        size: bytes of its body.
        id: that the inference log has; empty for one that asks for no prediction, or could not be read.
        model: that was asked.
        versions: that answered.
        calls: of the model.
        streamed: bytes of events that were sent, where the answer streams.
        answers: of a model that answers by itself, with what each did.
        embeddings: that were made.
        redacted: the model keeps values out of its log, so no text of these answers is shown.
    """

    began: float
    size: int = 0
    id: str = ""
    model: str = ""
    versions: list[int] = field(default_factory=list[int])
    calls: list[ModelCall] = field(default_factory=list[ModelCall])
    streamed: int = 0
    answers: list[TimedAnswer] = field(default_factory=list["TimedAnswer"])
    embeddings: list[EmbeddingCall] = field(default_factory=list[EmbeddingCall])
    redacted: bool = False

    @contextmanager
    def call(self, version: int, tier: str, rows: int) -> Generator[None]:
        """Notes a call of a model, also one that fails."""
        began = time.monotonic_ns()
        try:
            yield
        finally:
            self.calls.append(ModelCall(version, tier, rows, began, time.monotonic_ns()))
