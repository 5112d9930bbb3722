"""Models that answer: their declaration with every mistake, their task, and the metrics on their answers."""

import json

import pandas as pd
import pytest

import headrace as hr
from headrace.core.errors import DataError, DeclarationError, HeadraceError, NotFoundError
from headrace.training.generated import references, relevant
from headrace.training.metrics.base import UndefinedMetricError
from headrace.training.metrics.judged import judged, verdict_column
from headrace.training.metrics.retrieval import retrieval
from headrace.training.metrics.texts import ANSWER_F1, EXACT_MATCH, ROUGE_L
from headrace.training.splits.everything import Everything
from headrace.training.verdicts import with_verdicts

QA = hr.Source("gold.qa", files="qa.jsonl")


def answer(question: str, ctx: hr.LLMContext) -> str:
    return question


def model(**changes):
    given = {"predict": answer, "task": hr.Generation(), "evaluate": hr.Evaluate(dataset=QA)}
    return hr.Model("assistant", **{**given, **changes})


def label(*texts, relevant=None):
    held = {"reference": list(texts)}
    return json.dumps(held if relevant is None else {**held, "relevant": relevant})


def output(*texts, passages=None):
    found = passages or [[] for _ in texts]
    return pd.DataFrame(
        {
            "prediction": list(texts),
            "prediction_passages": [
                json.dumps([{"id": key, "text": key, "score": 1.0} for key in keys]) for keys in found
            ],
        }
    )


def test_spine_inputs_and_label_come_from_the_questions():
    made = model(evaluate=hr.Evaluate(dataset=QA, metrics=["answer_f1", "recall@5", hr.judge("faithful")]))
    assert made.metrics == ("answer_f1", "recall@5", "faithful")
    assert made.decisions.table.name == QA.arrivals.name
    assert [selected.columns for selected in made.inputs] == [("question",)]
    assert isinstance(made.split, Everything)
    assert made.task.label.name == "reference"
    assert [each.name for each in made.judges] == ["faithful"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fit": lambda data, params: None}, "predict= and fit="),
        ({"params": {"a": 1}}, "predict= and params="),
        ({"spine": QA}, "predict= and spine="),
        ({"features": "all columns"}, "predict= and features="),
        ({"task": hr.Binary(label=QA["reference"])}, "task="),
        ({"tune": hr.Tune({"a": hr.uniform(0, 1)})}, "hr.Tune"),
        ({"tune": hr.PromptTuning(QA)}, "on the data of its evaluation, 'gold.qa'"),
        ({"tune": hr.PromptTuning("gold.qa")}, "on the data of its evaluation, 'gold.qa'"),
        (
            {"evaluate": hr.Evaluate(dataset="gold.asked"), "tune": hr.PromptTuning("gold.asked")},
            "on the data of its evaluation, 'gold.asked'",
        ),
        ({"evaluate": hr.Evaluate()}, "no evaluation data"),
        ({"evaluate": hr.Evaluate(dataset=QA, metrics=["roc_auc"])}, "roc_auc"),
        ({"evaluate": hr.Evaluate(dataset=QA, metrics=["recall@0"])}, "recall of the first 0"),
        ({"uses": "prompt"}, "is no list"),
        ({"uses": [3]}, "no prompt, vector index or route"),
        ({"uses": [hr.Route("a"), hr.Route("b")]}, "more than one route"),
        ({"predict": lambda question: ""}, "no parameter 'ctx'"),
        ({"predict": 7}, "is no function"),
        ({"predict": None}, "no predict="),
        ({"evaluate": hr.Evaluate(dataset=hr.Table("gold.other", key="id", sql="SELECT 1 AS id"))}, "no time="),
    ],
)
def test_what_does_not_go_together_is_told(changes, said):
    with pytest.raises(HeadraceError) as told:
        model(**changes)
    assert said in str(told.value)
    assert told.value.hint


@pytest.mark.parametrize(
    "given",
    [
        {"calls": 0},
        {"calls": True},
        {"proposals": -1},
        {"held_out": 0},
        {"held_out": 1},
        {"held_out": "half"},
        {"metric": 3},
        {"route": 3},
        {"seed": -1},
    ],
    ids=str,
)
def test_a_tuning_that_is_not_possible(given):
    with pytest.raises(DeclarationError, match="PromptTuning"):
        hr.PromptTuning("gold.tuning", **given)


def test_a_tuning_without_examples():
    with pytest.raises(DeclarationError, match="has no examples"):
        hr.PromptTuning(3)


@pytest.mark.parametrize("given", [{"reference": ""}, {"reference": 3}, {"relevant": ""}, {"relevant": 3}], ids=str)
def test_a_column_that_is_none(given):
    with pytest.raises(DeclarationError, match="Generation"):
        hr.Generation(**given)


@pytest.mark.parametrize(
    "value", [None, 3, "text", "[]", "{}", '{"reference": null}', '{"reference": 3}', float("nan")]
)
def test_what_is_no_label_has_no_references(value):
    assert references(value) == []
    assert relevant(value) == []


def test_a_label_holds_one_text_or_several():
    assert references('{"reference": "a"}') == ["a"]
    assert references(label("a", "b")) == ["a", "b"]
    assert relevant(label("a", relevant="x")) == ["x"]
    with pytest.raises(DataError, match="no text"):
        model().task.check(pd.Series([label("a"), "{}"]))


def test_the_best_of_several_right_answers_counts():
    y = pd.Series([label("the cat", "a dog"), label("x")])
    given = output("a dog", "y")
    assert EXACT_MATCH.measure(y, given) == 0.5
    assert ANSWER_F1.measure(y, given) == 0.5
    assert ROUGE_L.measure(y, given) == 0.5


def test_an_answer_that_is_missing_is_an_empty_one():
    assert ANSWER_F1.measure(pd.Series([label("x")]), output(None)) == 0.0


def test_retrieval_is_measured_where_each_question_names_a_document():
    metric = retrieval("recall@1")
    y = pd.Series([label("x", relevant=["a"]), label("x", relevant=["a", "b"])])
    assert metric.measure(y, output("", "", passages=[["a", "c"], ["b", "a"]])) == pytest.approx(0.75)
    with pytest.raises(UndefinedMetricError, match="1 of 2 questions name no relevant document"):
        metric.measure(pd.Series([label("x", relevant=["a"]), label("x")]), output("", ""))
    with pytest.raises(NotFoundError):
        retrieval("recal@1")


def test_verdicts_stand_beside_the_answers():
    short = hr.judge("short", function=lambda row: len(row.answer) < 3)
    made = model(evaluate=hr.Evaluate(dataset=QA, metrics=[short]))
    rows = pd.DataFrame({"question": ["a?", "b?"]}, index=[7, 9])
    y = pd.Series([label("a"), label("b")], index=rows.index)
    found = with_verdicts(made, rows, y, output("a", "long").set_axis(rows.index))
    assert found[verdict_column("short")].tolist() == [1.0, 0.0]
    assert judged(short).measure(y, found) == 0.5
    with pytest.raises(UndefinedMetricError, match="nobody asked the judge 'short'"):
        judged(short).measure(y, output("a", "long"))


def test_a_judge_that_fails_fails_the_evaluation():
    def broken(row):
        raise KeyError(row.answer)

    made = model(evaluate=hr.Evaluate(dataset=QA, metrics=[hr.judge("short", function=broken)]))
    with pytest.raises(HeadraceError, match="short"):
        with_verdicts(made, pd.DataFrame({"question": ["a?"]}), pd.Series([label("a")]), output("a"))


def test_a_judge_without_a_route_says_how_to_give_one():
    made = model(evaluate=hr.Evaluate(dataset=QA, metrics=[hr.judge("faithful")]))
    with pytest.raises(DeclarationError, match="has no route to ask"):
        with_verdicts(made, pd.DataFrame({"question": ["a?"]}), pd.Series([label("a")]), output("a"))
