"""Values by row: which are missing, and their mean."""

from __future__ import annotations

import math
from reprlib import Repr
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence, Sized

    Floats = np.ndarray[Any, np.dtype[np.float64]]

SHORT = Repr()
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother, SHORT.maxlong = 3, 200, 200, 200


def is_missing(value: object) -> bool:
    """Whether a cell holds nothing: None, NaN, or the missing values of pandas."""
    if value is None or isinstance(value, str | list | tuple | dict):
        return value is None
    if isinstance(value, float | np.floating):
        return math.isnan(value)
    return type(value).__name__ in ("NAType", "NaTType")


def text_of(value: object, what: str, row: int) -> str:
    """The text of a cell, empty where it is missing.

    Raises:
        DataError: it is neither a text nor missing.
    """
    if isinstance(value, str):
        return value
    if is_missing(value):
        return ""
    raise DataError(
        f"the {what} of row {row} is {shown(value)}, not a text.", hint="Give texts, or None where there is none."
    )


def list_of(value: object) -> list[object] | None:
    """The members of a cell: a list, tuple, set or array by its members, one value by itself, None where it is missing."""
    if isinstance(value, np.ndarray):
        return list(value.tolist()) if value.ndim else [value.item()]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    return None if is_missing(value) else [value]


def same_length(of: str, **columns: Sized) -> int:
    """The number of rows that all have.

    Raises:
        DataError: they differ.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        shown_lengths = ", ".join(f"{count:,} {name}" for name, count in lengths.items())
        raise DataError(f"{of} has {shown_lengths}.", hint="Give one of each for every row, in the same order.")
    return next(iter(lengths.values()))


def mean(values: Sequence[float | None] | Floats) -> float | None:
    """The mean over the rows that have a value; None where no row has one.

    Args:
        values: one a row; NaN and None count as no value.
    """
    numbers = as_floats(values)
    known = numbers[~np.isnan(numbers)]
    return float(known.mean()) if known.size else None


def as_floats(values: Sequence[float | None] | Floats) -> Floats:
    """An array in which what is missing is NaN.

    Raises:
        DataError: a value is no number, or infinite.
    """
    try:
        numbers = np.array([math.nan if is_missing(each) else each for each in values], dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array([math.inf])
    if numbers.ndim != 1 or np.isinf(numbers).any():
        raise DataError(
            "the values are not all finite numbers.", hint="Give one number a row, or None where there is none."
        )
    return numbers


def shown(value: object) -> str:
    """A value in one line of at most 80 characters."""
    try:
        text = SHORT.repr(value)[:200]
    except ValueError:  # a whole number of thousands of digits
        text = f"something of type {type(value).__name__}"
    return ascii(text)[1:-1][:77] + "…" if not text.isprintable() or len(text) > 80 else text
