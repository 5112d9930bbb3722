"""A data frame and a pipeline of scikit-learn, with neither key nor time, come to Production and are watched there."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from tests.serving.conftest import serving

import headrace as hr

TOML = """
[project]
name = "tumours"
module = "tumours"

[env.dev]
"""
PAGE = Path(__file__).parents[2] / "docs" / "training.md"
LATER = "2999-01-01"


def program():
    """The one of the page; few rows are judged, too."""
    (block,) = [
        each
        for each in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        if "def fit(data, params)" in each and "bronze.rows" in each
    ]
    return block.replace("serve=hr.Serve())", "serve=hr.Serve(), monitor=hr.Monitor(min_rows=100))")


def frame():
    rows = load_breast_cancer(as_frame=True).frame
    return rows.rename(columns=lambda name: name.replace(" ", "_"))


@pytest.fixture(scope="module")
def folder(headrace, tmp_path_factory):
    """In Production, and scored on rows that came later."""
    folder = tmp_path_factory.mktemp("tumours")
    (folder / "headrace.toml").write_text(TOML)
    assert "min_rows" in program()
    (folder / "tumours.py").write_text(program())
    first = pd.concat([frame()[:450], frame()[:60]])  # 60 rows are there twice
    first.to_csv(folder / "rows.csv", index=False)
    for command in ("refresh", "train", "deploy"):
        done = headrace.run(folder, "run", command)
        assert done.code == 0, done.stderr
    later = frame()[450:].assign(worst_area=lambda rows: rows.worst_area * 3)
    pd.concat([first, later]).to_csv(folder / "rows.csv", index=False)
    for command in ("refresh", "score", f"monitor --as-of {LATER}"):
        done = headrace.run(folder, "run", *command.split())
        assert done.code == 0, done.stderr
    return folder


def table(headrace, folder, text):
    return headrace.run(folder, "sql", text, "--json").json()


def test_rows_that_came_later_are_scored_with_their_label_and_their_drift(headrace, folder):
    found = pd.DataFrame(table(headrace, folder, "select row_id, probability, in_sample from gold.tumour_predictions"))
    labels = pd.DataFrame(table(headrace, folder, "select row_id, target from arrivals.bronze_rows"))
    both = found.merge(labels, on="row_id")
    assert len(found) == len(both) == len(frame()) - 450
    (quality,) = table(
        headrace, folder, "select value from metrics.model_quality where metric = 'roc_auc' and slice_key is null"
    )
    assert quality["value"] == pytest.approx(roc_auc_score(both.target, both.probability), abs=1e-9)
    done = headrace.run(folder, "runs", "list", "--json").json()[0]
    (window,) = [
        step["output"]
        for step in headrace.run(folder, "runs", "show", done["run"], "--json").json()["steps"]
        if step["step"].startswith("window")
    ]
    drifted = [each["column"] for each in window["columns"] if each["verdict"] == "alert"]
    assert "worst_area" in "".join(drifted)


def test_the_drift_is_a_picture(headrace, folder):
    shown = headrace.run(folder, "monitor", "show", "tumour")
    assert shown.code == 0
    lines = [line.split() for line in shown.stdout.splitlines()]
    (worst,) = [line for line in lines if line[:1] == ["worst_area"]]
    assert "alert" in worst
    drawn = hr.open(folder=folder).models["tumour"].monitoring()._repr_html_()
    assert drawn.count("<svg") == 5  # a line a metric
    assert "<th" in drawn[: drawn.index("worst_area")]


def test_full_rows_are_answered_and_logged(headrace, folder):
    rows = frame().drop(columns="target")[:3]
    with serving(folder / ".headrace" / "dev" / "serving" / "tumour") as server:
        status, answer, _ = server.ask(
            "/invocations", {"dataframe_records": json.loads(rows.to_json(orient="records"))}
        )
        code, _ = server.end()
    assert (status, code) == (200, 0)
    assert headrace.run(folder, "run", "monitor").code == 0
    logged = table(headrace, folder, "select probability from inference.tumour order by row")
    assert [each["probability"] for each in logged] == [each["probability"] for each in answer["predictions"]]


def test_the_file_loaded_again_changes_nothing(headrace, folder):
    before = headrace.run(folder, "table", "list", "--json").json()
    rows = pd.read_csv(folder / "rows.csv")
    rows.sample(frac=1, random_state=0)[sorted(rows.columns)].to_csv(folder / "rows.csv", index=False)
    assert headrace.run(folder, "run", "refresh").code == 0
    after = {each["table"]: each["version"] for each in headrace.run(folder, "table", "list", "--json").json()}
    (arrivals,) = [each for each in before if each["table"] == "arrivals.bronze_rows"]
    assert after["arrivals.bronze_rows"] == arrivals["version"]


def test_equal_rows_are_on_one_side_of_the_hold_out(headrace, folder):
    parts = table(
        headrace,
        folder,
        "select left(row_id, 32) as content, count(*) as rows, count(distinct _part) as parts from training.tumour group by 1",
    )
    assert sum(each["rows"] > 1 for each in parts) == 60
    assert {each["parts"] for each in parts} == {1}
