"""The exact cache on real databases."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from headrace.core.errors import DeclarationError
from headrace.llm.gateway.cache import AnswerCache
from headrace.llm.gateway.tables import CACHE

HOUR = timedelta(hours=1)
REQUEST = {
    "protocol": "openai",
    "url": "http://127.0.0.1:1/v1",
    "model": "smol",
    "messages": [{"role": "user", "content": "Why?"}],
    "parameters": {"temperature": 0, "max_tokens": 10},
}
KEY = AnswerCache.key(**REQUEST)


@pytest.fixture
def cache(state, clock):
    return AnswerCache(state, max_entries=3, clock=clock)


def count(cache):
    with cache.state.read() as connection:
        return connection.execute(select(func.count()).select_from(CACHE)).scalar()


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": "anthropic"},
        {"url": "http://127.0.0.1:2/v1"},
        {"model": "smol2"},
        {"messages": [{"role": "user", "content": "Why ?"}]},
        {"messages": [{"role": "system", "content": "Why?"}]},
        {"parameters": {"temperature": 0.1, "max_tokens": 10}},
        {"parameters": {"temperature": 0, "max_tokens": 10, "seed": 1}},
        {"parameters": {}},
    ],
)
def test_another_request_has_another_key(change):
    assert AnswerCache.key(**{**REQUEST, **change}) != KEY


def test_the_order_of_parameters_does_not_matter_and_no_json_has_no_key():
    parameters = dict(reversed(REQUEST["parameters"].items()))
    assert AnswerCache.key(**{**REQUEST, "parameters": parameters}) == KEY
    with pytest.raises(TypeError):
        AnswerCache.key(**{**REQUEST, "parameters": {"tool": print}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda each: st.lists(each, max_size=2) | st.dictionaries(st.text(max_size=2), each, max_size=2),
    max_leaves=4,
)


@given(one=JSON, other=JSON)
def test_two_requests_have_one_key_only_if_they_are_equal(one, other):
    keys = {AnswerCache.key(**{**REQUEST, "messages": [each]}) for each in (one, other)}
    assert (len(keys) == 1) == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))


@pytest.mark.parametrize(
    "value", ['{"a": "é\\u0000 \\ud83d\\ude00 🎈"}', '{"error": null, "status": "completed"}', "[1.0]", '"\\ud800"']
)
def test_an_answer_is_had_again_until_it_expires(cache, clock, value):
    assert cache.get(KEY) is None
    assert cache.put(KEY, value, HOUR)
    assert cache.get(KEY) == value
    clock.advance(minutes=59, seconds=59)
    assert cache.get(KEY) == value
    clock.advance(seconds=1)
    assert cache.get(KEY) is None


def test_a_lone_surrogate_is_stored_as_json_that_means_the_same(cache):
    assert cache.put(KEY, '"\ud800"', HOUR)
    assert json.loads(cache.get(KEY)) == "\ud800"


def test_a_later_answer_replaces_the_earlier_one(cache, clock):
    cache.put(KEY, "1", HOUR)
    clock.advance(minutes=30)
    cache.put(KEY, "2", HOUR)
    clock.advance(minutes=45)
    assert cache.get(KEY) == "2"
    assert count(cache) == 1
    assert cache.clear() == 1
    assert cache.get(KEY) is None


def test_the_oldest_go_when_there_are_too_many_and_expired_ones_at_once(cache, clock):
    for key in "abcd":
        cache.put(key, json.dumps(key), HOUR)
    assert [cache.get(key) for key in "abcd"] == [None, '"b"', '"c"', '"d"']
    cache.put("b", '"new"', 2 * HOUR)
    cache.put("e", '"e"', HOUR)
    assert [cache.get(key) for key in "bcde"] == ['"new"', None, '"d"', '"e"']
    clock.advance(hours=1)
    cache.put("f", '"f"', HOUR)
    assert count(cache) == 2


@pytest.mark.parametrize("value", ["", '{"a": ', '{"answer": "another"}'])
def test_a_damaged_entry_is_a_miss_and_can_be_replaced(cache, value):
    cache.put(KEY, '{"answer": "one"}', HOUR)
    with cache.state.begin() as connection:
        connection.execute(update(CACHE).values(value=value))

    assert cache.get(KEY) is None
    cache.put(KEY, '{"answer": "two"}', HOUR)
    assert cache.get(KEY) == '{"answer": "two"}'


@pytest.mark.parametrize(
    "value",
    [
        '{"error": {"message": "overloaded"}}',
        '{"type": "error", "message": "overloaded"}',
        '{"id": "r", "status": "failed"}',
        '{"id": "r", "status": "incomplete", "error": null}',
    ],
)
def test_a_failure_is_not_cached(cache, value):
    assert not cache.put(KEY, value, HOUR)
    assert cache.get(KEY) is None


@pytest.mark.parametrize(
    "value", ["", "no json", '{"cut": ', None, b"\xff", "[" * 100_000, '"a\0b"'], ids=lambda value: ascii(value)[:12]
)
def test_what_is_no_json_is_an_error(cache, value):
    with pytest.raises(DeclarationError, match="no JSON"):
        cache.put(KEY, value, HOUR)
    with pytest.raises(DeclarationError):
        cache.put(KEY, "1", timedelta(0))


def test_the_values_of_all_answers_take_no_more_bytes_than_may_be(state, clock):
    cache = AnswerCache(state, max_bytes=1_000, clock=clock)
    for number in range(10):
        assert cache.put(str(number), json.dumps("é" * 150, ensure_ascii=False), HOUR)  # 302 bytes
    assert [number for number in range(10) if cache.get(str(number)) is not None] == [7, 8, 9]

    for _ in range(20):
        assert cache.put("again", json.dumps("x" * 400), HOUR)  # in its own place
    assert cache.put("other", json.dumps("x" * 400), HOUR)
    assert [cache.get(key) is not None for key in ("9", "again", "other")] == [False, True, True]  # 804 bytes
    assert not cache.put("large", json.dumps("x" * 1_000), HOUR)
    assert cache.get("other") is not None
