"""How an endpoint behaves: what it answers, what goes wrong, and what it has been asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.testing.faults import Fault
    from headrace.testing.recording import RecordedRequest

Reply = Callable[[Sequence[dict[str, str]]], str]
Embed = Callable[[str], Sequence[float]]


@dataclass(kw_only=True)
class Behaviour:
    """What `Endpoint` was made with, for the server to read at each request.

    Attributes:
        reply: returns the answer to messages.
        model: the model that it has.
        dimension: the dimension of embeddings.
        embed: returns the embedding of a text; None stands for hashes of words.
        fault_of: returns what goes wrong with a request.
        key: the key that requests must bring.
        latency: seconds before each answer.
        pause: seconds before each piece of a stream.
        requests: the requests so far, in order.
    """

    reply: Reply
    model: str
    dimension: int
    embed: Embed | None
    fault_of: Callable[[RecordedRequest], Fault | None]
    key: str | None
    latency: float
    pause: float
    requests: list[RecordedRequest] = field(default_factory=list["RecordedRequest"])
