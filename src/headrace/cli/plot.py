"""Rows of Unicode block characters, for a terminal: how a number changes, and how values are distributed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
MISSING = "·"
MOST = 11  # bars that have a block each: ten texts and all others
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


def distribution(rows: Sequence[int]) -> str:
    """One block for each bar, or for two bars side by side where there are more than eleven: its height is their mean.

    Args:
        rows: of each bar, in order. A bar without rows is a space.
    """
    step = 1 if len(rows) <= MOST else 2
    blocks = [rows[place : place + step] for place in range(0, len(rows), step)]
    heights = [sum(each) / len(each) for each in blocks]
    high = max(heights, default=0.0)
    return "".join(BLOCKS[int(each * (len(BLOCKS) - 1) / high)] if each else " " for each in heights).rstrip()


def _block(value: float, low: float, high: float) -> str:
    if low == high:
        return ALIKE
    scale = 1.0 if math.isfinite(high - low) else 0.5  # the difference of two very large numbers is not a number
    share = (value * scale - low * scale) / (high * scale - low * scale)
    return BLOCKS[min(int(share * len(BLOCKS)), len(BLOCKS) - 1)]
