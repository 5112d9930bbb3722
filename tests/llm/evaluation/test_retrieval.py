import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from headrace.core.errors import DataError, DeclarationError, NotFoundError
from headrace.llm.evaluation.retrieval import (
    RetrievalMetric,
    is_retrieval_metric,
    retrieval_metric,
)

IDS = st.integers(0, 15)
RETRIEVED = st.lists(IDS, unique=True, min_size=2, max_size=12)
RELEVANT = st.sets(IDS, min_size=1, max_size=6)


@settings(max_examples=200)
@given(RETRIEVED, RELEVANT, st.integers(1, 12))
def test_recall_precision_and_reciprocal_rank_are_those_of_sets(retrieved, relevant, k):
    hits = set(retrieved[:k]) & relevant
    ranks = [place for place, each in enumerate(retrieved, 1) if each in relevant]

    assert retrieval_metric(f"recall@{k}").value(retrieved, list(relevant)) == len(hits) / len(relevant)
    assert retrieval_metric(f"precision@{k}").value(retrieved, relevant) == len(hits) / k
    assert retrieval_metric("mrr").value(retrieved, relevant) == (1 / ranks[0] if ranks else 0)
    assert retrieval_metric(f"mrr@{k}").value(retrieved, relevant) == (1 / ranks[0] if ranks and ranks[0] <= k else 0)


@settings(max_examples=200)
@given(st.permutations(range(16)), RELEVANT, st.integers(1, 16))
def test_ndcg_is_that_of_scikit_learn(order, relevant, k):
    gains = [[float(each in relevant) for each in order]]
    scores = [[-float(place) for place in range(len(order))]]

    assert retrieval_metric(f"ndcg@{k}").value(order, relevant) == pytest.approx(ndcg_score(gains, scores, k=k))


@settings(max_examples=100)
@given(RETRIEVED, RELEVANT, st.integers(1, 12))
def test_an_identifier_that_comes_again_counts_once_and_values_are_shares(retrieved, relevant, k):
    again = [each for one in retrieved for each in (one, retrieved[0], one)]

    for name in (f"recall@{k}", f"precision@{k}", "mrr", f"ndcg@{k}"):
        metric = retrieval_metric(name)
        value = metric.value(retrieved, relevant)
        assert value == metric.value(again, relevant)
        assert 0 <= value <= 1


def test_rows():
    retrieved = [["a", "b"], None, [], np.array(["c", "a"]), math.nan, "a"]
    relevant = ["b", ["a"], ("a",), None, [], np.array(["a"])]

    assert np.array_equal(
        retrieval_metric("recall@1").rows(retrieved, relevant), [0, 0, 0, math.nan, math.nan, 1], equal_nan=True
    )
    assert np.array_equal(
        retrieval_metric("mrr").rows(retrieved, relevant), [0.5, 0, 0, math.nan, math.nan, 1], equal_nan=True
    )
    assert retrieval_metric("recall@5").value(["a"], None) is None


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("recall@5", RetrievalMetric(kind="recall", k=5)),
        ("precision@1", RetrievalMetric(kind="precision", k=1)),
        ("mrr", RetrievalMetric(kind="mrr", k=None)),
        ("mrr@10", RetrievalMetric(kind="mrr", k=10)),
        ("ndcg@3", RetrievalMetric(kind="ndcg", k=3)),
    ],
)
def test_a_name_is_read_back(name, metric):
    assert retrieval_metric(name) == metric
    assert metric.name == name
    assert is_retrieval_metric(name)


@pytest.mark.parametrize(
    "name", ["recal@5", "recall@-1", "recall@x", "recall@", "", "f1", "Recall@5", "recall@5 ", None, "x" * 999]
)
def test_a_name_of_nothing_is_refused(name):
    with pytest.raises(NotFoundError):
        retrieval_metric(name)


@pytest.mark.parametrize("name", ["recall", "ndcg", "recall@0", "mrr@0", "precision@10001", "ndcg@999999999"])
def test_a_number_that_is_not_possible_is_refused(name):
    assert is_retrieval_metric(name)
    with pytest.raises(DeclarationError, match="not possible"):
        retrieval_metric(name)


@pytest.mark.parametrize("cell", [[1.5], [None], [["a"]], {"a": 1}, [b"x"]])
def test_what_is_no_identifier_is_named_with_its_row(cell):
    with pytest.raises(DataError, match="row 1: "):
        retrieval_metric("recall@3").rows([["a"], cell], ["a", "a"])
    with pytest.raises(DataError, match="2 retrieved, 1 relevant"):
        retrieval_metric("recall@3").rows([["a"], ["b"]], ["a"])
