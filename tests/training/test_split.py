"""Laws of the split: nothing from the future, no row twice, the same half for the same key."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import headrace as hr
from headrace.core.errors import DataError
from headrace.lakehouse.scan import connect
from headrace.training import labels as known_labels
from headrace.training.split import halves, latest, split
from headrace.training.splits.by_time import ByTime

START = datetime(2024, 1, 1, tzinfo=UTC)
AS_OF = START + timedelta(days=20)
TEST = timedelta(days=7)
WEEK = ByTime("7d")
SPINE = hr.Table("s.decisions", key="id", sql="select 1")
LABELS = hr.Table("s.labels", key="id", time="known_at", sql="select 1")
TASK = hr.Regression(label=LABELS["y"])
HOURS = st.integers(0, 24 * 30)


def moments(hours):
    return pd.Series([START + timedelta(hours=hour) for hour in hours], dtype="datetime64[us, UTC]")


@st.composite
def decisions_and_labels(draw):
    at = draw(st.lists(HOURS, min_size=1, max_size=40))
    decisions = pd.DataFrame({"id": range(len(at)), "at": moments(at)})
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, len(at) - 1), HOURS, st.floats(-5, 5)), max_size=60, unique_by=lambda r: r[:2]
        )
    )
    labels = pd.DataFrame(
        {"id": [r[0] for r in rows], "known_at": moments([r[1] for r in rows]), "y": [r[2] for r in rows]}
    ).astype({"id": "int64", "y": "float64"})
    return decisions, labels


def attach(decisions, labels, *, task, as_of):
    rows = pa.Table.from_pandas(labels, preserve_index=False)
    with connect([], {task.label.table.name: rows}) as connection:
        given = pa.Table.from_pandas(decisions, preserve_index=False)
        return known_labels.attach(connection, rows.schema, given, task=task, at="at", as_of=as_of)


def force(decisions, labels):
    """id → label and part, one decision after the other."""
    found = {}
    for row in decisions.itertuples():
        known = labels[(labels["id"] == row.id) & (labels["known_at"] <= AS_OF)].sort_values("known_at")
        if row.at > AS_OF or known.empty or known["known_at"].iloc[0] < row.at:
            continue
        found[row.id] = (known["y"].iloc[-1], "held out" if row.at > AS_OF - TEST else "fit")
    return found


@given(decisions_and_labels(), st.booleans())
def test_parts_are_what_is_found_by_hand(given_data, calibrate):
    decisions, labels = given_data
    expected = force(decisions, labels)
    found = attach(decisions, labels, task=TASK, as_of=AS_OF)
    try:
        made = split(decisions["at"], decisions[["id"]], found, as_of=AS_OF, test=WEEK, calibrate=calibrate)
    except DataError:
        held_out = decisions["id"].isin([key for key, (_, part) in expected.items() if part == "held out"])
        halved = halves(decisions.loc[held_out, ["id"]])
        enough = any(part == "fit" for _, part in expected.values()) and held_out.any()
        assert not (enough and (not calibrate or (halved.any() and not halved.all())))
        return
    parts = {"fit": made.fit, "held out": np.concatenate([made.calibrate, made.test])}

    assert {decisions["id"].iloc[place]: part for part, places in parts.items() for place in places} == {
        key: part for key, (_, part) in expected.items()
    }
    assert {key: found.y.iloc[key] for key in expected} == {key: label for key, (label, _) in expected.items()}
    everything = np.concatenate([made.fit, made.calibrate, made.test])
    assert len(set(everything)) == len(everything)
    assert (len(made.calibrate) > 0) == calibrate


@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=50), st.integers(0, 10**6))
def test_a_key_is_in_the_same_half_whatever_other_keys_there_are(keys, more):
    alone = {key: bool(halves(pd.DataFrame({"id": [key]}))[0]) for key in keys}
    together = pd.DataFrame({"id": [*keys, more]})

    assert dict(zip(together["id"], halves(together).tolist(), strict=True)) | alone == {
        **dict(zip(together["id"], halves(together).tolist(), strict=True))
    }


def test_about_half_of_the_keys_are_in_each_half():
    chosen = halves(pd.DataFrame({"id": range(20_000), "carrier": ["x"] * 20_000}))

    assert 0.48 < chosen.mean() < 0.52


@given(st.lists(HOURS, min_size=2, max_size=60), st.floats(0.05, 0.95))
def test_tuning_is_judged_on_later_rows_than_it_fits_on(hours, share):
    assume(len(set(hours)) > 1)
    at = moments(hours)
    early, late = latest(at, share)

    assert at.iloc[early].max() < at.iloc[late].min()
    assert sorted([*early, *late]) == list(range(len(hours)))


def test_an_end_of_data_before_the_window_is_told_with_the_way():
    decisions = pd.DataFrame({"id": range(5), "at": moments(range(5))})
    labels = pd.DataFrame({"id": range(5), "known_at": moments(range(5, 10)), "y": [1.0, 2, 3, 4, 5]})
    later = AS_OF + timedelta(days=300)
    found = attach(decisions, labels, task=TASK, as_of=later)
    with pytest.raises(DataError, match=r"end at 2024-01-01 04:00") as refused:
        split(decisions["at"], decisions[["id"]], found, as_of=later, test=WEEK, calibrate=False)

    assert "--as-of 2024-01-02" in str(refused.value)
