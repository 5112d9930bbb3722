"""Observers of requests: the access log, and traces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from headrace.serving.messages import Answer, Request
    from headrace.serving.observation import Observation


class Observer(Protocol):
    """Is told of each request. Never raises, never waits."""

    def answered(self, request: Request, seen: Observation, answer: Answer | None) -> None:
        """A request that was answered or refused; None where its caller had gone before."""
        ...

    def end(self) -> None:
        """Hands over what is left, within two seconds."""
        ...
