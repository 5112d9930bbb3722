"""Whatever comes is a message or is refused with a reason; the same message has the same ids."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr
from headrace.core.errors import DataError
from headrace.llm.feedback.message import FIELDS, rows

EVERY = hr.Feedback("thumbs", "score", "correction", "text", implicit=["retry", "copy", "handover"])
AT = datetime(2026, 1, 1, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def read(message, **changes):
    return rows(message, changes.pop("declared", EVERY), **{"model": "m", "api_key": None, "at": AT, **changes})


@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(), JSON) | JSON)
def test_whatever_comes_is_rows_or_a_reason(message):
    found, refused = [], ""
    try:
        found = read(message)
    except DataError as error:
        refused = error.what
    assert bool(found) != bool(refused)
    assert refused.isprintable()
    assert all(each["prediction_id"] == message["prediction_id"] for each in found)


def test_an_id_is_of_its_prediction_kind_person_and_sender():
    def ids(message, **changes):
        return {each["feedback_id"] for each in read({"prediction_id": "p", "thumbs": "up", **message}, **changes)}

    one = ids({"id": "click"})
    assert ids({"id": "click", "thumbs": "down"}) == one  # the same click, whatever it says now
    assert ids({"id": "click", "text": "well"}) > one
    others = [
        ids({}),
        ids({"id": "clack"}),
        ids({"id": "click", "prediction_id": "q"}),
        ids({"id": "click", "user": "ann"}),
        ids({"id": "click"}, api_key="page"),
        ids({"id": "click"}, model="n"),
    ]
    assert len({*one, *(each for some in others for each in some)}) == 1 + len(others)
    assert ids({}) == ids({}) != ids({"thumbs": "down"})


def test_a_person_has_one_pseudonym_in_each_model():
    def pseudonym(user, model="m"):
        return read({"prediction_id": "p", "thumbs": "up", "user": user}, model=model)[0]["user"]

    assert pseudonym("Zoe\u0308") == pseudonym(" Zoë ")
    assert "Zo" not in pseudonym("Zoe")
    assert pseudonym("Zoe") != pseudonym("Zoe", "n")


@pytest.mark.parametrize("length", [10_000, 10_001])
def test_texts_have_a_limit(length):
    message = {"prediction_id": "p", "text": "é" * length}
    if length > 10_000:
        with pytest.raises(DataError, match="10,001"):
            read(message)
    else:
        assert read(message)[0]["text"] == "é" * length
