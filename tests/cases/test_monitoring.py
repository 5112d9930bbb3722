"""What a user may call a feature is watched on its own."""

import shutil
from pathlib import Path

CASES = Path(__file__).parent


def test_a_feature_called_as_an_output_is_watched_apart(headrace, tmp_path):
    folder = shutil.copytree(CASES / "feature_named_probability", tmp_path / "project")
    for command in ("refresh", "train --as-of 2024-01-25", "deploy", "score --since 2024-01-25", "monitor"):
        done = headrace.run(folder, "run", *command.split())
        assert done.code == 0, done.stderr
    rows = _rows(
        headrace,
        folder,
        'select column_name, "window", log_type, "count" as n from gold.p_profile_metrics order by all',
    )
    assert {row["column_name"] for row in rows} == {":table", "features.probability", "probability", "x"}
    windows = {row["window"] and row["window"]["start"] for row in rows if row["log_type"] == "INPUT"}
    for window in windows:
        mine = {row["column_name"]: row["n"] for row in rows if row["window"] and row["window"]["start"] == window}
        assert len(set(mine.values())) == 1, mine
    drifts = _rows(
        headrace,
        folder,
        "select column_name, population_stability_index as psi from gold.p_drift_metrics "
        "where drift_type = 'BASELINE' and count_delta > -400",
    )
    noise = [row["psi"] for row in drifts if row["column_name"] == "features.probability"]
    assert noise
    assert max(noise) < 0.3


def _rows(headrace, folder, query):
    return headrace.run(folder, "sql", query, "--json").json()
