"""Ways in which an endpoint misbehaves: one for each request, from a list or by a rule.

Example:
    >>> from headrace.testing import faults
    >>> [faults.status(429, retry_after=1), faults.cut(after=2), None]  # the third request is answered as it should be
    [Fault(kind='status', status=429, retry_after=1, body=''), Fault(kind='cut', after=2), None]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from headrace.testing.recording import RecordedRequest

Kind = Literal[
    "timeout",
    "drip",
    "cut",
    "disconnect",
    "status",
    "bad_json",
    "empty",
    "other_model",
    "dimension",
    "huge",
    "echo",
    "echo_in_answer",
]


@dataclass(frozen=True, kw_only=True, repr=False)
class Fault:
    """What goes wrong with one request. Make it with the functions of this module.

    Attributes:
        kind: what goes wrong.
        status: the status of an answer that is an error.
        retry_after: the value of its header Retry-After: seconds, or a date as HTTP writes it.
        body: its body; empty stands for an error as the protocol writes it.
        after: how many pieces of text are sent before a stream is cut.
        clean: whether a cut stream ends as HTTP says it should, without the events that close it.
        seconds: the pause before each piece of an answer that drips.
        model: the model that the answer names.
        dimension: the dimension of the embeddings.
        size: the length of the answer, or of its pieces, in characters; of one that drips in bytes.
    """

    kind: Kind
    status: int = 0
    retry_after: int | str | None = None
    body: str = ""
    after: int = 0
    clean: bool = False
    seconds: float = 0.0
    model: str = ""
    dimension: int = 0
    size: int = 0

    def __repr__(self) -> str:
        shown = {
            "status": ("status", "retry_after", "body"),
            "cut": ("after",),
            "drip": ("seconds", "size"),
            "other_model": ("model",),
            "dimension": ("dimension",),
            "huge": ("size",),
            "echo": ("status",),
            "echo_in_answer": ("size",),
        }.get(self.kind, ())
        values = [f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.name in ("kind", *shown)]
        return f"Fault({', '.join(values)})"


Faults = Iterable[Fault | None] | Callable[["RecordedRequest"], Fault | None]


def timeout() -> Fault:
    """Returns a fault: the request is never answered; the connection stays open."""
    return Fault(kind="timeout")


def drip(seconds: float = 0.01, *, size: int = 1) -> Fault:
    """Returns a fault: the answer comes `size` bytes at a time, with a pause of some seconds before each piece."""
    return Fault(kind="drip", seconds=seconds, size=size)


def cut(after: int = 1, *, clean: bool = False) -> Fault:
    """Returns a fault: the connection ends in the middle of the answer.

    Args:
        after: how many pieces of text a stream sends before. An answer that is no stream ends after half of its bytes.
        clean: the body ends as HTTP says it should; what is missing are the events that close the stream.
    """
    return Fault(kind="cut", after=after, clean=clean)


def disconnect() -> Fault:
    """Returns a fault: the connection is closed before anything is answered."""
    return Fault(kind="disconnect")


def status(code: int, *, retry_after: int | str | None = None, body: str = "") -> Fault:
    """Returns a fault: an answer with an error status.

    Args:
        code: the status, such as 429 or 500.
        retry_after: the value of the header Retry-After. None sends no such header.
        body: the body. Defaults to an error as the protocol writes it.
    """
    return Fault(kind="status", status=code, retry_after=retry_after, body=body)


def echo(code: int = 500) -> Fault:
    """Returns a fault: an error whose body repeats every header of the request, credentials included."""
    return Fault(kind="echo", status=code)


def echo_in_answer(size: int = 5) -> Fault:
    """Returns a fault: an answer with status 200 whose text repeats every header of the request, credentials included.

    Args:
        size: the characters of each piece of a stream.
    """
    return Fault(kind="echo_in_answer", size=size)


def bad_json() -> Fault:
    """Returns a fault: an answer with status 200 that is not JSON."""
    return Fault(kind="bad_json")


def empty() -> Fault:
    """Returns a fault: an answer with status 200 and without a body."""
    return Fault(kind="empty")


def other_model(model: str = "another-model") -> Fault:
    """Returns a fault: the answer names another model than the request."""
    return Fault(kind="other_model", model=model)


def dimension(size: int = 7) -> Fault:
    """Returns a fault: embeddings of another dimension."""
    return Fault(kind="dimension", dimension=size)


def huge(size: int = 64_000_000) -> Fault:
    """Returns a fault: an answer of so many characters."""
    return Fault(kind="huge", size=size)


def rule(faults: Faults) -> Callable[[RecordedRequest], Fault | None]:
    """Returns the function that says what goes wrong with a request. A list is used up, one a request, then all is well."""
    if callable(faults):
        return faults
    left: Iterator[Fault | None] = iter(faults)
    return lambda _request: next(left, None)
