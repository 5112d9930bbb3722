"""A store that was moved or copied: its paths lead to where it stands now, and nothing leads to its original."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from headrace.core.errors import ConfigError
from headrace.tracking import store_relocation

TABLES = """
create table experiments (experiment_id integer, name text, artifact_location text);
create table runs (run_uuid text, experiment_id integer, artifact_uri text);
create table model_versions (name text, source text, storage_location text);
create table trace_tags ("key" text, value text);
"""


def url(file):
    return f"sqlite:///{file}".replace("%", "%25").replace("?", "%3F")


def made(project):
    """A store in a project's folder as MLflow leaves it, and where it is."""
    file = project / ".headrace" / "dev" / "mlflow.db"
    file.parent.mkdir(parents=True)
    kept = f"{file.parent}/artifacts"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(TABLES)
        connection.execute(
            "insert into experiments values (0, 'Default', '/somewhere/mlruns/0'), (1, 'm', ?)", [f"{kept}/m"]
        )
        connection.execute(
            "insert into runs values ('r', 1, ?), ('s', 1, 's3://bucket/m/s')", [f"{kept}/m/r/artifacts"]
        )
        connection.execute("insert into runs values ('u', 1, ?)", [f"file://{project.as_posix()}/notes/u"])
        connection.execute("insert into model_versions values ('m', 'models:/m-1', ?)", [f"{kept}/m/models/m-1"])
        connection.execute(
            "insert into trace_tags values ('mlflow.artifactLocation', ?), ('note', ?)", [kept + "/t"] * 2
        )
        connection.commit()
    store_relocation.settle(url(file), project=project, artifacts=kept)
    return file


def stored(file):
    with closing(sqlite3.connect(file)) as connection:
        return [
            *connection.execute("select artifact_location from experiments union all select artifact_uri from runs"),
            *connection.execute(
                "select source from model_versions union all select storage_location from model_versions"
            ),
            *connection.execute("select value from trace_tags"),
        ]


@pytest.mark.parametrize("name", ["copy", "with a space", "100% mine?", "p/deeper"])
def test_every_path_of_a_copied_store_leads_into_the_copy_and_the_original_keeps_its_bytes(tmp_path, name):
    project = tmp_path / "p"
    file = made(project)
    before = file.read_bytes()
    copy = tmp_path / name
    shutil.copytree(project, copy)
    there = copy / file.relative_to(project)
    store_relocation.settle(url(there), project=copy)
    kept = f"{there.parent}/artifacts"
    assert [value for (value,) in stored(there)] == [
        f"{kept}/Default",
        f"{kept}/m",
        f"{kept}/m/r/artifacts",
        "s3://bucket/m/s",
        f"file://{copy.as_posix()}/notes/u".replace("%", "%25").replace(" ", "%20").replace("?", "%3F"),
        "models:/m-1",
        f"{kept}/m/models/m-1",
        f"{kept}/t",
        f"{file.parent}/artifacts/t",  # what somebody noted is his
    ]
    assert file.read_bytes() == before
    again = there.read_bytes()
    store_relocation.settle(url(there), project=copy)
    assert there.read_bytes() == again


def test_a_store_that_two_projects_share_stays_where_it_is(tmp_path):
    file = made(tmp_path / "p")
    before = file.read_bytes()
    store_relocation.settle(url(file), project=tmp_path / "another")
    (tmp_path / "link").symlink_to(tmp_path / "p")
    store_relocation.settle(url(tmp_path / "link" / file.relative_to(tmp_path / "p")), project=tmp_path / "link")
    assert file.read_bytes() == before


def test_what_is_no_store_is_left_alone(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database")
    store_relocation.settle(url(tmp_path / "mlflow.db"))
    store_relocation.settle(url(tmp_path / "none.db"))
    store_relocation.settle("postgresql://host/mlflow")
    assert not (tmp_path / "none.db").exists()


def test_a_copy_that_cannot_be_set_right_is_not_used(tmp_path, monkeypatch):
    file = made(tmp_path / "p")
    shutil.move(tmp_path / "p", tmp_path / "q")
    there = tmp_path / "q" / file.relative_to(tmp_path / "p")
    monkeypatch.setattr(store_relocation, "PATIENCE", 0.05)
    with closing(sqlite3.connect(there, isolation_level=None)) as other:
        other.execute("begin exclusive")
        with pytest.raises(ConfigError, match="cannot be written: database is locked"):
            store_relocation.settle(url(there), project=tmp_path / "q")
