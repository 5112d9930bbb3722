"""What may be done after the answer is there: people are told when a command has printed what it did."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_waiting: ContextVar[list[Callable[[], None]] | None] = ContextVar("waiting", default=None)


@contextmanager
def after_the_answer() -> Generator[None]:
    """What is put off meanwhile is done at the end, also where something was raised."""
    waiting: list[Callable[[], None]] = []
    before = _waiting.set(waiting)
    try:
        yield
    finally:
        _waiting.reset(before)
        for act in waiting:
            act()


def put_off(act: Callable[[], None]) -> bool:
    """Whether something waits for the answer; where nobody waits for one, it is to be done now."""
    waiting = _waiting.get()
    if waiting is None:
        return False
    waiting.append(act)
    return True
