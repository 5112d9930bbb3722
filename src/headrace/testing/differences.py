"""Values that should be equal and are not: how they are compared, and how an assertion says which they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHOWN = 10  # differences that a message names
CLOSE = 1e-9  # relative; sums of the same numbers in another order


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal: missing ones are, and numbers as far as rounding goes."""
    if _missing(one) or _missing(other):
        return _missing(one) and _missing(other)
    if isinstance(one, pd.Timestamp) or isinstance(other, pd.Timestamp):
        return instant(one) == instant(other)
    try:
        return math.isclose(float(one), float(other), rel_tol=CLOSE, abs_tol=1e-12)
    except (TypeError, ValueError):
        return str(one) == str(other)


def instant(value: Any) -> pd.Timestamp:
    """A moment in UTC; one without a zone is in UTC already."""
    moment = pd.Timestamp(value)
    return moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")


def shown(value: Any) -> str:
    """A value for a person."""
    if _missing(value):
        return "nothing"
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return repr(value.item() if hasattr(value, "item") else value)


def decision(keys: Mapping[str, Any], at: Any = None) -> str:
    """`order_id=7 at 2025-05-01 06:00:00`."""
    said = ", ".join(f"{name}={shown(value)}" for name, value in keys.items())
    return said if at is None else f"{said} at {shown(instant(at))}"


def fail(what: str, found: Sequence[str], *, hint: str = "") -> None:
    """Fails with every difference that there is room for; does nothing where there is none.

    Raises:
        AssertionError: there are differences.
    """
    if not found:
        return
    more = [f"… and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    raise AssertionError("\n  ".join([what, *found[:SHOWN], *more]) + (f"\n{hint}" if hint else ""))


def _missing(value: Any) -> bool:
    return value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and math.isnan(value))
