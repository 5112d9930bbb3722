"""Data sets of feedback and of the log: the columns by which a model with predict= is evaluated."""

from datetime import UTC, datetime, timedelta

import pytest

from headrace.core.errors import DataError
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.llm.feedback.dataset import Layout, answers, examples, liked, write

AT = datetime(2024, 1, 1, tzinfo=UTC)
CHAIN = Layout(inputs=("question", "language"), reference="right", output="prediction")


def row(number, kind, *, value=None, text=None, question="why?", after=0):
    return {
        "feedback_id": f"f{number}{kind}{after}",
        "prediction_id": f"p{number}",
        "model_version": 1,
        "kind": kind,
        "value": value,
        "text": text,
        "at": AT + timedelta(seconds=after),
        "requested_at": AT + timedelta(seconds=number),
        "inputs": f'{{"question": "{question}", "language": "en"}}',
        "outputs": f'{{"prediction": "because {number}", "prediction_passages": "[]"}}',
        "matched": True,
    }


def test_corrections_and_thumbs_make_rows_with_the_inputs_and_the_reference_of_the_model(tmp_path):
    said = [
        row(1, "correction", text="so it is"),
        row(2, "thumbs", value=1.0),
        row(3, "thumbs", value=1.0),
        row(3, "thumbs", value=0.0, after=1),
    ]
    given = examples(said, ["correction", "thumbs"], model="m", layout=CHAIN)
    lakehouse = Lakehouse("dev", str(tmp_path))
    written = write(lakehouse, "gold.examples", "m", given, layout=CHAIN)
    again = write(lakehouse, "gold.examples", "m", given, layout=CHAIN)

    assert (written.rows, written.added, again.version) == (2, 2, written.version)
    rows = lakehouse.snapshot("gold.examples").to_arrow().to_pylist()
    found = {each["prediction_id"]: (each["question"], each["language"], each["right"]) for each in rows}
    assert found == {"p1": ("why?", "en", "so it is"), "p2": ("why?", "en", "because 2")}
    assert len({each["question_id"] for each in rows}) == 2
    assert all(each["known_at"] >= AT for each in rows)
    fewer = write(lakehouse, "gold.examples", "m", given[:1], layout=CHAIN)
    assert (fewer.rows, fewer.removed) == (1, 1)


def test_the_log_alone_makes_a_row_of_each_different_question():
    logged = [row(1, ""), row(2, ""), row(3, "", question="how?")]
    every = answers(logged, None, model="m", layout=CHAIN)
    assert [(each["question"], each["right"], each["reference_from"]) for each in every] == [
        ("why?", "because 2", "answer"),  # the last answer
        ("how?", "because 3", "answer"),
    ]
    said = [row(1, "thumbs", value=1.0), row(3, "thumbs", value=1.0), row(3, "thumbs", value=0.0)]
    some = answers(logged, liked(said), model="m", layout=CHAIN)
    assert [(each["right"], each["reference_from"]) for each in some] == [("because 1", "thumbs")]


def test_a_question_that_the_log_leaves_out_makes_no_row():
    hidden = {**row(1, "correction", text="x"), "inputs": '{"question": null, "language": "en"}'}
    assert examples([hidden], ["correction"], model="m", layout=CHAIN) == []


def test_an_input_with_the_name_of_a_column_is_refused(tmp_path):
    layout = Layout(inputs=("model",))
    with pytest.raises(DataError, match="'model' is also a column"):
        write(Lakehouse("dev", str(tmp_path)), "gold.examples", "m", [], layout=layout)


def test_an_answer_that_is_not_whole_is_no_reference():
    cut = {**row(1, "thumbs", value=1.0), "outputs": '{"prediction": "beca", "prediction_finish_reason": "cancelled"}'}
    long = {**row(2, "thumbs", value=1.0), "outputs": '{"prediction": "because", "prediction_finish_reason": "length"}'}
    found = examples([cut, long], ["thumbs"], model="m", layout=CHAIN)
    assert [each["prediction_id"] for each in found] == ["p2"]
    assert [each["right"] for each in answers([cut], None, model="m", layout=CHAIN)] == []
    (corrected,) = examples(
        [{**cut, "kind": "correction", "text": "so it is"}], ["correction"], model="m", layout=CHAIN
    )
    assert corrected["right"] == "so it is"
