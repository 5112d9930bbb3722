"""What the label of a decision is: one statement for training, back-test and quality, and for what servers answered."""

import json
import subprocess
import sys

from tests.serving.conftest import serving

TAKEN_BACK = "id,known,y\n2900,2024-03-29T00:00:00Z,\n"


def test_a_label_that_is_taken_back_ends_neither_training_nor_back_test(case):
    found = case("label_taken_back")
    found.run("refresh", "train --as-of 2024-03-01", "deploy --as-of 2024-03-01", "score")
    found.headrace.run(found.folder, "run", "monitor")
    before = found.table("metrics.model_quality")
    (found.folder / "l2.csv").write_text(TAKEN_BACK)
    found.run("refresh")
    found.headrace.run(found.folder, "run", "monitor")
    after = found.table("metrics.model_quality")
    windows = [rows.groupby("window_start")["window_labelled"].first() for rows in (before, after)]
    assert windows[0].sum() - windows[1].sum() == 1
    found.run("train --as-of 2024-03-31")
    trained = found.table("training.m")
    assert 2900 not in set(trained["id"])
    assert {2899, 2901} <= set(trained["id"])
    found.run("backtest --since 2024-03-01 --until 2024-04-01")
    assert found.table("metrics.backtests")["labelled"].iloc[0] > 0


def test_an_answer_whose_key_holds_the_moment_finds_its_label(case):
    found = case("moment_in_key_served")
    found.run("refresh", "train", "deploy", "publish")
    home = next((found.folder / ".headrace" / "dev").rglob("serving.json")).parent
    with serving(home) as server:
        for moment in ("2024-01-08T05:00:00Z", "2024-01-08T06:00:00+01:00", "2024-01-08 05:00:00"):
            asked = {"rows": [{"sensor": "s1", "x": 1, "slot": moment}]}
            status, answer, _ = server.ask("/predict", asked)
            assert (status, answer["predictions"][0]["probability"]) == (200, 0.9)
        status, answer, _ = server.ask(
            "/predict", {"rows": [{"sensor": "s1", "x": 1}]}
        )  # now, which is its key as well
        assert status == 200, answer
        status, answer, _ = server.ask("/predict", {"rows": [{"x": 1, "slot": "2024-01-08T05:00:00Z"}]})
        assert (status, "sensor" in answer["message"]) == (400, True)
    found.run("ingest-log")
    program = (
        "import json, sys; sys.path.insert(0, '.'); import proj\n"
        "from datetime import UTC, datetime\n"
        "from headrace.monitoring.quality import realised\n"
        "from headrace.workspace.workspace import open_workspace\n"
        "with open_workspace('dev') as w:\n"
        "    at = datetime(2024, 1, 20, tzinfo=UTC)\n"
        "    found = realised(w.lakehouse, proj.m, 'inference.m', version=1, as_of=at, granularity='1d', min_rows=1)\n"
        "    print(json.dumps([[each.rows, each.labelled] for each in found.windows]))\n"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=found.folder, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [[1, 1]]  # three spellings of one decision
