import math
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.errors import DataError
from headrace.llm.evaluation.text import (
    answer_f1,
    exact_match,
    longest_common_subsequence,
    normalised_words,
    rouge_l,
    words,
)
from headrace.llm.evaluation.values import mean

METRICS = [answer_f1, exact_match, rouge_l]
every = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
TEXTS = st.text(max_size=60)
SENTENCES = st.lists(
    st.sampled_from(["the", "a", "Paris", "is", "capital", "of", "France,", "U.S.", "7-2", "x"]), max_size=12
).map(" ".join)


def slow_common(one, other):
    table = np.zeros((len(one) + 1, len(other) + 1), int)
    for i, left in enumerate(one):
        for j, right in enumerate(other):
            table[i + 1, j + 1] = table[i, j] + 1 if left == right else max(table[i, j + 1], table[i + 1, j])
    return table[-1, -1]


def squad_f1(answer, reference):
    """The official script of SQuAD 2.0, for texts in ASCII."""
    import collections
    import re
    import string

    def tokens(text):
        text = "".join(each for each in text.lower() if each not in set(string.punctuation))
        return re.sub(r"\b(a|an|the)\b", " ", text, flags=re.UNICODE).split()

    gold, found = tokens(reference), tokens(answer)
    same = sum((collections.Counter(gold) & collections.Counter(found)).values())
    if not gold or not found:
        return float(gold == found)
    if same == 0:
        return 0.0
    precision, recall = same / len(found), same / len(gold)
    return 2 * precision * recall / (precision + recall)


@settings(max_examples=300)
@given(SENTENCES, SENTENCES)
def test_f1_is_that_of_squad(answer, reference):
    assert answer_f1([answer], [reference])[0] == pytest.approx(squad_f1(answer, reference))


@settings(max_examples=300, deadline=None)
@given(SENTENCES, SENTENCES)
def test_rouge_is_that_of_the_package(answer, reference):
    from rouge_score.rouge_scorer import RougeScorer

    if words(answer) or words(reference):  # both without words: the package says 0, here they are equal
        expected = RougeScorer(["rougeL"]).score(reference, answer)["rougeL"].fmeasure
        assert rouge_l([answer], [reference])[0] == pytest.approx(expected)


@settings(max_examples=300)
@given(st.lists(st.sampled_from("abcd"), max_size=90), st.lists(st.sampled_from("abcd"), max_size=90))
def test_the_common_subsequence_is_that_of_the_table(one, other):
    assert longest_common_subsequence(one, other) == slow_common(one, other)


@every
@settings(max_examples=150)
@given(answer=TEXTS, reference=TEXTS)
def test_a_value_is_a_share_and_does_not_depend_on_the_order_of_the_two(metric, answer, reference):
    value = metric([answer], [reference])[0]

    assert 0 <= value <= 1
    assert value == metric([reference], [answer])[0]
    assert metric([answer], [answer])[0] == 1


@every
@given(answer=TEXTS, references=st.lists(TEXTS, min_size=1, max_size=4))
def test_of_several_references_the_best_counts(metric, answer, references):
    assert metric([answer], [references])[0] == max(metric([answer], [each])[0] for each in references)


@given(TEXTS)
def test_the_form_of_unicode_does_not_count(text):
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")]

    assert len({tuple(normalised_words(form)) for form in forms}) == 1


@pytest.mark.parametrize(
    ("answer", "reference", "value"),
    [
        ("The U.S.", "us", 1),
        ("café", "cafe\u0301", 1),
        ("PARIS!", "“Paris”", 1),
        ("P\u200ba\u200bris", "paris", 1),
        ("東京です", "東京", 2 * 2 / 6),
        ("ＡＢＣ１", "abc1", 1),  # noqa: RUF001
        ("Straße", "STRASSE", 1),
        ("हिन्दी भाषा", "हिन्दी", 2 / 3),
        ("in the year 1999", "1999", 2 / 4),
        ("", "", 1),
        ("", "Paris", 0),
        ("Paris", "", 0),
    ],
)
def test_f1_by_hand(answer, reference, value):
    assert answer_f1([answer], [reference])[0] == pytest.approx(value)


@every
def test_rows_without_a_reference_have_no_value_and_missing_answers_are_empty(metric):
    values = metric([None, math.nan, "Paris", "Paris", "Paris", None], ["Paris", [""], None, math.nan, [], ""])

    assert values[:2].tolist() == [0, 1]
    assert np.isnan(values[2:5]).all()
    assert values[5] == 1
    assert mean(values) == pytest.approx(2 / 3)
    assert mean(values[2:5]) is None
    assert len(metric([], [])) == 0


@every
@pytest.mark.parametrize(
    ("answers", "references", "says"),
    [
        (["a"], ["a", "b"], "1 answers, 2 references"),
        (["a", 7], ["a", "b"], "the answer of row 1 is 7"),
        ([b"a"], ["a"], "the answer of row 0 is b'a'"),
        (["a"], [["a", 3]], "the reference of row 0 is 3"),
        (["a"], [[None]], "the reference of row 0 is None"),
    ],
)
def test_what_is_no_text_is_named(metric, answers, references, says):
    with pytest.raises(DataError) as error:
        metric(answers, references)

    assert says in str(error.value)


@every
@pytest.mark.parametrize(
    "big",
    ["word " * 200_000, "\x00\x1b[31m\u202e" * 200_000, "东" * 1_000_000, "a" * 1_000_000, ". " * 500_000],
    ids=["words", "controls", "han", "one word", "punctuation"],
)
def test_an_answer_of_a_megabyte_has_a_value(metric, big):
    values = metric([big, big], ["Paris is the capital", big[:100]])

    assert ((values >= 0) & (values <= 1)).all()
