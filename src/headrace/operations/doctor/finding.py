"""What one check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from headrace.core.errors import HeadraceError
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN = 10  # things of a list that a finding names


@dataclass(frozen=True, kw_only=True)
class CheckFinding(Record):
    """What one check found.

    Attributes:
        check: what was looked at.
        result: `ok`, `warning` or `failed`.
        found: what is there, in words.
        way: the next step; empty where all is well.
    """

    check: str
    result: Literal["ok", "warning", "failed"]
    found: str
    way: str = ""


def ok(check: str, found: str) -> CheckFinding:
    """All is well."""
    return CheckFinding(check=check, result="ok", found=found)


def warning(check: str, found: str, way: str) -> CheckFinding:
    """Something works now, and may hurt later."""
    return CheckFinding(check=check, result="warning", found=found, way=way)


def failed(check: str, found: str, way: str) -> CheckFinding:
    """Something does not work."""
    return CheckFinding(check=check, result="failed", found=found, way=way)


def of_error(check: str, error: Exception) -> CheckFinding:
    """What an error says. The text of a driver may show a credential: of it only the kind is named."""
    if not isinstance(error, HeadraceError):
        said = error.strerror or "" if isinstance(error, OSError) else ""
        return failed(check, f"{type(error).__name__}{f': {said}' if said else ''}", "See the log of that service.")
    return failed(check, "; ".join((error.what, *error.findings[:SHOWN])), error.hint)


def bounded(things: Sequence[str]) -> str:
    """A list of which the first ten are named and the others counted."""
    rest = f", and {len(things) - SHOWN:,} more" if len(things) > SHOWN else ""
    return f"{', '.join(things[:SHOWN])}{rest}"
