"""The check of rows: quick where all are numbers, and otherwise to the value that is wrong."""

import random
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest

from headrace.features.plan import Input
from headrace.serving.codec import LARGEST, NUMBERS, BadRequestError, Codec

ODD = ["1", "", b"1", None, True, 7, -(2**63), 2**64, 1e308, float("nan"), float("inf"), LARGEST, -LARGEST, LARGEST - 1]
ODD += [Decimal(1), np.float64(1), np.int64(1), 1j, [], {}, datetime(2024, 1, 1, tzinfo=UTC), object()]


def expected(rows, width):
    """What is wrong with rows of numbers, found one by one; empty where nothing is."""
    for place, row in enumerate(rows):
        if type(row) is not list or len(row) != width:
            return f"row {place} has"
        for name, value in zip("abcdefgh"[:width], row, strict=True):
            if type(value) not in NUMBERS:
                return f"row {place}: {name!r} is no number."
            if type(value) is int and not -LARGEST < value < LARGEST:
                return f"row {place}: {name!r} is out of range."
    return ""


def drawn(draw, width):
    rows = [[draw.gauss(0, 1) for _ in range(width)] for _ in range(draw.choice((1, 2, 5, 30)))]
    for _ in range(draw.choice((0, 0, 1, 1, 2, 5))):
        row = draw.choice(rows)
        change = draw.random()
        if change < 0.85 and type(row) is list and row:
            row[draw.randrange(len(row))] = draw.choice(ODD)
        elif change < 0.95:
            rows[draw.randrange(len(rows))] = draw.choice([[], [1.0] * (width + 1), (1.0,) * width, None, "abc", {}, 3])
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_it_refuses_what_a_look_at_each_value_refuses(seed):
    draw = random.Random(seed)
    for _ in range(300):
        width = draw.choice((1, 3, 8))
        codec = Codec([Input(name=name, kind="number", origin="spine") for name in "abcdefgh"[:width]])
        rows = drawn(draw, width)
        wrong = expected(rows, width)
        if wrong:
            with pytest.raises(BadRequestError) as refused:
                codec.check(rows)
            assert str(refused.value).startswith(wrong), rows
        else:
            assert codec.check(rows) is rows


def test_numbers_beyond_float64_do_not_hide_each_other():
    codec = Codec([Input(name=name, kind="number", origin="spine") for name in "ab"])
    for rows in ([[2**2000, -(2**2000)]], [[1.5, 0.0], [2**2000, -(2**2000)]], [[LARGEST, -LARGEST]]):
        with pytest.raises(BadRequestError, match="'a' is out of range"):
            codec.check(rows)
