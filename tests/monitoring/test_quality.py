"""Realised quality against scikit-learn on slow joins; late, early, double and foreign labels."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

import headrace as hr
from headrace.core.errors import DataError, NotFoundError
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Append, Upsert
from headrace.monitoring import quality

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
PREDICTIONS, LABELS = "gold.answers", "gold.outcomes"
UTC_US = pa.timestamp("us", "UTC")

outcomes = hr.Table(LABELS, key="order_id", time="known_at", sql="select 1")
orders = hr.Table("silver.orders", key="order_id", sql="select 1")


def model(task=None, **evaluate):
    return hr.Model(
        "late",
        fit=lambda data, params: None,
        task=task or hr.Binary(label=outcomes["late"], calibrate="isotonic"),
        spine=orders.at("at"),
        features=[orders.select("weight")],
        evaluate=hr.Evaluate(**evaluate),
    )


MODEL = model(metrics=["roc_auc", "log_loss"])


def decisions(days=6, a_day=120, seed=0, *, first=START):
    """Predictions of a calibrated model, and labels that come three hours after each decision."""
    draw = np.random.default_rng(seed)
    count = days * a_day
    at = [first + DAY * day + HOUR * 20 * place / a_day for day in range(days) for place in range(a_day)]
    p = np.clip(draw.beta(2, 4, count), 0.01, 0.99)
    shops = draw.choice(["north", "south"], count).tolist()
    frame = pd.DataFrame({"order_id": [f"{seed}-{place}" for place in range(count)], "at": at, "p": p, "shop": shops})
    frame["late"] = draw.random(count) < p
    frame["known_at"] = frame["at"] + 3 * HOUR
    return frame


@pytest.fixture
def lakehouse(tmp_path):
    return Lakehouse("prod", str(tmp_path / "lakehouse"))


def predicted(frame, version=1, **columns):
    features = pa.array([{"weight": float(place % 3), "shop": shop} for place, shop in enumerate(frame["shop"])])
    return pa.table(
        {
            "prediction_id": [f"{version}/{name}" for name in frame["order_id"]],
            "order_id": pa.array(frame["order_id"].tolist()),
            "decision_time": pa.array(frame["at"].tolist(), UTC_US),
            "model": ["late"] * len(frame),
            "model_version": pa.array([version] * len(frame), pa.int64()),
            "probability": pa.array(frame["p"].to_numpy()),
            "features": features,
            **columns,
        }
    )


def known(frame):
    return pa.table(
        {
            "order_id": pa.array(frame["order_id"].tolist()),
            "known_at": pa.array(frame["known_at"].tolist(), UTC_US),
            "late": pa.array(frame["late"].tolist()),
        }
    )


def add(lakehouse, name, rows, key):
    lakehouse.commit(name, key, lambda _: Append(rows))


@pytest.fixture
def frame(lakehouse):
    frame = decisions()
    add(lakehouse, PREDICTIONS, predicted(frame), "predictions")
    add(lakehouse, LABELS, known(frame), "labels")
    return frame


def look(lakehouse, as_of, **settings):
    """Measures and keeps; gives the report."""
    settings = {"version": 1, "granularity": "1d", "min_rows": 100, "id": f"{as_of} {settings}", **settings}
    return quality.measure(lakehouse, settings.pop("model", MODEL), PREDICTIONS, as_of=as_of, **settings)


def judged(report):
    return [(window.start - START).days for window in report.windows if window.value("roc_auc").judged]


def test_figures_are_those_of_scikit_learn_on_a_slow_join(lakehouse, frame):
    report = look(lakehouse, START + 6 * DAY)

    assert [window.start for window in report.windows] == [START + day * DAY for day in range(6)]
    for window in report.windows:
        mine = frame[(frame["at"] >= window.start) & (frame["at"] < window.end)]
        mine = mine[mine["known_at"] <= START + 6 * DAY]
        assert window.value("roc_auc").value == pytest.approx(roc_auc_score(mine["late"], mine["p"]), abs=1e-12)
        assert window.value("log_loss").value == pytest.approx(log_loss(mine["late"], mine["p"]), abs=1e-12)
        assert window.label_mean == pytest.approx(mine["late"].mean())
        assert window.prediction_mean == pytest.approx(mine["p"].mean())
        found = window.value("roc_auc")
        assert found.low < found.value < found.high


@pytest.mark.parametrize(("granularity", "starts"), [("1mo", [(1, 1), (2, 1)]), ("1w", [(1, 22), (1, 29)])])
def test_windows_are_calendar_months_and_weeks_from_monday(lakehouse, granularity, starts):
    frame = decisions(days=6, first=datetime(2024, 1, 28, tzinfo=UTC))
    add(lakehouse, PREDICTIONS, predicted(frame), "predictions")
    add(lakehouse, LABELS, known(frame), "labels")

    report = look(lakehouse, datetime(2024, 3, 1, tzinfo=UTC), granularity=granularity)

    assert [(window.start.month, window.start.day) for window in report.windows] == starts
    assert sum(window.rows for window in report.windows) == len(frame)


def test_what_was_kept_is_what_was_measured(lakehouse, frame):
    report = look(lakehouse, START + 6 * DAY, slices=["shop"])

    assert tuple(quality.stored(lakehouse, "late", 1, "1d")) == report.windows
    assert quality.stored(lakehouse, "late", 1, "1w") == []
    assert quality.stored(lakehouse, "late", 2, "1d") == []


def test_a_window_is_judged_once_its_labels_have_had_time_to_come(lakehouse):
    """Two in ten labels never come, so that only the waiting time tells when there are no more."""
    frame = decisions(days=6)
    add(lakehouse, PREDICTIONS, predicted(frame), "predictions")
    add(lakehouse, LABELS, known(frame[frame.index % 5 != 0]), "labels")

    assert judged(look(lakehouse, START + DAY - HOUR, min_rows=50)) == []
    assert judged(look(lakehouse, START + DAY + HOUR, min_rows=50)) == []
    assert judged(look(lakehouse, START + DAY + 3 * HOUR, min_rows=50)) == [0]
    assert judged(look(lakehouse, START + 3 * DAY + HOUR, min_rows=50)) == [0, 1]
    assert judged(look(lakehouse, START + 3 * DAY + 3 * HOUR, min_rows=50)) == [0, 1, 2]


def test_labels_that_take_up_to_a_month_are_waited_for_though_only_quick_ones_are_there(lakehouse):
    frame = decisions(days=60, a_day=40)
    frame["known_at"] = frame["at"] + pd.to_timedelta(np.random.default_rng(1).uniform(0, 30, len(frame)), unit="D")
    add(lakehouse, PREDICTIONS, predicted(frame), "predictions")
    add(lakehouse, LABELS, known(frame), "labels")

    for days in (5, 10, 20, 40, 60):
        report = look(lakehouse, START + days * DAY, min_rows=2)
        assert all(window.coverage > 0.9 for window in report.windows if window.mature), days
    assert judged(report)


def test_a_window_with_few_labels_is_shown_and_not_judged(lakehouse, frame):
    report = look(lakehouse, START + 6 * DAY, min_rows=121)

    found = report.windows[0].value("roc_auc")
    assert not found.judged
    assert found.value is not None
    assert found.reason == "120 labelled rows; 121 are needed (hr.Monitor(min_rows=…))"


def test_a_window_without_labels_has_no_value(lakehouse):
    frame = decisions(days=2)
    add(lakehouse, PREDICTIONS, predicted(frame), "predictions")
    add(lakehouse, LABELS, known(frame.head(1)), "labels")

    window = look(lakehouse, START + 30 * DAY).windows[1]

    assert (window.rows, window.labelled, window.coverage, window.label_mean) == (120, 0, 0, None)
    assert (window.value("roc_auc").value, window.value("roc_auc").reason) == (None, "no label is known")
    assert not window.value("roc_auc").judged


def test_one_class_only_has_a_log_loss_and_no_area(lakehouse):
    frame = decisions(days=1)
    frame["late"] = False
    add(lakehouse, PREDICTIONS, predicted(frame), "predictions")
    add(lakehouse, LABELS, known(frame), "labels")

    (window,) = look(lakehouse, START + 2 * DAY).windows

    assert (window.value("roc_auc").value, window.value("roc_auc").reason) == (None, "all 120 labels are 0")
    assert window.value("log_loss").judged


def test_labels_of_a_later_time_do_not_exist(lakehouse, frame):
    report = look(lakehouse, START + 12 * HOUR)

    mine = frame[frame["known_at"] <= START + 12 * HOUR]
    assert report.windows[0].labelled == len(mine)
    assert report.windows[0].rows == (frame["at"] < START + 12 * HOUR).sum()
    assert report.not_counted.not_yet == len(frame) - len(mine)


def test_of_labels_that_came_twice_the_latest_known_one_counts(lakehouse, frame):
    again = frame.head(120).assign(late=~frame["late"].head(120), known_at=START + 10 * DAY)
    add(lakehouse, LABELS, known(again), "again")

    before = look(lakehouse, START + 9 * DAY)
    after = look(lakehouse, START + 11 * DAY)

    assert (before.not_counted.replaced, before.not_counted.not_yet, after.not_counted.replaced) == (0, 120, 120)
    assert after.windows[0].rows == after.windows[0].labelled == 120
    assert after.windows[0].value("roc_auc").value == pytest.approx(1 - before.windows[0].value("roc_auc").value)


def test_labels_of_unknown_decisions_are_counted_and_change_nothing(lakehouse, frame):
    before = look(lakehouse, START + 7 * DAY)
    add(lakehouse, LABELS, known(decisions(days=1, seed=5)), "strangers")
    after = look(lakehouse, START + 7 * DAY, id="after")

    assert (before.not_counted.unknown, after.not_counted.unknown) == (0, 120)
    assert after.windows == before.windows
    assert not after.changed


def test_only_windows_that_changed_are_measured_again_and_a_judged_one_is_reopened(lakehouse, frame):
    first = look(lakehouse, START + 7 * DAY)
    late = frame[frame["at"] < START + DAY].head(30).assign(late=True, known_at=START + 8 * DAY)
    add(lakehouse, LABELS, known(late), "late")
    second = look(lakehouse, START + 9 * DAY)

    assert [window.start for window in second.changed] == [START]
    (window,) = second.changed
    assert window.reopened
    assert window.value("roc_auc").earlier == first.windows[0].value("roc_auc").value != window.value("roc_auc").value
    assert not look(lakehouse, START + 9 * DAY, id="again").changed
    assert quality.stored(lakehouse, "late", 1, "1d")[0].reopened


def test_labels_that_make_a_window_ripe_do_not_reopen_it(lakehouse, frame):
    look(lakehouse, START + DAY - HOUR)
    report = look(lakehouse, START + 2 * DAY)

    assert [window.reopened for window in report.windows] == [False, False]


def test_killed_after_the_commit_and_run_again_nothing_changes(lakehouse, frame):
    first = look(lakehouse, START + 7 * DAY, id="one")
    again = look(lakehouse, START + 7 * DAY, id="one")

    assert again.windows == first.windows
    rows = lakehouse.snapshot(quality.TABLE).to_arrow()
    assert rows.num_rows == 6 * 2


def test_a_prediction_that_was_made_again_is_measured_again(lakehouse, frame):
    look(lakehouse, START + 7 * DAY)
    other = predicted(frame.head(1).assign(p=0.5))
    lakehouse.commit(PREDICTIONS, "corrected", lambda _: Upsert(other, key=("prediction_id",)))

    assert [window.start for window in look(lakehouse, START + 7 * DAY, id="again").changed] == [START]


def test_another_metric_is_measured_on_every_window(lakehouse, frame):
    look(lakehouse, START + 7 * DAY)
    report = look(lakehouse, START + 7 * DAY, model=model(metrics=["brier"]), slices=["shop"])
    assert len(report.changed) == 6
    report = look(lakehouse, START + 7 * DAY, model=model(metrics=["brier"]))

    assert len(report.changed) == 6
    assert lakehouse.snapshot(quality.TABLE).to_arrow().num_rows == 6
    assert [list(window.metrics) for window in quality.stored(lakehouse, "late", 1, "1d")] == [["brier"]] * 6


def test_each_version_has_windows_of_its_own(lakehouse, frame):
    add(lakehouse, PREDICTIONS, predicted(frame.assign(p=1 - frame["p"]), version=2), "second")

    one, two = (look(lakehouse, START + 7 * DAY, version=version).windows[0] for version in (1, 2))

    assert two.value("roc_auc").value == pytest.approx(1 - one.value("roc_auc").value)
    assert one.rows == two.rows == 120


@pytest.mark.parametrize("name", ["shop", "order_id"])
def test_slices_are_features_or_columns(lakehouse, frame, name):
    report = look(lakehouse, START + 7 * DAY, slices=[name], min_rows=2)

    values = {each.slice_value for each in report.windows[0].measures if each.slice_key == name}
    expected = frame.loc[frame["at"] < START + DAY, name]
    assert values <= set(expected)
    if name == "shop":
        mine = frame[(frame["at"] < START + DAY) & (frame["shop"] == "south")]
        found = next(each for each in report.windows[0].measures if each.slice_value == "south")
        assert (found.rows, found.labelled) == (len(mine), len(mine))
        assert found.value == pytest.approx(roc_auc_score(mine["late"], mine["p"]))


def test_an_unknown_slice_is_refused_with_the_nearest_name(lakehouse, frame):
    with pytest.raises(NotFoundError, match="did you mean 'weight'"):
        look(lakehouse, START + 7 * DAY, slices=["wieght"])


def test_labels_that_are_no_yes_or_no_are_refused(lakehouse, frame):
    other = hr.Table("gold.marks", key="order_id", time="known_at", sql="select 1")
    add(lakehouse, other.name, known(frame).set_column(2, "late", pa.array([2] * len(frame), pa.int64())), "odd")

    with pytest.raises(DataError, match="neither true nor false"):
        look(lakehouse, START + 7 * DAY, model=model(hr.Binary(label=other["late"])))


def test_the_log_of_a_server_is_measured_by_its_keys_and_each_decision_once(lakehouse, frame):
    keys = pa.array([f'{{"order_id": "{name}"}}' for name in frame["order_id"]])
    logged = predicted(frame).drop_columns(["order_id", "features"])
    logged = logged.append_column("keys", keys)
    first, second = START + 30 * DAY, START + 31 * DAY
    poor = pa.array(np.random.default_rng(3).random(len(frame)))
    earlier = logged.set_column(logged.schema.get_field_index("probability"), "probability", poor)
    for name, rows, asked in (("log 1", earlier, first), ("log 2", logged, second)):
        requested_at = pa.array([asked] * len(frame), UTC_US)
        add(lakehouse, "inference.late", rows.append_column("requested_at", requested_at), name)

    batch = look(lakehouse, START + 7 * DAY)
    online = quality.realised(
        lakehouse, MODEL, "inference.late", version=2, as_of=START + 7 * DAY, granularity="1d", min_rows=100
    )
    assert online.windows == ()
    online = quality.realised(
        lakehouse, MODEL, "inference.late", version=1, as_of=START + 7 * DAY, granularity="1w", min_rows=100
    )
    assert sum(window.rows for window in online.windows) == len(frame)
    whole = roc_auc_score(frame["late"], frame["p"])
    assert online.windows[0].value("roc_auc").value == pytest.approx(whole)
    assert len(batch.windows) == 6


@pytest.mark.parametrize(
    ("task", "output", "label"),
    [
        (hr.Regression, lambda frame: {"prediction": frame["p"].to_numpy()}, lambda frame: frame["p"] + 0.1),
        (
            hr.Multiclass,
            lambda frame: {
                "prediction": frame["shop"].tolist(),
                "probability_north": [0.5] * len(frame),
                "probability_south": [0.5] * len(frame),
            },
            lambda frame: frame["shop"],
        ),
    ],
)
def test_numbers_and_classes_have_windows_too(lakehouse, frame, task, output, label):
    other = Lakehouse("prod", lakehouse.snapshot(PREDICTIONS).path + "-other")
    rows = predicted(frame).drop_columns(["probability"])
    for name, values in output(frame).items():
        rows = rows.append_column(name, pa.array(values))
    labels = known(frame).set_column(2, "late", pa.array(label(frame).tolist()))
    add(other, PREDICTIONS, rows, "predictions")
    add(other, LABELS, labels, "labels")
    kind = model(task(label=outcomes["late"]))

    window = look(other, START + 7 * DAY, model=kind).windows[0]

    assert all(window.value(metric).judged for metric in ("mae", "rmse")) if task is hr.Regression else True
    if task is hr.Regression:
        assert window.value("mae").value == pytest.approx(0.1)
        assert window.label_mean - window.prediction_mean == pytest.approx(0.1)
    else:
        assert window.value("accuracy").value == 1
        assert window.label_mean is None
    assert "yes-or-no" in window.value(kind.metrics[0]).not_estimated


def test_an_estimate_stands_before_the_labels_and_its_error_after_them(lakehouse):
    frame = decisions(days=3, a_day=600)
    add(lakehouse, PREDICTIONS, predicted(frame), "predictions")
    add(lakehouse, LABELS, known(frame.head(1)), "labels")
    before = look(lakehouse, START + 4 * DAY, min_rows=500).windows[1].value("roc_auc")
    add(lakehouse, LABELS, known(frame.tail(-1)), "all labels")
    after = look(lakehouse, START + 5 * DAY, min_rows=500).windows[1].value("roc_auc")

    assert (before.value, before.estimated_error) == (None, None)
    assert before.estimated == after.estimated
    assert after.estimated_error == after.estimated - after.value
    assert abs(after.estimated_error) < 0.06


def test_once_more_comes_than_was_predicted_estimates_are_refused(lakehouse):
    frame = decisions(days=4, a_day=600)
    frame.loc[frame["at"] >= START + DAY, "late"] |= np.random.default_rng(2).random(1800) < 0.3
    add(lakehouse, PREDICTIONS, predicted(frame), "predictions")
    add(lakehouse, LABELS, known(frame), "labels")

    windows = look(lakehouse, START + 5 * DAY, min_rows=500).windows

    said = [window.value("roc_auc").not_estimated for window in windows]
    assert said[0] == said[1] == ""
    assert "labels have shifted" in said[3]
    assert windows[3].value("roc_auc").estimated is None


def test_an_estimate_that_was_made_stands_though_labels_show_later_that_it_should_not_have_been(lakehouse):
    frame = decisions(days=3, a_day=600)
    frame["late"] |= np.random.default_rng(2).random(1800) < 0.4
    add(lakehouse, PREDICTIONS, predicted(frame), "predictions")
    add(lakehouse, LABELS, known(frame.head(1)), "labels")
    before = look(lakehouse, START + 3 * DAY, min_rows=500).windows[2].value("roc_auc")
    add(lakehouse, LABELS, known(frame.tail(-1)), "all labels")
    after = look(lakehouse, START + 4 * DAY, min_rows=500).windows[2].value("roc_auc")

    assert (after.estimated, after.not_estimated) == (before.estimated, "")
    assert after.estimated_error == after.estimated - after.value


def told(window):
    """A window without what depends on when it was looked at."""
    return [
        (
            window.start,
            window.state,
            window.mature,
            each.metric,
            each.value,
            each.low,
            each.high,
            each.judged,
            each.reason,
        )
        for each in window.measures
    ]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(1, 200), max_size=4, unique=True).map(sorted),
    st.integers(0, 10_000),
    st.lists(st.integers(0, 10), min_size=1, max_size=4),
)
def test_looked_at_often_or_once_the_last_figures_are_the_same(tmp_path_factory, hours, seed, waits):
    """Labels come after some days, some twice; what was measured on the way leaves no trace in the figures."""
    draw = np.random.default_rng(seed)
    frame = decisions(days=4, a_day=20, seed=seed)
    frame["known_at"] = frame["at"] + pd.to_timedelta(draw.choice(waits, len(frame)), unit="D")
    again = frame.sample(10, random_state=seed)
    again = again.assign(known_at=again["known_at"] + DAY, late=draw.random(10) < 0.5)
    lakehouses = []
    for name in ("often", "once"):
        lakehouse = Lakehouse("prod", str(tmp_path_factory.mktemp(name)))
        add(lakehouse, PREDICTIONS, predicted(frame), "predictions")
        add(lakehouse, LABELS, known(pd.concat([frame, again])), "labels")
        lakehouses.append(lakehouse)
    often, once = lakehouses

    for hour in hours:
        look(often, START + hour * HOUR, min_rows=10)
    last = START + 9 * DAY
    found = [[told(window) for window in look(each, last, min_rows=10).windows] for each in (often, once)]

    assert found[0] == found[1]
    assert [told(window) for window in quality.stored(often, "late", 1, "1d")] == found[1]


def test_what_a_rule_looks_at(lakehouse, frame):
    windows = look(lakehouse, START + 5 * DAY + 22 * HOUR).windows

    areas, coverage = (quality.seen(windows, metric, min_rows=100) for metric in ("roc_auc", "label_coverage"))
    assert [each.judged for each in areas] == [True] * 5 + [False]
    assert [each.value for each in coverage][:5] == [1] * 5
    assert [each.judged for each in coverage] == [True] * 5 + [False]
    with pytest.raises(NotFoundError, match="did you mean 'roc_auc'"):
        windows[0].value("roc_au")
