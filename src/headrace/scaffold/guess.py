"""Something that was decided for the user, and what changes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Guess:
    """Something that the data does not say and that was decided.

    Attributes:
        about: what was decided: `label`.
        value: what was taken.
        reason: why.
        change: what changes it.
    """

    about: str
    value: str
    reason: str
    change: str
