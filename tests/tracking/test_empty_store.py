"""The store that a new project begins with: made once for each version of MLflow, and only as it was made."""

import sqlite3

import pytest

from headrace.tracking import empty_store, store


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    empty_store._made.clear()
    yield tmp_path / "cache" / "headrace"
    empty_store._made.clear()


def connect(folder):
    folder.mkdir()
    return store.connect(f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts"))


def tables(folder):
    with sqlite3.connect(folder / "mlflow.db") as database:
        found = database.execute("select name, sql from sqlite_master order by name").fetchall()
    database.close()
    return found


@pytest.fixture
def made_anew(monkeypatch):
    """How many stores were made by migrations."""
    utils = store.load("mlflow.store.db.utils")
    count = []
    make = utils._initialize_tables
    monkeypatch.setattr(utils, "_initialize_tables", lambda engine: (count.append(1), make(engine)))
    return count


def test_the_second_store_is_a_copy_of_the_first_and_has_no_run(cache, made_anew, tmp_path):
    first = connect(tmp_path / "first")
    first.create_run(first.create_experiment("x"))
    assert len(made_anew) == 1
    (kept,) = cache.iterdir()
    assert kept.name.endswith(".db")
    empty_store._made.clear()  # another process
    second = connect(tmp_path / "second")
    assert len(made_anew) == 1
    assert tables(tmp_path / "second") == tables(tmp_path / "first")
    assert [each.name for each in second.search_experiments()] == ["Default"]
    assert second.create_run("0").info.run_id


@pytest.mark.parametrize("spoil", [lambda content: content[:-1], lambda content: b"", lambda content: content + b"\0"])
def test_what_was_changed_is_not_used(cache, made_anew, tmp_path, spoil):
    connect(tmp_path / "first")
    (kept,) = cache.iterdir()
    kept.write_bytes(spoil(kept.read_bytes()))
    empty_store._made.clear()
    connect(tmp_path / "second")
    assert len(made_anew) == 2
    (again,) = cache.iterdir()
    assert again.name == empty_store._file(again.read_bytes())
    empty_store._made.clear()
    connect(tmp_path / "third")
    assert len(made_anew) == 2


def test_one_of_another_version_is_not_used(cache, made_anew, tmp_path, monkeypatch):
    connect(tmp_path / "first")
    empty_store._made.clear()
    monkeypatch.setattr(empty_store, "version", lambda _: "3.99.0")
    connect(tmp_path / "second")
    assert len(made_anew) == 2


def test_a_cache_that_cannot_be_written_is_no_error(cache, made_anew, tmp_path):
    cache.parent.write_text("a file")
    connect(tmp_path / "first")
    empty_store._made.clear()
    connect(tmp_path / "second")
    assert len(made_anew) == 2


def test_nobody_has_no_cache(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(empty_store.Path, "home", classmethod(lambda _: (_ for _ in ()).throw(RuntimeError("no home"))))
    assert empty_store.read_empty() is None
    empty_store.keep_empty(b"x")
