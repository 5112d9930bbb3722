"""Runs on a real MLflow store: found again by the step's key, never left RUNNING; versions are made once."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from headrace.core.errors import NotFoundError
from headrace.tracking.autolog import fitted_params
from headrace.tracking.records import SignatureColumn
from headrace.tracking.tracking import Tracking


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    root = tmp_path_factory.mktemp("mlflow")
    return Tracking(f"sqlite:///{root}/store/mlflow.db", str(root / "artifacts"))


def test_a_run_keeps_what_was_logged_and_is_found_again_when_the_step_comes_again(tracking):
    with tracking.open_run("late", "step-1", name="first", tags={"headrace.code": "abc"}) as run:
        assert not run.done
        run.log_params({"depth": 3, "rate": 0.1})
        run.log_params({"depth": 3, "leaves": 7})
        run.log_metrics({"test_roc_auc": 0.75, "unknown": None})
        run.log_dict({"rows": 3}, "data.json")
    again = tracking.open_run("late", "step-1")
    with again:
        assert again.done
    assert again.id == run.id
    summary = tracking.run(run.id)
    assert (summary.model, summary.key, summary.status) == ("late", "step-1", "FINISHED")
    assert summary.params == {"depth": "3", "rate": "0.1", "leaves": "7"}
    assert summary.metrics == {"test_roc_auc": 0.75}
    assert summary.tags["headrace.code"] == "abc"
    assert summary.ended >= summary.started


def test_an_error_ends_a_run_as_failed_and_an_interrupt_as_killed(tracking):
    with pytest.raises(ValueError, match="no"), tracking.open_run("late", "step-2") as failed:
        raise ValueError("no")
    with pytest.raises(KeyboardInterrupt), tracking.open_run("late", "step-3") as killed:
        raise KeyboardInterrupt
    assert tracking.run(failed.id).status == "FAILED"
    assert tracking.run(failed.id).tags["headrace.error"] == "ValueError: no"
    assert tracking.run(killed.id).status == "KILLED"
    with tracking.open_run("late", "step-2") as another:
        assert another.id != failed.id


def test_a_finished_run_that_does_not_hold_any_more_is_followed_by_a_new_one(tracking):
    with tracking.open_run("late", "step-again") as first:
        pass
    with tracking.open_run("late", "step-again", holds=lambda run: run.id != first.id) as second:
        assert not second.done
    assert second.id != first.id
    assert tracking.open_run("late", "step-again", holds=lambda run: run.id != first.id).id == second.id


def test_a_run_of_a_process_that_died_is_closed_when_its_step_is_taken_up_again(tracking):
    script = f"""
import os, signal
from headrace.tracking.tracking import Tracking
with Tracking({tracking.url!r}, {tracking.artifacts!r}).open_run("late", "step-4") as run:
    print(run.id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    died = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    left = died.stdout.strip()
    assert tracking.run(left).status == "RUNNING"
    assert tracking.close_orphans(["another step"]) == []
    with tracking.open_run("late", "step-4") as run:
        assert run.id != left
        assert tracking.run(left).status == "KILLED"
        assert tracking.run(run.id).status == "RUNNING"
    assert tracking.close_orphans() == []
    assert died.stderr == ""


def test_what_a_users_own_mlflow_line_writes_lands_on_the_run_and_the_store_is_handed_back(tracking):
    import mlflow

    before = mlflow.get_tracking_uri()
    with tracking.open_run("late", "step-5") as run:
        mlflow.log_metric("mine", 1.0)
    assert tracking.run(run.id).metrics == {"mine": 1.0}
    assert mlflow.get_tracking_uri() == before
    assert mlflow.active_run() is None


def test_lightgbm_tells_its_parameters_and_rounds_without_a_line_of_the_user(tracking):
    import lightgbm

    X, y = np.random.default_rng(0).normal(size=(200, 2)), np.arange(200) % 2
    plain = lightgbm.train
    with tracking.open_run("late", "step-6") as run, run.autologging():
        model = lightgbm.LGBMClassifier(n_estimators=3, num_leaves=5, verbose=-1)
        model.fit(X, y, eval_X=X, eval_y=y)
    summary = tracking.run(run.id)
    assert summary.params["num_leaves"] == "5"
    assert "valid_0-binary_logloss" in summary.metrics
    assert lightgbm.train is plain or lightgbm.train.__wrapped__ is plain


def test_a_fitted_estimator_tells_its_parameters():
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    assert fitted_params(make_pipeline(Ridge(alpha=2.0)))["ridge__alpha"] == "2.0"
    assert fitted_params(object()) == {}


def test_a_model_is_logged_and_one_version_is_made_however_often_it_is_asked(tracking, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "spec.json").write_text("{}")
    with tracking.open_run("late", "step-7") as run:
        assert run.model_uri is None
        uri = run.log_model(
            tmp_path / "model",
            loader="json",
            inputs=[SignatureColumn(name="a", type="any"), SignatureColumn(name="b", type="any")],
            outputs=[SignatureColumn(name="probability", type="double")],
            requirements=["numpy"],
            example=pd.DataFrame({"a": [1, None], "b": ["x", None]}),
        )
        assert run.model_uri == uri
    first = tracking.register("late", key="step-8", uri=uri, run_id=run.id, tags={"stage": "None"})
    again = tracking.register("late", key="step-8", uri=uri, run_id=run.id, tags={"stage": "None"})
    assert first == again
    assert (first.version, first.run_id, first.tags["stage"]) == (1, run.id, "None")
    assert tracking.register("late", key="step-9", uri=uri, run_id=run.id, tags={}).version == 2
    tracking.tag_version("late", 1, "stage", "Staging")
    assert [version.tags.get("stage") for version in tracking.versions("late")] == ["Staging", None]
    for each in (uri, "models:/late/1"):
        with tracking.download(each) as folder:
            assert any(path.name == "spec.json" for path in folder.rglob("*"))
            assert folder.is_relative_to(tracking.artifacts)  # no copy


def test_an_unknown_run_is_not_found(tracking):
    with pytest.raises(NotFoundError, match="no MLflow run 'nowhere'"):
        tracking.run("nowhere")
