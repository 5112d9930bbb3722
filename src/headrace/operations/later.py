"""Work after the answer: notifications are sent when a command has printed its result."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_waiting: ContextVar[dict[tuple[object, ...], Callable[[], None]] | None] = ContextVar("waiting", default=None)


@contextmanager
def after_the_answer() -> Generator[None]:
    """What is put off meanwhile is done at the end, also where something was raised."""
    waiting: dict[tuple[object, ...], Callable[[], None]] = {}
    before = _waiting.set(waiting)
    try:
        yield
    finally:
        _waiting.reset(before)
        for act in waiting.values():
            act()


def put_off(key: tuple[object, ...], act: Callable[[], None]) -> bool:
    """Puts an act off until the answer is there.

    Args:
        key: of several acts with the same one, one is done.
        act: raises nothing.

    Returns:
        Whether it was put off; where nobody waits for an answer, it is to be done now.
    """
    waiting = _waiting.get()
    if waiting is None:
        return False
    waiting[key] = act
    return True
