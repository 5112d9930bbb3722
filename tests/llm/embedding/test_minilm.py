"""The built-in MiniLM, against the float model, and on odd texts."""

import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.errors import DataError
from headrace.llm.embedding.builtin import MiniLM

TEXTS = [
    "How do I reset my password?",
    "I forgot my password, how can it be reset?",
    "The weather in Paris is sunny today.",
    "It is raining in London.",
    "A Delta table keeps every version of its rows.",
    "Each version of the rows stays in a Delta table.",
    "Résumé naïve café 東京",
    "",
]
# cosines of these texts by the float32 weights of all-MiniLM-L6-v2, computed with transformers 5.24 and torch 2.13
FLOAT = [
    [1.0, 0.9229, -0.0146, -0.0409, -0.0438, -0.0467, 0.0377, 0.0686],
    [0.9229, 1.0, 0.0005, -0.0355, 0.0029, -0.0241, 0.0722, 0.0896],
    [-0.0146, 0.0005, 1.0, 0.3623, -0.0495, -0.0584, 0.1555, -0.0496],
    [-0.0409, -0.0355, 0.3623, 1.0, -0.0859, -0.0921, 0.1811, 0.049],
    [-0.0438, 0.0029, -0.0495, -0.0859, 1.0, 0.9083, 0.0492, 0.019],
    [-0.0467, -0.0241, -0.0584, -0.0921, 0.9083, 1.0, 0.0496, -0.0105],
    [0.0377, 0.0722, 0.1555, 0.1811, 0.0492, 0.0496, 1.0, 0.0925],
    [0.0686, 0.0896, -0.0496, 0.049, 0.019, -0.0105, 0.0925, 1.0],
]


@pytest.fixture(scope="module")
def minilm():
    return MiniLM()


def test_its_cosines_are_those_of_the_float_model(minilm):
    vectors = minilm.embed(TEXTS)
    assert vectors.shape == (8, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors @ vectors.T, FLOAT, atol=0.02)


def test_a_vector_does_not_depend_on_the_other_texts(minilm):
    long = "Delta tables keep each version. " * 40
    texts = [*TEXTS, long, *(f"question {number} about tables" for number in range(70)), TEXTS[0]]
    together = minilm.embed(texts)
    alone = np.concatenate([minilm.embed([text]) for text in texts])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together[::-1], minilm.embed(texts[::-1]))


def test_another_process_gives_the_same_vectors_and_the_same_digest(minilm):
    program = (
        "import sys; from headrace.llm.embedding.builtin import MiniLM; m = MiniLM();"
        "sys.stdout.write(m.digest + m.embed(['a text'])[0].tobytes().hex())"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == minilm.digest + minilm.embed(["a text"])[0].tobytes().hex()


def test_what_comes_after_256_tokens_is_not_read(minilm):
    words = "word " * 254
    megabyte = words + "x y z " * 170_000
    assert len(megabyte) > 1_000_000
    first, second, third = minilm.embed([words, megabyte, words.replace("word", "verb", 1)])
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)


@settings(max_examples=40)
@given(st.lists(st.text(st.characters(), max_size=60), max_size=4))
def test_any_text_has_a_vector_of_length_one(texts):
    vectors = shared().embed(texts)
    assert vectors.shape == (len(texts), 384)
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@cache
def shared():
    return MiniLM()


def test_control_characters_and_half_of_a_surrogate_pair_are_texts_too(minilm):
    vectors = minilm.embed(["\x00\x01\x1b[31m", "\ud800", "\u202egnirts\u202c"])
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("item", [b"bytes", None, 3, ["a"]])
def test_what_is_no_text_is_refused_with_its_position(minilm, item):
    with pytest.raises(DataError, match=f"item 1 is {type(item).__name__}"):
        minilm.embed(["text", item])


def test_a_single_text_is_refused(minilm):
    with pytest.raises(DataError, match="a list of texts"):
        minilm.embed("text")
