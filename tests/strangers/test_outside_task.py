"""A project with a task and a metric of its own, of public names alone, goes through the whole loop."""

import json
import signal
import subprocess
import sys

import pytest
from deltalake import DeltaTable
from tests.cli import mini
from tests.cli.test_after_training import ask, free_port  # noqa: F401

AS_OF = "2024-02-20"
LATER = "2024-02-28"
PREDICTED = {"prediction": 3.0, "prediction_high": 4.0}
OWN = '''

class Span(hr.Task):
    """A number and the number that it hardly passes; never negative."""

    metrics = ("mae",)
    mean_output = "prediction"

    def columns(self, classes):
        return ["prediction", "prediction_high"]

    def check(self, values):
        numbers = super().check(values)
        self.refuse(numbers, (numbers < 0).to_numpy(), "negative")
        return numbers

    def finish(self, numbers, classes, calibration):
        prediction = numbers.round().clip(0)
        return {"prediction": prediction, "prediction_high": prediction + margin()}

    def baseline(self, y):
        return {"prediction": float(y.median()), "prediction_high": float(y.max())}


def margin():
    return 1.0


def passed(y, output):
    return float((y > output["prediction_high"]).mean())


surprise = hr.metric(passed, name="surprise", tasks=[Span], direction="minimize", bounds=(0, 1))

'''


@pytest.fixture(scope="module")
def ran(headrace, tmp_path_factory):
    folder = mini.write(
        tmp_path_factory.mktemp("outside") / "p",
        deployment="gates=[hr.signature(), hr.at_least(surprise, 0.5)], serve=hr.Serve(),"
        "monitor=hr.Monitor(window='1mo', min_rows=5, alerts=[hr.alert(surprise, above=0.9)])",
    )
    program = (folder / "mini.py").read_text()
    program = program.replace("\n\nraw = hr.Source", f"{OWN}\nraw = hr.Source").replace("hr.Regression(", "Span(")
    program = program.replace('slices=["customer"]', 'slices=["customer"], metrics=["mae", surprise]')
    (folder / "mini.py").write_text(program)
    (folder / "headrace.toml").write_text(mini.TOML.replace("[env.live]\n", "").replace("2024-03-01", AS_OF))
    for arguments in (
        ("refresh",),
        ("train", "--as-of", AS_OF),
        ("deploy", "--as-of", AS_OF),
        ("score", "--as-of", LATER),
        ("monitor", "--as-of", "2024-03-20"),
    ):
        done = headrace.run(folder, "run", *arguments)
        assert done.code == 0, (arguments, done.stdout, done.stderr)
    return folder


def table(folder, name):
    return (
        DeltaTable(str(folder.joinpath(".headrace", "dev", "lakehouse", *name.split("."))))
        .to_pyarrow_table()
        .to_pandas()
    )


def test_batch_scoring_has_its_columns(ran):
    scored = table(ran, "answers.days")

    assert len(scored) > 0
    assert scored[list(PREDICTED)].drop_duplicates().to_dict("records") == [PREDICTED]


def test_both_metrics_are_measured_on_the_test_rows(ran):
    found = table(ran, "metrics.evaluations")
    whole = found[found["slice_key"].isna()].set_index("metric")["value"]

    assert set(whole.index) == {"mae", "surprise"}
    assert 0 < whole["surprise"] < 0.5


def test_monitoring_measures_the_own_metric_with_an_interval(ran):
    found = table(ran, "metrics.model_quality")
    own = found[(found["metric"] == "surprise") & found["slice_key"].isna() & found["value"].notna()]

    assert len(own) > 0
    assert (own["low"] <= own["value"]).all()
    assert (own["value"] <= own["high"]).all()
    assert (own["prediction_mean"] == PREDICTED["prediction"]).all()


def test_mlflow_answers_in_a_process_without_the_project(ran):
    model = next(ran.glob(".headrace/dev/**/MLmodel")).parent
    script = f"""
import json, mlflow.pyfunc, pandas as pd
rows = pd.DataFrame({{"amount": [3.5], "orders": [2]}})
print(json.dumps(mlflow.pyfunc.load_model({str(model)!r}).predict(rows).to_dict("records")))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=ran.parent, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [PREDICTED]


def test_a_server_answers(ran, free_port):  # noqa: F811
    command = [sys.executable, "-m", "headrace.cli", "serve", "--port", str(free_port)]
    with subprocess.Popen(command, cwd=ran, stderr=subprocess.PIPE, text=True) as server:
        try:
            answered = ask(free_port, {"amount": 3.5, "orders": 2})
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate()

    assert {name: answered["predictions"][0][name] for name in PREDICTED} == PREDICTED
