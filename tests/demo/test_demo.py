"""The shipped example on all of its data, from the command to the last figure; and that it would notice."""

import json
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing

import nbformat
import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable
from sklearn.metrics import roc_auc_score
from tests.support.notebooks import errors, kernel, said, shown

FROZEN = {  # a model fitted on January to March, calibrated on April, never fitted again
    "2013-05": 0.764,
    "2013-06": 0.757,
    "2013-07": 0.746,
    "2013-08": 0.729,
    "2013-09": 0.718,
    "2013-10": 0.700,
    "2013-11": 0.709,
    "2013-12": 0.736,
}


OF_THE_RUN = {"seconds", "peak_rss_mb"}


@pytest.fixture(scope="session")
def demo(headrace, tmp_path_factory):
    """The folder of a demo that ran, and what it printed."""
    parent = tmp_path_factory.mktemp("demo")
    done = headrace.run(parent, "demo", "--json")
    assert done.code == 0, done.stderr
    return parent / "flights", done


def table(folder, name, env="prod"):
    return DeltaTable(str(folder.joinpath(".headrace", env, "lakehouse", *name.split("."))))


def test_it_prints_one_object_and_talks_elsewhere(demo):
    _, done = demo
    found = json.loads(done.stdout)

    assert set(found) == {
        "model",
        "versions",
        "months",
        "batch",
        "served",
        "alerts",
        "decisions",
        "stages",
        "quarantined",
        "seconds",
        "peak_rss_mb",
    }
    assert [version["stage"] for version in found["versions"]] == ["Archived", "Production"]
    for part in ("smoke run in staging", "refresh", "deploy", "May 2013", "retrain on the alert", "back-test"):
        assert f"\n{part}" in done.stderr
    assert "\x1b" not in done.stderr


def test_monthly_auc_is_that_of_an_honest_model(demo):
    months = {month["month"]: month["roc_auc"] for month in demo[1].json()["months"]}

    assert months.keys() == FROZEN.keys()
    assert months == pytest.approx(FROZEN, abs=0.02)
    assert max(months.values()) < 0.80


def test_the_figures_are_those_of_scikit_learn_on_the_tables(demo):
    folder, done = demo
    predictions = table(folder, "gold.arrival_delay_predictions").to_pandas().query("model_version == 1")
    arrivals = table(folder, "gold.arrivals").to_pandas()
    arrivals = arrivals[arrivals["known_at"] <= "2014-01-03T00:00:00+00:00"]
    joined = predictions.merge(arrivals, on="flight_id", how="left")
    joined["month"] = joined["decision_time"].dt.strftime("%Y-%m")
    for month in done.json()["months"]:
        rows = joined[joined["month"] == month["month"]]
        known = rows.dropna(subset="late")
        assert (len(rows), len(known)) == (month["rows"], month["labelled"])
        assert known["late"].astype(float).mean() == pytest.approx(month["late_rate"], abs=1e-12)
        assert roc_auc_score(known["late"].astype(int), known["probability"]) == pytest.approx(
            month["roc_auc"], abs=1e-12
        )
    assert len(predictions) == done.json()["batch"]["rows"] == joined["flight_id"].nunique()


def test_the_version_says_what_it_was_made_from(demo):
    folder, done = demo
    version, later = done.json()["versions"]
    commit = subprocess.run(
        ["git", "rev-parse", "v0.1.0^{commit}"], cwd=folder, capture_output=True, text=True, check=True
    )

    assert version["code_commit"] == commit.stdout.strip()
    assert version["fit"]["from"].startswith("2013-01-01")
    assert version["fit"]["to"].startswith("2013-04-01")
    assert 0.70 < version["test_roc_auc"] < 0.80
    assert {"silver.departures", "gold.arrivals", "features.weather"} <= set(version["inputs"])
    for name, number in version["inputs"].items():
        assert 0 < number <= table(folder, name).version()
    assert later["fit"]["from"] == version["fit"]["from"]
    assert "2013-08-31" < later["fit"]["to"] < "2013-10-02"


def test_intervals_hold_the_value_and_estimates_come_before_the_labels(demo):
    for month in demo[1].json()["months"]:
        low, high = month["roc_auc_interval"]
        positive = month["late_rate"] * month["labelled"]
        # Hanley and McNeil's standard error of an area: an oracle for the width, not for the bounds
        area, negative = month["roc_auc"], month["labelled"] - positive
        q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
        error = np.sqrt(
            (area * (1 - area) + (positive - 1) * (q1 - area**2) + (negative - 1) * (q2 - area**2))
            / (positive * negative)
        )
        assert low < area < high
        assert high - low == pytest.approx(2 * 1.96 * error, rel=0.15)
        assert month["roc_auc_estimated"] == pytest.approx(area, abs=0.04)


def test_retraining_each_month_would_have_helped(demo):
    months = {month["month"]: month for month in demo[1].json()["months"]}
    gains = [month["roc_auc_retrained"] - month["roc_auc"] for month in months.values()]

    assert min(gains) > -0.005
    assert np.mean(gains) > 0.01
    assert max(month["roc_auc_retrained"] for month in months.values()) < 0.80


def test_the_worst_drift_is_the_season(demo):
    """A model fitted on January to March has not seen summer; in psi as pandas and NumPy count it by deciles."""
    folder, done = demo
    predictions = table(folder, "gold.arrival_delay_predictions").to_pandas().query("model_version == 1")
    fitted = table(folder, "training.arrival_delay")
    fitted.load_as_version(1)
    made = fitted.to_pandas()
    temperature = made.loc[made["_part"] == "fit", "temp"].dropna()
    edges = np.quantile(temperature, np.linspace(0, 1, 11))
    edges[0], edges[-1] = -np.inf, np.inf
    for month in done.json()["months"][:6]:
        rows = predictions[predictions["decision_time"].dt.strftime("%Y-%m") == month["month"]]
        now = pd.Series([row["temp"] for row in rows["features"]]).dropna()
        before, after = (np.histogram(values, edges)[0] / len(values) for values in (temperature, now))
        before, after = np.maximum(before, 1e-4), np.maximum(after, 1e-4)
        assert month["psi_column"] == "temp"
        assert month["psi"] > 1
        assert ((after - before) * np.log(after / before)).sum() > 1


def test_the_alert_opens_in_the_month_that_the_rule_says(demo):
    found = demo[1].json()
    first = found["alerts"][0]
    broken = [month["roc_auc"] < 0.73 for month in found["months"]]
    place = next(n for n in range(len(broken)) if broken[n] and sum(broken[max(0, n - 2) : n + 1]) >= 2)

    assert (first["version"], first["rule"]) == (1, "roc_auc < 0.73, 2 of 3")
    assert first["window"].startswith(found["months"][place]["month"])
    assert first["status"] == "closed"  # version 1 was replaced
    assert [window["value"] for window in first["evidence"]["windows"]] == [
        month["roc_auc"] for month in found["months"][place - 2 : place + 1]
    ]


def test_each_served_answer_is_the_batch_score_and_is_logged_once(demo):
    folder, done = demo
    served = done.json()["served"]
    logged = table(folder, "inference.arrival_delay").to_pandas()
    scored = table(folder, "gold.arrival_delay_predictions").to_pandas().set_index("prediction_id")
    answers = logged["outputs"].map(lambda text: json.loads(text)["probability"])

    assert set(served) == {"requests", "instants", "mismatches", "logged"}
    assert served["mismatches"] == 0
    assert served["requests"] == served["logged"] == len(logged) == logged["request_id"].nunique() >= 1000
    assert served["instants"] == logged["decision_time"].nunique() >= 3
    assert (answers.to_numpy() == scored.loc[logged["prediction_id"], "probability"].to_numpy()).all()


def test_one_road_to_production_with_a_second_person_and_evidence(demo):
    found = demo[1].json()
    asked = [(decision["version"], decision["to"]) for decision in found["decisions"]]
    promoted = [
        decision
        for decision in found["decisions"]
        if decision["to"] == "Production" and "findings" in decision["evidence"]
    ]

    assert asked == [
        (1, "Staging"),
        (1, "Production"),
        (2, "Staging"),
        (2, "Production"),
        (1, "Production"),
        (2, "Production"),
    ]
    assert len(promoted) == 2
    for decision in promoted:
        assert decision["approved_by"] == ["maria"] != [decision["by"]]
        (compared,) = [each for each in decision["evidence"]["findings"] if each["gate"] == "not_worse"]
        assert compared["result"] == "passed"
        assert compared["details"]["rows"] > 5000
    first, second = (
        next(each for each in decision["evidence"]["findings"] if each["gate"] == "not_worse")["details"]
        for decision in promoted
    )
    assert (first["champion"], first["champion_value"]) == (None, 0.5)
    assert second["champion"] == 1
    assert second["low"] > 0  # it helps
    assert second["since"] > found["versions"][1]["fit"]["to"]


def test_stages_and_mlflow_tell_the_same_story(demo, monkeypatch):
    from mlflow import MlflowClient

    folder, done = demo
    stages = [(change["version"], change["stage"]) for change in done.json()["stages"]]
    client = MlflowClient(f"sqlite:///{folder}/.headrace/prod/mlflow.db")

    assert [change for change in stages if change[1] == "Production"] == [
        (1, "Production"),
        (2, "Production"),
        (1, "Production"),
        (2, "Production"),
    ]
    assert stages[-2:] == [(1, "Archived"), (2, "Production")]
    assert client.get_registered_model("arrival_delay").aliases == {"production": 2}
    serving = json.loads((folder / ".headrace/prod/serving/arrival_delay/serving.json").read_text())
    assert serving["versions"][0]["version"] == 2


def test_rows_that_were_set_apart_are_counted_with_their_reason(demo):
    folder, done = demo
    counted = done.json()["quarantined"]

    assert counted == {
        "silver.planes": {"seats > 22": table(folder, "quarantine.silver_planes").to_pyarrow_table().num_rows}
    }
    repaired = table(folder, "metrics.expectations").to_pandas().query("action == 'repair'")
    assert repaired.set_index("table")["broken"].to_dict() == {"silver.planes": 80, "features.weather": 1}


def test_each_dashboard_has_the_answers_of_the_year(demo, headrace):
    folder, _ = demo
    listed = headrace.run(folder, "dashboard", "list", "--env", "prod", "--json").json()

    assert {each["name"] for each in listed} == {"business-value", "data-quality", "governance", "model-health"}
    for each in listed:
        shown = headrace.run(folder, "dashboard", "show", each["name"], "--env", "prod", "--json").json()
        assert all(tile["refreshed"] and not tile["error"] for tile in shown["tiles"]), each["name"]


def test_run_again_it_continues_and_doubles_nothing(demo, headrace):
    folder, done = demo
    versions = {
        name: table(folder, name).version()
        for name in (
            "silver.flights",
            "gold.arrival_delay_predictions",
            "training.arrival_delay",
            "inference.arrival_delay",
            "metrics.model_quality",
        )
    }
    again = headrace.run(folder.parent, "demo", "--json")
    first, second = done.json(), again.json()

    assert {key: first[key] for key in first.keys() - OF_THE_RUN} == {
        key: second[key] for key in first.keys() - OF_THE_RUN
    }
    assert {name: table(folder, name).version() for name in versions} == versions


def test_a_folder_that_is_not_a_demo_is_left_alone(tmp_path, headrace):
    precious = tmp_path / "flights" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("years of work")
    for arguments in (["demo"], ["demo", "--fresh"]):
        done = headrace.run(tmp_path, *arguments)
        assert done.code == 3
        assert "left alone" in done.stderr or "not a demo" in done.stderr

    assert precious.read_text() == "years of work"


def spoiled(headrace, demo, tmp_path, **edits):
    """The example in a copy, with edited SQL, refreshed and trained in dev, which has its own tables then."""
    folder = shutil.copytree(demo[0], tmp_path / "flights", ignore=shutil.ignore_patterns("staging", "dev", "code"))
    for file, edit in edits.items():
        path = folder / "flights" / f"{file}.sql"
        before = path.read_text()
        path.write_text(edit(before))
        assert path.read_text() != before
    for arguments in (["refresh"], ["train", "--as-of", "2013-05-01"]):
        done = headrace.run(folder, "run", *arguments)
        assert done.code == 0, done.stderr
    return folder


def scored(headrace, folder):
    """May to July, as version 1 scores them in dev, by scikit-learn."""
    done = headrace.run(folder, "run", "score", "--version", "1", "--since", "2013-05-01", "--until", "2013-08-01")
    assert done.code == 0, done.stderr
    predictions, arrivals = (
        table(folder, name, "dev").to_pandas() for name in ("gold.arrival_delay_predictions", "gold.arrivals")
    )
    joined = predictions.merge(arrivals, on="flight_id")
    return roc_auc_score(joined["late"].astype(int), joined["probability"])


SHUFFLED = """
with known as (
    select *, row_number() over (order by flight_id) as place, row_number() over (order by md5(flight_id)) as other
    from silver.flights where arrived_at is not null
)
select mine.flight_id, mine.arrived_at as known_at, another.arr_delay > 15 as late, mine.arr_delay
from known as mine join known as another on mine.place = another.other
"""


def test_with_shuffled_labels_there_is_nothing_to_find_and_the_gates_refuse(headrace, demo, tmp_path):
    folder = spoiled(headrace, demo, tmp_path, arrivals=lambda _: SHUFFLED)
    assert 0.48 <= scored(headrace, folder) <= 0.52

    done = headrace.run(folder, "run", "deploy", "--as-of", "2013-05-01")
    assert done.code == 1
    assert re.search(r"roc_auc on the test rows is 0\.(4[5-9]|5[0-5])", done.stderr)
    assert [version["stage"] for version in headrace.run(folder, "model", "list", "--json").json()] == ["Archived"]


def test_a_planted_leak_shows(headrace, demo, tmp_path):
    honest = np.mean([month["roc_auc"] for month in demo[1].json()["months"][:3]])

    def early(text):
        return text.replace("arrived_at as available_at", "arrived_at - interval '1 day' as available_at")

    assert scored(headrace, spoiled(headrace, demo, tmp_path, carrier_delays=early)) > honest + 0.02


def test_a_feature_that_freezes_is_named_by_the_monitor(headrace, demo, tmp_path):
    """From June on the humidity is what it was on the last day of May, as when a station's feed hangs."""

    def hung(text):
        return f"select * replace (case when available_at < timestamptz '2013-06-01' then humid else 55.5 end as humid) from ({text})"

    folder = spoiled(headrace, demo, tmp_path, weather=hung)
    scored(headrace, folder)
    done = headrace.run(folder, "run", "monitor", "--as-of", "2013-08-03", "--json")
    windows = {step["name"]: step["output"] for step in done.json()["steps"] if step["name"].startswith("window ")}
    frozen = {
        name: [column["column"] for column in window["columns"] if column["frozen"] is not None]
        for name, window in windows.items()
    }

    drifted = [each["column"] for each in windows["window 2013-06 of version 1"]["columns"] if each["verdict"] != "ok"]

    assert "humid" in drifted
    assert frozen == {
        "window 2013-05 of version 1": [],
        "window 2013-06 of version 1": [],  # its first hours look back into May
        "window 2013-07 of version 1": ["humid"],
    }


def test_its_notebook_runs_from_top_to_bottom_and_each_cell_twice(demo):
    folder, _ = demo
    cells = [each.source for each in nbformat.read(folder / "explore.ipynb", 4).cells if each.cell_type == "code"]
    with kernel(folder) as notebook:
        outputs = {source: [notebook.run(source) for _ in range(2)] for source in cells}

        assert [told for both in outputs.values() for each in both for told in errors(each)] == []
        for source, (first, second) in outputs.items():
            if not source.startswith("dev = "):
                assert shown(first) == shown(second), source
                assert said(first) == "", source
        drawn = {source: shown(first) for source, (first, _) in outputs.items()}
        assert drawn["model.monitoring(version=1)"].count("<svg") == 3
        assert [drawn[source].count("<svg") for source in cells if source.startswith("prod.profile")] == [6]
        assert "version 1" in drawn["model.compare(1, 2)"]
        (trained,) = [said(second) for source, (_, second) in outputs.items() if source.startswith("dev = ")]
        assert "✓" not in trained
        assert shown(notebook.run("len(dev.models['arrival_delay'].versions)"), "text/plain") == "1"
        (auc,) = [shown(first, "text/plain") for source, (first, _) in outputs.items() if "roc_auc_score" in source]
        assert float(auc) > 0.7


def test_nothing_is_left_running(demo):
    folder, _ = demo
    with closing(sqlite3.connect(folder / ".headrace" / "prod" / "mlflow.db")) as connection:
        assert connection.execute("select distinct status from runs").fetchall() == [("FINISHED",)]
