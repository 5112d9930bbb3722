"""A row of Unicode block characters that shows how a number changes, for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
MISSING = "·"
ALIKE = BLOCKS[3]  # of values that are all the same


def bars(values: Sequence[float | None]) -> str:
    """One character for each value: the lowest value is the lowest block, the highest value is the highest block.

    Args:
        values: in order of time; None where there is no value.

    Returns:
        As many characters as there are values. A value of None is a dot in the middle of the line.
    """
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    return "".join(MISSING if value is None else _block(value, low, high) for value in values)


def _block(value: float, low: float, high: float) -> str:
    if low == high:
        return ALIKE
    scale = 1.0 if math.isfinite(high - low) else 0.5  # the difference of two very large numbers is not a number
    share = (value * scale - low * scale) / (high * scale - low * scale)
    return BLOCKS[min(int(share * len(BLOCKS)), len(BLOCKS) - 1)]
