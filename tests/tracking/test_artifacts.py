"""Artifacts belong to the environment's own store, whatever keeps its runs; copies of them do not stay."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading

import pandas as pd
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from tests.support.s3 import KEY, LISTS, SECRET

from headrace.core.errors import ConfigError, DataError, MissingExtraError, UnavailableError
from headrace.core.folders import folder_digest
from headrace.core.ownership import Owner
from headrace.environments import config
from headrace.operations.serving import reaching
from headrace.tracking.artifact_store import ArtifactStore, variables
from headrace.tracking.records import SignatureColumn
from headrace.tracking.tracking import Tracking

OWNER = Owner(state="s", project="shop", environment="dev")
OPEN = """
import sys
from headrace.tracking import store
from headrace.tracking.tracking import Tracking
store.load()
print("ready", flush=True)
sys.stdin.readline()
print(len(Tracking(*sys.argv[1:]).runs()))
"""


def new_database(server, name):
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"create database {name}"))
    engine.dispose()
    return make_url(server).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def database(postgres_server):
    return new_database(postgres_server, "runs")


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """MLflow's own tables, which take seconds to make."""
    root = tmp_path_factory.mktemp("store")
    Tracking(f"sqlite:///{root}/mlflow.db", f"{root}/artifacts").runs()
    return root / "mlflow.db"


@pytest.fixture
def embedded(tmp_path, empty_store):
    """The URL of an embedded store."""
    return f"sqlite:///{shutil.copy(empty_store, tmp_path)}"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The process is in a folder that is nobody's."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The folder of temporary files."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def log(tracking, folder, key, model="late"):
    """Logs a model, and gives the run's id and the model's URI."""
    package = folder / f"package {key}"
    package.mkdir()
    (package / "spec.json").write_text("{}")
    with tracking.open_run(model, key) as run:
        run.log_dict({"rows": 3}, "data.json")
        uri = run.log_model(
            package,
            loader="json",
            inputs=[SignatureColumn(name="a", type="any")],
            outputs=[SignatureColumn(name="p", type="double")],
            requirements=["numpy"],
            example=pd.DataFrame({"a": [1]}),
        )
    return run.id, uri


def on_s3(s3, url, bucket, **changes):
    s3.client.create_bucket(Bucket=bucket)
    options = {**s3.options, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, **changes}
    return Tracking(url, f"s3://{bucket}/dev", options=lambda: options)


def test_three_processes_at_once_make_the_tables_of_a_new_store(postgres_server, tmp_path):
    url = new_database(postgres_server, "three_at_once")
    command = [sys.executable, "-W", "ignore", "-c", OPEN, url, f"{tmp_path}/artifacts"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    opened = [subprocess.Popen(command, **pipes) for _ in range(3)]
    for each in opened:
        assert each.stdout.readline() == "ready\n"
    for each in opened:
        each.stdin.write("\n")
        each.stdin.flush()
    ended = [each.communicate(timeout=300) for each in opened]

    assert [each.returncode for each in opened] == [0, 0, 0], ended
    assert [told for told, _ in ended] == ["0\n"] * 3


def test_a_database_keeps_runs_and_the_environment_keeps_what_they_log(database, tmp_path, elsewhere):
    import mlflow

    kept = tmp_path / "artifacts"
    tracking = Tracking(database, str(kept), owner=OWNER, check=lambda store: store.claim("me"))
    run, uri = log(tracking, tmp_path, "one")
    with tracking.download(uri) as folder:
        assert folder.is_relative_to(kept / "late")
        assert any(path.name == "spec.json" for path in folder.rglob("*"))
    client = mlflow.MlflowClient(tracking_uri=database)
    assert client.get_run(run).info.artifact_uri.startswith(f"{kept}/late/")
    assert (kept / "late" / run / "artifacts" / "data.json").is_file()
    client.create_experiment("a user's own")
    places = {each.name: each.artifact_location for each in client.search_experiments()}
    assert places.pop("late") == f"{kept}/late"
    assert places.pop("Default") == f"{kept}/Default"
    assert len(places) == 2
    assert all(place.startswith(f"{kept}/") for place in places.values()), places
    assert list(elsewhere.iterdir()) == []


def test_what_is_declared_anew_holds_for_the_next_runs_and_the_old_stay_where_they_are(database, tmp_path, elsewhere):
    first = Tracking(database, f"{tmp_path}/first")
    _, old = log(first, tmp_path, "one", "moved")
    second = Tracking(database, f"{tmp_path}/second")
    _, new = log(second, tmp_path, "two", "moved")

    for uri, place in ((old, "first"), (new, "second")):
        with second.download(uri) as folder:
            assert folder.is_relative_to(tmp_path / place)


def test_an_environment_does_not_move_what_another_one_keeps_in_the_same_database(database, tmp_path, elsewhere):
    log(
        Tracking(database, f"{tmp_path}/dev", owner=OWNER, check=lambda mark: mark.claim("d")),
        tmp_path,
        "one",
        "shared",
    )
    prod = Owner(state="t", project="shop", environment="prod")
    other = Tracking(database, f"{tmp_path}/prod", owner=prod, check=lambda mark: mark.claim("p"))

    with pytest.raises(ConfigError, match="another environment keeps its runs") as refused:
        other.open_run("shared", "two")
    assert f"{tmp_path}/dev/shared" in str(refused.value)


@pytest.mark.parametrize("lost", ["MLmodel", "data"])
def test_what_cannot_be_read_back_is_not_registered(embedded, tmp_path, lost):
    tracking = Tracking(embedded, f"{tmp_path}/artifacts")
    run, uri = log(tracking, tmp_path, "one")
    with tracking.download(uri) as folder:
        there = folder / (
            "MLmodel" if lost == "MLmodel" else next(each.name for each in folder.iterdir() if each.is_dir())
        )
        there.rename(tmp_path / "lost")

    with pytest.raises(DataError) as refused:
        tracking.register("late", key="k", uri=uri, run_id=run, tags={})
    assert f"cannot be read at {folder}" in str(refused.value)
    assert there.name in str(refused.value)
    assert tracking.versions("late") == []


def test_what_is_gone_from_s3_is_not_registered(s3, embedded, tmp_path, scratch):
    tracking = on_s3(s3, embedded, "gone")
    run, uri = log(tracking, tmp_path, "one")
    for name in s3.names("gone"):
        s3.client.delete_object(Bucket="gone", Key=name)

    with pytest.raises(DataError, match=r"cannot be read at s3://gone/dev/late/.*MLmodel"):
        tracking.register("late", key="k", uri=uri, run_id=run, tags={})
    with pytest.raises(DataError, match=r"cannot be read at s3://gone/dev/late/.*: nothing is there"):
        tracking.digest(uri)
    assert tracking.versions("late") == []
    assert list(scratch.iterdir()) == []


def test_copies_of_what_is_on_s3_go_after_use_and_after_an_error(s3, embedded, tmp_path, scratch):
    tracking = on_s3(s3, embedded, "copies")
    run, uri = log(tracking, tmp_path, "one")
    tracking.register("late", key="k", uri=uri, run_id=run, tags={})

    digest = tracking.digest(uri)
    with tracking.download("models:/late/1") as folder:
        assert folder.is_relative_to(scratch)
        assert folder_digest(folder, without=("registered_model_meta",)) == digest
    with tracking.logged_folder(uri) as folder:
        assert (folder / "spec.json").read_text() == "{}"
    with pytest.raises(ZeroDivisionError), tracking.logged_folder(uri):
        raise ZeroDivisionError
    s3.client.delete_object(Bucket="copies", Key=next(each for each in s3.names("copies") if each.endswith("/MLmodel")))
    with pytest.raises(DataError, match="cannot be read"), tracking.logged_folder(uri):
        pass
    assert list(scratch.iterdir()) == []


def test_what_gives_access_is_nowhere_afterwards(s3, embedded, tmp_path, monkeypatch):
    import boto3

    monkeypatch.setenv("AWS_SESSION_TOKEN", "of somebody else")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    boto3.setup_default_session(region_name="eu-north-1")
    before, environment = boto3.DEFAULT_SESSION, dict(os.environ)
    tracking = on_s3(s3, embedded, "secret")
    log(tracking, tmp_path, "one")

    assert len(s3.names("secret")) > 2
    assert boto3.DEFAULT_SESSION is before
    assert {name for name, value in os.environ.items() if SECRET in value or KEY in value or s3.url in value} == set()
    assert os.environ["AWS_SESSION_TOKEN"] == environment["AWS_SESSION_TOKEN"]
    from mlflow.store.artifact import s3_artifact_repo

    assert s3_artifact_repo._cached_get_s3_client.cache_info().currsize == 0


def test_keys_that_are_refused_are_told_with_the_place_and_without_themselves(s3, embedded, tmp_path):
    tracking = on_s3(s3, embedded, "closed", AWS_SECRET_ACCESS_KEY="a-wrong-one")

    with pytest.raises(UnavailableError, match="artifacts at s3://closed/dev cannot be reached") as refused:
        log(tracking, tmp_path, "one")
    assert "storage_options" in str(refused.value)
    assert "a-wrong-one" not in str(refused.value)
    assert tracking.runs("late")[0].status == "FAILED"


@pytest.mark.parametrize(
    "changes", [{"AWS_SECRET_ACCESS_KEY": "a-wrong-one"}, {"AWS_ACCESS_KEY_ID": LISTS}], ids=["unknown", "only lists"]
)
def test_keys_that_do_not_read_are_told_as_such_and_not_as_artifacts_that_are_gone(s3, embedded, tmp_path, changes):
    bucket = f"unread-{len(changes.get('AWS_SECRET_ACCESS_KEY', ''))}"
    _, uri = log(on_s3(s3, embedded, bucket), tmp_path, "one")
    options = {**s3.options, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, **changes}
    refused = Tracking(embedded, f"s3://{bucket}/dev", options=lambda: options)

    with pytest.raises(UnavailableError, match=f"artifacts at s3://{bucket}/dev cannot be reached") as told:
        refused.digest(uri)
    assert "storage_options" in told.value.hint
    assert "backup" not in str(told.value)


def test_a_client_that_is_not_installed_is_told_before_anything_is_fitted(embedded, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)

    with pytest.raises(MissingExtraError, match="'boto3'") as told:
        Tracking(embedded, "s3://b/dev").open_run("late", "one")
    assert "headrace[s3]" in told.value.hint


def test_options_as_delta_takes_them_are_variables_of_mlflows_client():
    options = {
        "endpoint_url": "http://h:1",
        "aws_access_key_id": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "region": "r",
        "aws_virtual_hosted_style_request": "false",
        "AWS_ROLE_ARN": "a",
        "timeout": "30s",
    }
    assert variables(options) == {
        "AWS_SESSION_TOKEN": None,
        "AWS_PROFILE": None,
        "MLFLOW_S3_ENDPOINT_URL": "http://h:1",
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_DEFAULT_REGION": "r",
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path",
        "AWS_ROLE_ARN": "a",
    }
    assert variables({"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "token": "t"})["AWS_SESSION_TOKEN"] == "t"


def test_two_threads_leave_nothing_behind(monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "mine")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    kept = ArtifactStore("s3://b", lambda: {"access_key_id": "hidden", "secret_access_key": "hidden"})
    both, inside = threading.Barrier(2), []

    def reach():
        both.wait()
        with kept.reached():
            inside.append((os.environ["AWS_ACCESS_KEY_ID"], os.environ.get("AWS_SESSION_TOKEN")))

    threads = [threading.Thread(target=reach) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert inside == [("hidden", None)] * 2
    assert (os.environ.get("AWS_ACCESS_KEY_ID"), os.environ["AWS_SESSION_TOKEN"]) == (None, "mine")


def test_a_client_that_is_missing_while_artifacts_are_read_is_told():
    with (
        pytest.raises(MissingExtraError) as told,
        ArtifactStore("s3://b", None).reached(),
    ):
        raise ModuleNotFoundError("No module named 'boto3'", name="boto3")
    assert "headrace[s3]" in told.value.hint


def test_a_servers_process_reaches_artifacts_by_the_environments_options(monkeypatch, tmp_path):
    """As each command of the environment does, whatever keys the shell has."""
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "shell"),
        ("AWS_SESSION_TOKEN", "shell"),
        ("MLFLOW_S3_ENDPOINT_URL", "http://x"),
    ):
        monkeypatch.setenv(name, value)
    (tmp_path / "headrace.toml").write_text(
        '[project]\nname = "p"\nmodule = "p"\n\n[env.dev]\nartifacts = "s3://b/a"\n[env.dev.storage_options]\n'
        'endpoint = "http://env"\naccess_key_id = {secret = "MY_KEY"}\nsecret_access_key = {secret = "MY_SECRET"}\n'
    )
    monkeypatch.setenv("MY_KEY", "own")
    monkeypatch.setenv("MY_SECRET", "own")
    given = reaching(config.load(tmp_path).environments[0])
    assert (given["AWS_ACCESS_KEY_ID"], given["MLFLOW_S3_ENDPOINT_URL"]) == ("own", "http://env")
    assert "AWS_SESSION_TOKEN" not in given
    assert given["MLFLOW_TRACKING_URI"].startswith("sqlite:///")
