"""A row is there once: of messages with an id the first, of others the last."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import headrace as hr
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.llm.feedback import table
from headrace.llm.feedback.message import rows

DECLARED = hr.Feedback("thumbs", "text")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MESSAGE = st.tuples(
    st.sampled_from(["p", "q"]), st.sampled_from(["up", "down"]), st.sampled_from([None, "a", "b"]), st.integers(0, 50)
)


def read(prediction, thumbs, identity, second):
    message = {"prediction_id": prediction, "thumbs": thumbs, "id": identity}
    at = BEGIN + timedelta(seconds=second)
    return table.rows({"feedback": rows(message, DECLARED, model="m", api_key=None, at=at)})


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(st.lists(MESSAGE, max_size=4), min_size=1, max_size=3))
def test_the_table_is_what_a_slow_oracle_says(tmp_path_factory, batches):
    lakehouse = Lakehouse("dev", str(tmp_path_factory.mktemp("lake")))
    expected = {}
    for number, batch in enumerate(batches):
        given = [row for each in batch for row in read(*each)]
        lakehouse.advance(
            table.TABLE, f"b{number}", lambda at, given=given: table.change(given, at), {f"b{number}": (None, 1)}
        )
        for row in sorted(given, key=lambda each: each["at"]):
            there = expected.get(row["feedback_id"])
            if there is None or (not row["once"] and row["at"] > there["at"]):
                expected[row["feedback_id"]] = row
    found = lakehouse.snapshot(table.TABLE).to_arrow().to_pylist()
    assert len(found) == len(expected)
    assert {each["feedback_id"]: (each["value"], each["at"]) for each in found} == {
        key: (row["value"], row["at"]) for key, row in expected.items()
    }


def test_thumbs_that_are_taken_back_and_given_again_are_up(tmp_path):
    lakehouse = Lakehouse("dev", str(tmp_path))
    for number, way in enumerate(["up", "down", "up"]):
        given = read("p", way, None, number)
        lakehouse.advance(table.TABLE, f"{number}", lambda at, g=given: table.change(g, at), {f"{number}": (None, 1)})
    found = sorted(lakehouse.snapshot(table.TABLE).to_arrow().to_pylist(), key=lambda each: each["at"])
    assert [each["value"] for each in found] == [0.0, 1.0]


@pytest.mark.parametrize("record", [{"feedback": [1]}, {"feedback": [{}]}, {"feedback": 3}])
def test_a_record_that_no_server_writes_is_refused(record):
    with pytest.raises((ValueError, TypeError, KeyError)):
        table.rows(record)
