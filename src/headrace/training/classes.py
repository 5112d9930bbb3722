"""Labels of several classes as texts or Python's whole numbers, whatever type the column of the label has."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pandas as pd

LARGEST = 2**63


def plain(values: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Classes as texts and whole numbers, and which of them are neither (a null is not looked at).

    True is 1; a decimal or float without a fraction is a whole number.
    """
    given = values.astype(object)
    made = pd.Series([_plain(value) for value in given], index=values.index, dtype=object)
    fits = pd.Series([_is_class(value) for value in made], index=values.index, dtype=bool)
    return made, fits


def _plain(value: Any) -> Any:
    if isinstance(value, str) or (not isinstance(value, Decimal | float) and not hasattr(value, "__index__")):
        return value
    return int(value) if _is_whole(value) else value


def _is_whole(value: Any) -> bool:
    try:
        return bool(value == int(value))
    except (ValueError, OverflowError):  # NaN and the infinities
        return False


def _is_class(value: Any) -> bool:
    if isinstance(value, str):
        return True
    if isinstance(value, int):
        return -LARGEST <= value < LARGEST
    return value is None or value is pd.NaT or value is pd.NA or value != value  # noqa: PLR0124  # NaN
