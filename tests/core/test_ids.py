import os
import subprocess
import sys
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from types import MappingProxyType
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.ids import digest, new_id

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_ids_are_20_hexadecimal_characters_that_sort_by_time():
    made = [new_id() for _ in range(500)]
    assert len(set(made)) == 500
    assert all(len(each) == 20 and int(each, 16) >= 0 for each in made)
    assert [each[:12] for each in made] == sorted(each[:12] for each in made)


@given(st.dictionaries(st.text(), PLAIN), st.randoms())
def test_the_order_of_keys_does_not_count(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert digest(OrderedDict(items)) == digest(value) == digest(MappingProxyType(value))


@given(st.lists(PLAIN, min_size=1, max_size=4), st.data())
def test_the_order_of_a_list_counts(values, data):
    other = data.draw(st.permutations(values))
    same = repr(other) == repr(values)
    assert same == (digest(other) == digest(values)) or other == values  # 0 == False == 0.0 are told apart by digest


def test_a_digest_is_the_same_in_every_process():
    value = '{"set": {"a", "b", "c", "d"}, "deep": [{"x", ("y", 1)}]}'
    script = f"from headrace.core.ids import digest; print(digest({value}))"
    seeds = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(seeds) == 1


def test_values_that_look_alike_have_digests_of_their_own():
    at = datetime(2013, 5, 1, 6, tzinfo=UTC)
    values = [None, "None", 1, "1", 1.5, at, at.date(), at.time(), b"1", [1], {"1": 1}, timedelta(1)]
    assert len({digest([value]) for value in values}) == len(values)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (date(2013, 5, 1), "2013-05-01"),
        (datetime(2013, 5, 1, 6, tzinfo=UTC), "2013-05-01T06:00:00+00:00"),
        (time(6, 30), "06:30:00"),
        (b"\x01\xff", "01ff"),
        (PurePosixPath("a/b"), "a/b"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (frozenset({2, 1}), [1, 2]),
        ((1, 2), [1, 2]),
    ],
)
def test_values_beyond_json_stand_as_their_text(value, text):
    assert digest({"value": value}) == digest({"value": text})


@pytest.mark.parametrize("value", [object(), len, lambda: 1, iter([])])
def test_a_value_whose_text_may_change_is_refused(value):
    with pytest.raises(TypeError, match="no fixed text"):
        digest({"value": value})


def test_bytes_and_their_text_are_the_same_content():
    assert digest("é") == digest("é".encode()) == "4a99557e4033c3539de2eb65472017ca"
