"""Questions that are being answered: so many at once, and each is cancelled by the browser that asked it."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Event, Lock
from typing import TYPE_CHECKING

from headrace.core.errors import ConflictError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

AT_ONCE = 4  # questions of all browsers of a console: each may take half of the memory


class Running:
    """Which questions are being answered, by the cookie of the browser and the id in its form."""

    def __init__(self) -> None:
        self._cancelled: dict[tuple[str, str], Event] = {}
        self._one = Lock()

    @contextmanager
    def answering(self, browser: str, question: str) -> Generator[Callable[[], bool]]:
        """While it is answered; gives what says whether it was cancelled.

        Raises:
            ConflictError: it is being answered already.
            UnavailableError: too many others are.
        """
        key, event = (browser, question), Event()
        with self._one:
            if key in self._cancelled:
                raise ConflictError(
                    "this question is being answered already.", hint="Wait for its answer, or cancel it."
                )
            if len(self._cancelled) >= AT_ONCE:
                raise UnavailableError(
                    f"this console is answering {AT_ONCE} questions.", hint="Try again when one of them is answered."
                )
            self._cancelled[key] = event
        try:
            yield event.is_set
        finally:
            with self._one:
                del self._cancelled[key]

    def cancel(self, browser: str, question: str) -> bool:
        """Ends a question of a browser; False: it is answered already, or was never asked."""
        with self._one:
            event = self._cancelled.get((browser, question))
        if event is None:
            return False
        event.set()
        return True
