"""Two projects that Headrace has never heard of go through the same commands; pandas says what must come out."""

import subprocess
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable
from sklearn.metrics import accuracy_score, root_mean_squared_error
from tests.support.people import enrol

from .conftest import project

TRAINED = "2024-04-01"
ENDED = "2024-06-15"
MOMENT = datetime(2024, 4, 1, tzinfo=UTC)
NOW = datetime(2024, 6, 15, tzinfo=UTC)


def loop(headrace, folder, *models):
    """refresh, then the whole loop for each model; gives the folder."""
    runs = [(["refresh"], 0)]
    for model in models:
        runs += [
            (["train", "--model", model, "--as-of", TRAINED], 0),
            (["deploy", "--model", model, "--as-of", TRAINED], 3 if model == "fault" else 0),
            (["score", "--model", model, "--version", "1", "--as-of", ENDED], 0),
            (["monitor", "--model", model, "--as-of", ENDED], 0 if model == "fault" else 1),
        ]
    for arguments, code in runs:
        done = headrace.run(folder, "run", *arguments, "--env", "live")
        assert done.code == code, done.stderr
        if code == 3:
            _sign(headrace, folder)
    return folder


def _sign(headrace, folder):
    """Somebody else signs; until then nothing scores, and who asked cannot."""
    (request,) = live(headrace, folder, "request", "list", "--json").json()
    scored = live(headrace, folder, "run", "score", "--model", "fault", "--version", "1", "--as-of", ENDED)
    mine = live(headrace, folder, "request", "approve", request["request"])
    token = enrol(headrace, folder, {"eva": "governance"}, env="live")["eva"]
    hers = live(headrace, folder, "request", "approve", request["request"], env={"HEADRACE_TOKEN": token})

    assert (request["to"], request["missing"]) == ("Production", ["governance"])
    assert scored.code == 3
    assert mine.code == 3
    assert hers.code == 0, hers.stderr


@pytest.fixture(scope="module")
def ran_shop(headrace, shop_files, tmp_path_factory):
    return loop(headrace, released(project("shop", shop_files, tmp_path_factory.mktemp("shop"))), "delivery_days")


@pytest.fixture(scope="module")
def ran_machines(headrace, machines_files, tmp_path_factory):
    folder = released(project("machines", machines_files, tmp_path_factory.mktemp("machines")))
    return loop(headrace, folder, "fault", "breakdown")


def released(folder):
    """Committed and tagged: what may run in the highest environment."""
    (folder / ".gitignore").write_text(".headrace/\ndata/\n")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"], ["tag", "v1"]):
        subprocess.run(
            ["git", "-c", "user.name=A Stranger", "-c", "user.email=stranger@example.org", *arguments],
            cwd=folder,
            check=True,
        )
    return folder


def table(folder, name):
    return (
        DeltaTable(str(folder.joinpath(".headrace", "live", "lakehouse", *name.split("."))))
        .to_pyarrow_table()
        .to_pandas()
    )


@pytest.mark.parametrize("which", ["shop", "machines"])
def test_tables_hold_the_rows_that_pandas_finds(which, request):
    folder, facts = request.getfixturevalue(f"ran_{which}"), request.getfixturevalue(f"{which}_facts")

    assert {name: len(table(folder, name)) for name in facts.rows} == facts.rows


@pytest.mark.parametrize("which", ["shop", "machines"])
def test_every_broken_row_is_counted_with_its_reason(which, request):
    folder, facts = request.getfixturevalue(f"ran_{which}"), request.getfixturevalue(f"{which}_facts")
    counts = table(folder, "metrics.expectations")
    found = {
        action: {
            name: dict(zip(rows["expectation"], rows["broken"], strict=True))
            for name, rows in counts[(counts["action"] == action) & (counts["broken"] > 0)].groupby("table")
        }
        for action in ("quarantine", "repair", "warn")
    }

    assert found == {"quarantine": facts.quarantined, "repair": facts.repaired, "warn": facts.warned}
    for name, reasons in facts.quarantined.items():
        assert len(table(folder, f"quarantine.{name.replace('.', '_')}")) == sum(reasons.values())


@pytest.mark.parametrize(
    ("which", "model", "key", "label", "prefixed"),
    [
        ("shop", "delivery_days", "order_id", "days", {}),
        ("machines", "fault", "inspection", "finding", {}),
        (
            "machines",
            "breakdown",
            "inspection",
            "broken",
            {"temperature": "state_temperature", "vibration_6h": "state_vibration_6h"},
        ),
    ],
)
def test_the_training_set_is_what_a_slow_loop_makes(which, model, key, label, prefixed, request):
    folder, facts = request.getfixturevalue(f"ran_{which}"), request.getfixturevalue(f"{which}_facts")
    made = table(folder, f"training.{model}").set_index(key).sort_index()
    expected = facts.training_set(MOMENT).sort_index().rename(columns=prefixed)

    assert list(made.index) == list(expected.index)
    assert set(made["_part"]) == {"fit", "test"}
    pd.testing.assert_series_equal(
        made["_label"], expected[label], check_names=False, check_dtype=False, check_index_type=False
    )
    for name in set(made.columns) & set(expected.columns):
        left, right = made[name], expected[name]
        if pd.api.types.is_numeric_dtype(right) or right.dtype == bool:
            np.testing.assert_allclose(left.astype(float), right.astype(float), rtol=1e-9, err_msg=name)
        else:
            assert left.fillna("?").tolist() == right.fillna("?").tolist(), name


def test_regression_scores_and_their_quality_are_what_sklearn_says(ran_shop, shop_facts, headrace):
    predictions = table(ran_shop, "answers.delivery_days").set_index("order_id")
    due = shop_facts.decisions[(shop_facts.decisions["at"] >= MOMENT) & (shop_facts.decisions["at"] < NOW)]
    assert sorted(predictions.index) == sorted(due.index)

    last = shop_facts.labels[shop_facts.labels["known_at"] <= NOW].sort_values("known_at").groupby(level=0).last()
    joined = predictions.join(last, how="inner")
    april = joined[joined["decision_time"].dt.strftime("%Y-%m") == "2024-04"]
    kept = table(ran_shop, "metrics.model_quality")
    rmse = kept[(kept["window_start"] == "2024-04-01") & (kept["metric"] == "rmse")].iloc[0]

    assert rmse["labelled"] == len(april)
    assert rmse["value"] == pytest.approx(root_mean_squared_error(april["days"], april["prediction"]), rel=1e-12)
    assert rmse["value"] < april["days"].std()


def test_classes_come_with_probabilities_that_add_up(ran_machines, machines_facts):
    predictions = table(ran_machines, "answers.fault").set_index("inspection")
    probabilities = predictions[[name for name in predictions.columns if name.startswith("probability_")]]

    assert {name.removeprefix("probability_") for name in probabilities.columns} == set(
        machines_facts.labels["finding"]
    )
    assert probabilities.sum(axis=1).to_numpy() == pytest.approx(1)
    joined = predictions.join(machines_facts.labels, how="inner")
    assert (
        accuracy_score(joined["finding"], joined["prediction"]) > joined["finding"].value_counts(normalize=True).max()
    )


def test_two_models_on_one_feature_table_have_versions_of_their_own(ran_machines, headrace):
    versions = headrace.run(ran_machines, "model", "list", "--env", "live", "--json").json()

    assert [(version["model"], version["version"]) for version in versions] == [("breakdown", 1), ("fault", 1)]
    used = headrace.run(ran_machines, "feature", "list", "--env", "live", "--json").json()
    assert [sorted(entry["used_by"]) for entry in used] == [["breakdown", "fault"]]


def live(headrace, folder, *arguments, **options):
    return headrace.run(folder, *arguments, "--env", "live", **options)


def rehearsed(headrace, folder, model):
    """Real servers are asked by key what was scored in batch."""
    window = ["--since", "2024-04-01", "--until", "2024-05-01", "--rows", "15"]
    done = live(headrace, folder, "run", "parity-check", "--model", model, *window, "--json")
    assert done.code == 0, done.stderr
    return done.json()


def test_without_a_second_person_it_goes_through_its_gates_and_answers_as_it_scored(ran_shop, headrace):
    (version,) = live(headrace, ran_shop, "model", "list", "--json").json()
    history = live(headrace, ran_shop, "model", "history", "delivery_days", "--json").json()
    found = rehearsed(headrace, ran_shop, "delivery_days")

    assert version["stage"] == "Production"
    assert [change["stage"] for change in history] == ["None", "Staging", "Production"]
    assert (found["mismatches"], found["logged"]) == (0, found["requests"])
    assert found["requests"] >= 15
    assert found["instants"] >= 3


def test_with_one_it_waits_for_somebody_else_who_signs(ran_machines, headrace):
    again = live(headrace, ran_machines, "run", "deploy", "--model", "fault", "--as-of", TRAINED)
    history = live(headrace, ran_machines, "model", "history", "fault", "--json").json()

    assert again.code == 0, again.stderr
    assert history[-1]["stage"] == "Production"
    assert rehearsed(headrace, ran_machines, "fault")["mismatches"] == 0


def test_a_model_that_rounds_by_how_many_rows_it_is_asked_is_no_skew(ran_machines, headrace):
    found = rehearsed(headrace, ran_machines, "breakdown")

    assert (found["mismatches"], found["logged"]) == (0, 0)  # its declared log is "none"


@pytest.mark.parametrize(
    ("which", "table_name", "window", "metric"),
    [("shop", "answers.delivery_days", "1mo", "rmse"), ("machines", "answers.breakdown", "1w", "roc_auc")],
)
def test_every_window_is_profiled_and_a_broken_rule_is_an_alert(which, table_name, window, metric, request, headrace):
    folder = request.getfixturevalue(f"ran_{which}")
    predictions = table(folder, table_name)
    starts = (
        predictions["decision_time"]
        .dt.tz_localize(None)
        .dt.to_period({"1mo": "M", "1w": "W-SUN"}[window])
        .dt.start_time
    )
    profiles = table(folder, f"{table_name}_profile_metrics").query("log_type != 'BASELINE' and slice_key.isna()")
    counted = profiles[profiles["column_name"] == ":table"].sort_values("window_key")["count"]
    (alert,) = [
        each for each in live(headrace, folder, "alert", "list", "--json").json() if each["rule"].startswith(metric)
    ]

    assert counted.tolist() == starts.value_counts().sort_index().tolist()
    assert alert["status"] == "open"
    assert alert["evidence"]["windows"][-1]["broken"]
    assert live(headrace, folder, "status").code == 1


@pytest.mark.parametrize("which", ["shop", "machines"])
def test_run_again_nothing_is_done_twice(which, request, headrace):
    folder, facts = request.getfixturevalue(f"ran_{which}"), request.getfixturevalue(f"{which}_facts")
    before = {name: table(folder, name).shape for name in facts.rows}
    again = headrace.run(folder, "run", "refresh", "--env", "live", "--json").json()

    assert {step["status"] for step in again["steps"] if step["name"].startswith("build")} == {"unchanged"}
    assert {name: table(folder, name).shape for name in facts.rows} == before
