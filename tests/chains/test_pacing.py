"""Limits of a rate are waited for while anything is let through."""

from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import pytest

from headrace.chains.pacing import Pace
from headrace.core.errors import DataError, RateLimitedError


def test_what_is_let_through_in_turn_all_comes_through():
    refused, lock, pace = dict.fromkeys(range(40), 3), Lock(), Pace(60, pause=0.001)

    def one(number):
        with lock:
            refused[number] -= 1
            left = refused[number]
        if left > 0:
            raise RateLimitedError("later")
        return number

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda number: pace.call(lambda: one(number)), refused)) == list(refused)


def test_without_patience_it_is_an_error_at_once():
    asked = []

    def refuse():
        asked.append(1)
        raise RateLimitedError("later")

    with pytest.raises(RateLimitedError):
        Pace().call(refuse)
    assert asked == [1]


def test_patience_ends_where_nothing_is_let_through():
    def refuse():
        raise RateLimitedError("later")

    with pytest.raises(RateLimitedError):
        Pace(0.05, pause=0.01).call(refuse)


def test_other_errors_are_not_waited_for():
    def fail():
        raise DataError("no")

    with pytest.raises(DataError):
        Pace(60).call(fail)
