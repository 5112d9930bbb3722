"""A model that MLflow keeps on S3 is served from a copy, which goes when the server ends and when it does not load."""

import tempfile
from contextlib import ExitStack

import mlflow
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression
from tests.support.s3 import KEY, SECRET

from headrace.core.errors import DataError, UnavailableError
from headrace.serving.flavours.load import load_bare


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The folder of temporary files."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def uri(s3, tmp_path, monkeypatch):
    """A logged model, whose artifacts are on S3."""
    given = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "MLFLOW_S3_ENDPOINT_URL": s3.url}
    for name, value in {**given, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}.items():
        monkeypatch.setenv(name, value)
    if "bare" not in [each["Name"] for each in s3.client.list_buckets()["Buckets"]]:
        s3.client.create_bucket(Bucket="bare")
    X = pd.DataFrame({"a": [0.0, 1.0, 2.0]})
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    try:
        experiment = mlflow.create_experiment("bare", artifact_location="s3://bare/runs")
        with mlflow.start_run(experiment_id=experiment):
            logged = mlflow.sklearn.log_model(
                LinearRegression().fit(X, X["a"]),
                name="model",
                signature=infer_signature(X, X["a"]),
                input_example=X,
                pip_requirements=[],
                serialization_format="cloudpickle",
            )
        yield logged.model_uri
    finally:
        mlflow.set_tracking_uri(None)
        for name in s3.names("bare"):
            s3.client.delete_object(Bucket="bare", Key=name)


def test_a_copy_goes_with_the_server_and_where_it_does_not_load(uri, s3, scratch):
    with ExitStack() as held:
        traffic = load_bare(uri, held=held)
        assert [each.name.startswith("headrace-model-") for each in scratch.iterdir()] == [True]
        assert traffic.manifest.primary.folder.startswith(str(scratch))
    assert list(scratch.iterdir()) == []

    weights = next(name for name in s3.names("bare") if name.endswith("model.pkl"))
    s3.client.put_object(Bucket="bare", Key=weights, Body=b"no model")
    with ExitStack() as held:
        with pytest.raises(DataError, match="does not load"):
            load_bare(uri, held=held)
        assert list(scratch.iterdir()) == []


def test_what_is_gone_is_told_with_the_place_and_the_next_step(uri, s3, scratch):
    for name in s3.names("bare"):
        s3.client.delete_object(Bucket="bare", Key=name)

    with pytest.raises(
        DataError, match=r"there is no MLmodel for 'models:/m-.* at s3://bare/.*: nothing is there"
    ) as told:
        load_bare(uri)
    assert "\n" not in told.value.what
    assert "backup" in told.value.hint
    assert "MLFLOW_TRACKING_URI" not in told.value.hint
    assert list(scratch.iterdir()) == []


def test_keys_that_are_refused_are_told_as_such(uri, monkeypatch, scratch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-one")

    with pytest.raises(UnavailableError, match=r"cannot be reached: .*SignatureDoesNotMatch") as told:
        load_bare(uri)
    assert "AWS_SECRET_ACCESS_KEY" in told.value.hint
    assert "a-wrong-one" not in str(told.value)
    assert list(scratch.iterdir()) == []


def test_a_model_that_mlflow_does_not_know_is_to_be_asked_for_elsewhere(uri):
    with pytest.raises(DataError, match="MLflow gives nothing for 'models:/nobody/5'") as told:
        load_bare("models:/nobody/5")
    assert "MLFLOW_TRACKING_URI" in told.value.hint
