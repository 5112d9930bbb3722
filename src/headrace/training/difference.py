"""Two predictions for the same rows: which rows differ by more than rounding, and how."""

from __future__ import annotations

from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.float64]]
CLOSE = 1e-5  # of the largest number: XGBoost adds up trees in float32, whose last bit is 6e-8 of a sum
SHOWN = 3  # rows in a message


def told_difference(ours: Numbers, theirs: Numbers) -> str:
    """How many rows of two predictions differ, and the first of them; empty where none does."""
    places = np.flatnonzero(unlike(ours, theirs))
    if not len(places):
        return ""
    shown = "; ".join(f"row {place}: {ours[place].tolist()} for {theirs[place].tolist()}" for place in places[:SHOWN])
    return f"{len(places)} of {len(theirs)} rows differ ({shown})"


def unlike(ours: Numbers, theirs: Numbers) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows of two predictions differ by more than rounding."""
    largest = float(np.nanmax(np.abs(theirs), initial=0.0))
    same = np.asarray(np.isclose(ours, theirs, rtol=0.0, atol=CLOSE * largest, equal_nan=True))
    return ~same if same.ndim == 1 else ~np.asarray(same.all(axis=1))
