"""Rows, rows per second, time left."""

import pytest

from headrace.inference import progress
from headrace.inference.progress import Meter, spoken


class Clock:
    def __init__(self):
        self.at = 100.0

    def monotonic(self):
        return self.at


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_speed_and_time_left_are_of_what_was_done_now(clock):
    meter = Meter(10_000, lambda _: None)
    meter.skip(4000)  # an earlier run's
    clock.at += 2
    meter.add(1000)

    assert str(meter.now()) == "5,000 of 10,000 rows, 500 rows/s, 10 s left"


def test_it_tells_now_and_then(clock):
    told = []
    meter = Meter(1000, told.append)
    for _ in range(100):
        clock.at += 0.05
        meter.add(10)

    assert 8 <= len(told) <= 10
    assert [each.rows for each in told] == sorted({each.rows for each in told})


def test_nothing_done_yet_has_no_speed(clock):
    meter = Meter(1000, lambda _: None)
    clock.at += 5

    assert str(meter.now()) == "0 of 1,000 rows"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3540, "59 min"), (7500, "2 h 5 min")]
)
def test_time_as_it_is_spoken(seconds, said):
    assert spoken(seconds) == said
