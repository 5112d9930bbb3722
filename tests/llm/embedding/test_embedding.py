"""Declared embeddings: what can be declared, and what a function or an endpoint may return."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

import headrace as hr
from headrace.core.errors import ConfigError, DataError, DeclarationError, UserCodeError
from headrace.llm.embedding.opening import open_embedder


def letters(texts):
    return [[text.count("a") + 1, text.count("b")] for text in texts]


def other_letters(texts):
    return [[text.count("a") + 2, text.count("b")] for text in texts]


def embedder(function, dimension=2):
    return open_embedder(hr.Embedding(function=function, dimension=dimension))


def test_vectors_of_a_function_are_scaled_to_length_one():
    vectors = embedder(letters).embed(["", "bb", "aab"])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [[1, 0], [5**-0.5, 2 * 5**-0.5], [3 * 10**-0.5, 10**-0.5]], rtol=1e-6)
    assert embedder(letters).embed([]).shape == (0, 2)


def test_the_text_of_a_function_is_its_identity():
    assert embedder(letters).digest == embedder(letters).digest
    assert embedder(letters).digest != embedder(other_letters).digest


def test_another_dimension_is_refused_with_both_numbers():
    with pytest.raises(DataError, match=r"vectors of 2 numbers, and 3 are declared"):
        embedder(letters, 3).embed(["a"])


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ([[1, float("nan")]], "not finite, for text 0"),
        ([[1, float("inf")]], "not finite"),
        ([[0, 0]], "nothing but zeros"),
        ([[1, 2], [3, 4]], r"shape \(2, 2\) for 1 texts"),
        ([1, 2], r"shape \(2,\)"),
        ([["a", "b"]], "no array of numbers"),
        (None, "no array of numbers|shape"),
        ([[1, 2], [3]], "no array of numbers"),
    ],
)
def test_what_are_no_vectors_is_refused(returned, said):
    with pytest.raises(DataError, match=said):
        open_embedder(hr.Embedding(route="r", dimension=2), call=lambda _: returned).embed(["a"])


def test_what_a_function_raises_is_the_users():
    def broken(texts):
        raise KeyError(texts[0])

    with pytest.raises(UserCodeError, match="raised KeyError: 'a'"):
        embedder(broken).embed(["a"])


def test_a_route_needs_something_to_reach_it():
    declared = hr.Embedding(route="small", dimension=2)
    with pytest.raises(ConfigError, match="route 'small' has no gateway"):
        open_embedder(declared)
    first, second = (open_embedder(declared, call=letters, model=model) for model in ("one", "two"))
    assert first.digest != second.digest  # another model behind the route gives other vectors
    np.testing.assert_allclose(first.embed(["b"]), [[2**-0.5, 2**-0.5]], rtol=1e-6)


def test_a_function_is_called_by_one_thread_at_a_time_whatever_number_of_indexes_use_it():
    inside, most = [], []

    def counting(texts):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.002)
        inside.pop()
        return [[1, len(text)] for text in texts]

    declared = hr.Embedding(function=counting, dimension=2)
    both = [open_embedder(declared), open_embedder(declared)]
    with ThreadPoolExecutor(16) as pool:
        vectors = list(pool.map(lambda number: both[number % 2].embed(["a" * number]), range(48)))
    assert max(most) == 1
    assert [each.shape for each in vectors] == [(1, 2)] * 48


def test_an_endpoint_is_asked_by_several_threads_at_once():
    """Otherwise one slow answer would hold all others up."""
    together = Barrier(4, timeout=10)

    def waits(texts):
        together.wait()
        return [[1, 1] for _ in texts]

    embedder = open_embedder(hr.Embedding(route="small", dimension=2), call=waits)
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(embedder.embed, [["a"]] * 4))) == 4


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"model": "maxilm"},
        {"model": "minilm", "dimension": 3},
        {"model": "minilm", "route": "r"},
        {"function": letters},
        {"function": letters, "dimension": 0},
        {"function": letters, "dimension": True},
        {"function": len, "dimension": 3},
        {"route": "", "dimension": 3},
        {"route": "r", "dimension": 100_000},
    ],
)
def test_what_is_not_possible_is_refused(arguments):
    with pytest.raises(DeclarationError):
        hr.Embedding(**arguments)
