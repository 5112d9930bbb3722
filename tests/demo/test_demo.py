"""The shipped example on all of its data, from the command to the last figure; and that it would notice."""

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing

import numpy as np
import pytest
from deltalake import DeltaTable
from sklearn.metrics import roc_auc_score

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

    assert set(found) == {"model", "versions", "months", "batch", "quarantined", "seconds", "peak_rss_mb"}
    assert [version["stage"] for version in found["versions"]] == ["None"]
    assert "train" in done.stderr
    assert "\x1b" not in done.stderr


def test_monthly_auc_is_that_of_an_honest_model(demo):
    months = {month["month"]: month["roc_auc"] for month in demo[1].json()["months"]}

    assert months.keys() == FROZEN.keys()
    assert months == pytest.approx(FROZEN, abs=0.02)
    assert max(months.values()) < 0.80


def test_the_figures_are_those_of_scikit_learn_on_the_tables(demo):
    folder, done = demo
    predictions = table(folder, "gold.arrival_delay_predictions").to_pandas()
    arrivals = table(folder, "gold.arrivals").to_pandas()
    arrivals = arrivals[arrivals["known_at"] <= "2014-01-03T00:00:00+00:00"]
    joined = predictions.merge(arrivals, on="flight_id", how="left")
    joined["month"] = joined["predicted_for"].dt.strftime("%Y-%m")
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
    (version,) = done.json()["versions"]
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


def test_rows_that_were_set_apart_are_counted_with_their_reason(demo):
    folder, done = demo
    counted = done.json()["quarantined"]

    assert counted == {
        "silver.planes": {"seats > 22": table(folder, "quarantine.silver_planes").to_pyarrow_table().num_rows}
    }
    repaired = table(folder, "metrics.expectations").to_pandas().query("action == 'repair'")
    assert repaired.set_index("table")["broken"].to_dict() == {"silver.planes": 80, "features.weather": 1}


def test_run_again_it_continues_and_doubles_nothing(demo, headrace):
    folder, done = demo
    versions = {
        name: table(folder, name).version()
        for name in ("silver.flights", "gold.arrival_delay_predictions", "training.arrival_delay")
    }
    again = headrace.run(folder.parent, "demo", "--json")
    first, second = done.json(), again.json()

    assert {key: first[key] for key in ("versions", "months", "batch", "quarantined")} == {
        key: second[key] for key in ("versions", "months", "batch", "quarantined")
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


def retrain(headrace, demo, tmp_path, **edits):
    """The example in a copy, with edited SQL, refreshed and trained in dev, which has its own tables then."""
    folder = shutil.copytree(demo[0], tmp_path / "flights", ignore=shutil.ignore_patterns("staging", "dev", "code"))
    for file, edit in edits.items():
        path = folder / "flights" / f"{file}.sql"
        before = path.read_text()
        path.write_text(edit(before))
        assert path.read_text() != before
    for arguments in (
        ["refresh"],
        ["train", "--as-of", "2013-05-01"],
        ["score", "--from", "2013-05-01", "--to", "2013-08-01"],
    ):
        done = headrace.run(folder, "run", *arguments)
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


def test_with_shuffled_labels_there_is_nothing_to_find(headrace, demo, tmp_path):
    assert 0.48 <= retrain(headrace, demo, tmp_path, arrivals=lambda _: SHUFFLED) <= 0.52


def test_a_planted_leak_shows(headrace, demo, tmp_path):
    honest = np.mean([month["roc_auc"] for month in demo[1].json()["months"][:3]])

    def early(text):
        return text.replace("arrived_at as available_at", "arrived_at - interval '1 day' as available_at")

    assert retrain(headrace, demo, tmp_path, carrier_delays=early) > honest + 0.02


def test_nothing_is_left_running(demo):
    folder, _ = demo
    with closing(sqlite3.connect(folder / ".headrace" / "prod" / "mlflow.db")) as connection:
        assert connection.execute("select distinct status from runs").fetchall() == [("FINISHED",)]
