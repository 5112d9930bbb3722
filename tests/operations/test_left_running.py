"""MLflow runs that a killed training left RUNNING are closed by the next one, whatever it trains; nobody else's are."""

import signal

import mlflow
import pytest
from tests.cli import mini

DYING = """\
def fit(data, params):
    import os
    import pathlib
    import signal

    if pathlib.Path("die").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return Mean().fit(data.X, data.y)
"""


@pytest.fixture
def killed(headrace, tmp_path):
    """A project whose first training was killed while it fitted."""
    folder = mini.write(tmp_path / "mini")
    program = (folder / "mini.py").read_text()
    plain = "def fit(data, params):\n    return Mean().fit(data.X, data.y)\n"
    assert plain in program
    (folder / "mini.py").write_text(program.replace(plain, DYING))
    (folder / "die").touch()
    assert headrace.run(folder, "run", "refresh").code == 0
    assert headrace.run(folder, "run", "train", "--as-of", "2024-02-01").signal == signal.SIGKILL
    (folder / "die").unlink()
    return folder


def test_it_is_told_by_doctor_and_closed_by_the_next_training_and_no_other_run_is(headrace, killed):
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{killed}/.headrace/dev/mlflow.db")
    (ours,) = client.search_runs([client.get_experiment_by_name("days").experiment_id])
    assert ours.info.status == "RUNNING"
    theirs = client.create_run("0"), client.create_run("0", tags={"headrace.step": "of another ledger"})
    before = {each["check"]: each for each in headrace.run(killed, "doctor", "--json").json()}["mlflow runs"]
    done = headrace.run(killed, "run", "train", "--as-of", "2024-02-05")
    after = {each["check"]: each for each in headrace.run(killed, "doctor", "--json").json()}["mlflow runs"]

    assert done.code == 0, done.stderr
    assert before["result"] == "warning"
    assert ours.info.run_id in before["found"]
    assert not any(each.info.run_id in before["found"] for each in theirs)
    assert client.get_run(ours.info.run_id).info.status == "KILLED"
    assert [client.get_run(each.info.run_id).info.status for each in theirs] == ["RUNNING", "RUNNING"]
    assert after["result"] == "ok"
