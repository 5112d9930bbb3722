"""Feedback is joined with the answer that it is on; the last word of each person counts; rates have intervals."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Append
from headrace.llm.feedback import dataset
from headrace.llm.feedback.table import SCHEMA, TABLE
from headrace.monitoring.feedback import answers_of, joined, rates, wilson

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
LAYOUT = dataset.Layout()
LOGGED = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("requested_at", pa.timestamp("us", "UTC")),
        ("model", pa.string()),
        ("model_version", pa.int64()),
        ("role", pa.string()),
        ("split", pa.string()),
        ("inputs", pa.string()),
        ("outputs", pa.string()),
    ]
)


def answer(prediction, minute=0, version=1, role="primary", outputs='{"answer": "A"}'):
    at = BEGIN + timedelta(minutes=minute)
    return dict(
        zip(LOGGED.names, (prediction, at, "m", version, role, None, '{"question": "Q?"}', outputs), strict=True)
    )


def said(prediction, kind, value=None, text=None, minute=1, user=None, model="m"):
    at = BEGIN + timedelta(minutes=minute)
    number = f"{prediction}{kind}{user}{minute}"
    values = (number, prediction, model, None, kind, value, text, user, None, "api", at, at + timedelta(seconds=2))
    return dict(zip(SCHEMA.names, values, strict=True))


@pytest.fixture
def lakehouse(tmp_path):
    return Lakehouse("dev", str(tmp_path))


def write(lakehouse, answers, feedback):
    if answers:
        lakehouse.commit("inference.m", "a", lambda _: Append(pa.Table.from_pylist(answers, schema=LOGGED)))
    lakehouse.commit(TABLE, "f", lambda _: Append(pa.Table.from_pylist(feedback, schema=SCHEMA)))


def test_the_last_word_of_each_person_counts_for_the_version_that_answered(lakehouse):
    write(
        lakehouse,
        [answer("p"), answer("q", version=2), answer("q", version=3, role="shadow"), answer("r", version=2)],
        [
            said("p", "thumbs", 1.0, user="ann"),
            said("p", "thumbs", 0.0, user="ann", minute=2),
            said("p", "thumbs", 1.0, user="bob"),
            said("q", "thumbs", 1.0),
            said("q", "copy", 1.0),
            said("q", "copy", 1.0, model="other"),
            said("lost", "thumbs", 1.0),
            said("r", "thumbs", 1.0, minute=60 * 24 * 8),
        ],
    )
    rows = joined(lakehouse, "m", within="7d").to_pylist()
    assert sorted(
        (each["prediction_id"], each["kind"], each["model_version"], each["matched"], each["late"]) for each in rows
    ) == [
        ("lost", "thumbs", None, False, False),
        ("p", "thumbs", 1, True, False),
        ("p", "thumbs", 1, True, False),
        ("q", "copy", 2, True, False),
        ("q", "thumbs", 2, True, False),
        ("r", "thumbs", 2, True, True),
    ]
    found = {(each.version, each.kind): each for each in rates(rows, answers_of(lakehouse, "m"))}
    assert (found[1, "thumbs"].count, found[1, "thumbs"].rate.value, found[1, "thumbs"].mean) == (2, 0.5, 0.5)
    assert (found[2, "copy"].rate.value, found[2, "copy"].answers) == (0.5, 2)  # of both answers of version 2
    assert (found[2, "thumbs"].count, found[2, "thumbs"].delay, found[2, "thumbs"].lag) == (1, 60.0, 2.0)
    assert (found[None, "thumbs"].count, found[None, "thumbs"].delay) == (1, None)


def test_a_decision_that_is_asked_again_is_judged_by_its_last_answer_before(lakehouse):
    answers = [answer("p", minute=minute, outputs=f'{{"answer": "{minute}"}}') for minute in (0, 10, 20)]
    write(lakehouse, answers, [said("p", "thumbs", 1.0, minute=15)])
    (row,) = joined(lakehouse, "m", within="7d").to_pylist()
    assert row["outputs"] == '{"answer": "10"}'


def test_without_a_log_all_is_unmatched_and_without_feedback_there_is_none(lakehouse):
    assert joined(lakehouse, "m", within="7d") is None
    write(lakehouse, [], [said("p", "thumbs", 1.0)])
    (row,) = joined(lakehouse, "m", within="7d").to_pylist()
    assert (row["matched"], row["model_version"], row["inputs"]) == (False, None, None)
    assert answers_of(lakehouse, "m") == {}


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)]
)
def test_the_interval_is_that_of_wilson(hits, of, low, high):
    """Against the figures of statsmodels' `proportion_confint(…, method="wilson")`."""
    found = wilson(hits, of)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert wilson(0, 0) is None


def test_a_data_set_follows_what_people_say_and_writes_no_version_for_nothing(lakehouse):
    write(
        lakehouse,
        [answer("p"), answer("q"), answer("r", outputs='{"probability": 0.2}'), answer("s"), answer("t")],
        [
            said("p", "correction", text="wrong", user="ann"),
            said("p", "correction", text="right", user="bob", minute=2),
            said("p", "thumbs", 1.0),
            said("q", "thumbs", 1.0),
            said("r", "thumbs", 1.0),
            said("s", "thumbs", 1.0, user="ann"),
            said("s", "thumbs", 0.0, user="bob"),
            said("lost", "correction", text="x"),
        ],
    )

    def make(*references):
        rows = joined(lakehouse, "m", within="7d").to_pylist()
        made = dataset.examples(rows, references, model="m", layout=LAYOUT)
        return dataset.write(lakehouse, "gold.qa", "m", made, layout=LAYOUT)

    def table():
        rows = lakehouse.snapshot("gold.qa").to_arrow().to_pylist()
        return sorted(
            (each["prediction_id"], each["question"], each["reference"], each["reference_from"]) for each in rows
        )

    first = make("correction", "thumbs")
    assert (first.rows, first.added, first.changed, first.removed) == (3, 3, 0, 0)
    assert table() == [
        ("p", "Q?", "right", "correction"),
        ("q", "Q?", "A", "thumbs"),
        ("r", "Q?", "0.2", "thumbs"),
    ]
    again = make("correction", "thumbs")
    assert (again.version, again.added, again.changed, again.removed) == (first.version, 0, 0, 0)
    lakehouse.commit(
        TABLE,
        "later",
        lambda _: Append(
            pa.Table.from_pylist([said("q", "thumbs", 0.0, minute=9), said("t", "correction", text="T")], schema=SCHEMA)
        ),
    )
    later = make("correction", "thumbs")
    assert (later.version > first.version, later.added, later.changed, later.removed) == (True, 1, 0, 1)
    assert [each[0] for each in table()] == ["p", "r", "t"]
    assert lakehouse.snapshot("gold.qa", first.version).rows() == 3  # a version stays what it was


def test_an_example_needs_a_question_that_the_log_has():
    row = said("p", "correction", text="x") | {"matched": True, "model_version": 1, "outputs": None}
    assert dataset.examples([row | {"inputs": '{"a": null}'}], ["correction"], model="m", layout=LAYOUT) == []
    (found,) = dataset.examples(
        [row | {"inputs": '{"b": 2, "a": null, "c": "é"}'}], ["correction"], model="m", layout=LAYOUT
    )
    assert found["question"] == '{"b": 2, "c": "é"}'
