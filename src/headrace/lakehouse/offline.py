"""Makes a lakehouse unreachable for a while: its folder is renamed, and always renamed back."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core.errors import DataError
from headrace.core.locks import hold

if TYPE_CHECKING:
    from collections.abc import Generator

ASIDE = ".aside"
LOCK = ".aside.lock"  # held while it is away: a process that died holds nothing


@contextmanager
def away(place: str) -> Generator[None]:
    """The folder has another name meanwhile. A lakehouse in an object store stays where it is.

    Raises:
        DataError: somebody else made another one in its place.
    """
    if "://" in place:
        yield
        return
    with hold(Path(place + LOCK), wait=True):
        Path(place).rename(place + ASIDE)
        try:
            yield
        finally:
            _back(place)


def where(place: str) -> str:
    """The name that a lakehouse has just now: nothing is to be made in its place while it is away."""
    return place + ASIDE if "://" not in place and Path(place + ASIDE).exists() else place


def put_back(place: str) -> None:
    """A lakehouse that was renamed away by a process that died comes back; one that is away just now stays away.

    Raises:
        DataError: somebody else made another one in its place.
    """
    if "://" in place or not Path(place + ASIDE).exists():
        return
    with suppress(BlockingIOError), hold(Path(place + LOCK)):
        _back(place)


def _back(place: str) -> None:
    if Path(place).exists():
        raise DataError(
            f"the lakehouse {place!r} was renamed to {place + ASIDE!r} for a parity check, and another one was made meanwhile.",
            hint="Nothing is lost: move what is new out of the way, and rename it back.",
        )
    if Path(place + ASIDE).exists():  # otherwise somebody has put it back
        Path(place + ASIDE).rename(place)
