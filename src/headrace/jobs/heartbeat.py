"""Says again and again that a run's owner lives, for processes on other machines that cannot look."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING

from sqlalchemy.exc import DatabaseError

from headrace.core.errors import HeadraceError

if TYPE_CHECKING:
    from collections.abc import Callable


class Heartbeat:
    """Calls `beat` every so many seconds in a daemon thread, until it answers False or `stop` is called."""

    def __init__(self, beat: Callable[[], bool], *, seconds: float) -> None:
        self._beat = beat
        self._seconds = seconds
        self._stopped = Event()
        self._thread = Thread(target=self._go, name="headrace heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when no beat is under way, and none will be."""
        self._stopped.set()
        self._thread.join()

    def _go(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                if not self._beat():
                    return
            except (HeadraceError, DatabaseError):
                continue  # one beat is missed; if the trouble lasts, the run's own next write meets it and says so
