"""Retries of a write that lost against another writer: with growing random pauses, for up to a minute."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from headrace.core.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 60.0  # seconds that one commit goes on against other writers


def attempts(name: str) -> Iterator[int]:
    """Counts the attempts to write a table, and pauses between them: longer each time, and each writer differently long.

    Args:
        name: the table, for the message of the error.

    Raises:
        ConflictError: a minute has gone by.
    """
    began = time.monotonic()
    chance = secrets.SystemRandom()
    attempt = 0
    while attempt == 0 or time.monotonic() - began < PATIENCE:
        yield attempt
        attempt += 1
        time.sleep(chance.uniform(0, min(1.0, 0.01 * 2**attempt)))
    raise ConflictError(
        f"{name}: other writers came first {attempt} times in {PATIENCE:.0f} s.",
        hint="Nothing was written, and trying again is safe.",
    )
