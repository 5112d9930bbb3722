"""One contract for everything that predicts: the same records, to the last bit, wherever rows are predicted."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.core.errors import ConfigError, DataError
from headrace.inference.engines import base, local
from headrace.inference.engines.local import Local
from headrace.inference.engines.spark import Spark

from .conftest import full_rows, write_version

ENGINES = ("one process", "two processes", "spark")


@contextmanager
def opened(kind, request):
    engine = Spark(request.getfixturevalue("spark")) if kind == "spark" else Local(1 + (kind == "two processes"))
    with closing(engine):
        yield engine


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(base, "CHUNK", 1000)


def records(engine, version, rows):
    found = pa.concat_tables(list(engine.predict(version, rows)))
    return found.drop_columns(["scored_at"])


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("estimator", ["version", "linear"])
def test_every_engine_gives_the_same_bits(kind, estimator, request):
    version, rows = request.getfixturevalue(estimator), full_rows(5500)
    with closing(Local(1)) as alone:
        expected = records(alone, version, rows)
    with opened(kind, request) as engine:
        found = records(engine, version, rows)

    assert found.schema.equals(expected.schema)
    assert found.combine_chunks().equals(expected.combine_chunks())
    assert (
        found["probability"].combine_chunks().buffers()[1].equals(expected["probability"].combine_chunks().buffers()[1])
    )


@pytest.mark.parametrize("kind", ENGINES)
def test_no_row_is_lost_and_none_comes_twice(kind, version, request):
    rows = full_rows(3210)
    with opened(kind, request) as engine:
        found = records(engine, version, rows)
        again = records(engine, version, rows.slice(1000, 1))

    assert found["id"].to_pylist() == rows["id"].to_pylist()
    assert len(set(found["prediction_id"].to_pylist())) == 3210
    assert again["prediction_id"][0] == found["prediction_id"][1000]


@pytest.mark.parametrize("kind", ENGINES)
def test_rows_that_cannot_be_read_are_told(kind, version, request):
    rows = full_rows(10)
    texts = rows.set_column(rows.schema.get_field_index("f1"), "f1", pa.array(["x"] * 10))
    with opened(kind, request) as engine:
        with pytest.raises(DataError, match="f1"):
            list(engine.predict(version, texts))
        assert records(engine, version, rows).num_rows == 10


def test_few_rows_are_not_worth_a_process(version):
    with closing(Local()) as engine:
        assert records(engine, version, full_rows(100)).num_rows == 100
        assert children(os.getpid()) & python_workers() == set()


def test_one_process_gives_the_same_bits_for_many_rows(tmp_path, monkeypatch):
    version, rows = write_version(tmp_path / "v1"), full_rows(5500)
    with closing(Local(1)) as engine:
        few = records(engine, version, rows)
        monkeypatch.setattr(local, "FEW", 5500)
        monkeypatch.setattr(local, "cores", lambda: 1)
        many = records(engine, version, rows)

    assert many.equals(few)


def test_another_version_gets_workers_of_its_own(version, linear):
    rows = full_rows(2000)
    with closing(Local(2)) as engine, closing(Local(1)) as alone:
        for each in (version, linear, version):
            assert records(engine, each, rows).equals(records(alone, each, rows))


def test_a_worker_that_is_killed_is_told_and_its_rows_can_be_asked_for_again(version):
    with closing(Local(2)) as engine:
        given = engine.predict(version, full_rows(200_000))
        next(given)
        os.kill((children(os.getpid()) & python_workers()).pop(), signal.SIGKILL)
        with pytest.raises(DataError, match="killed by signal 9"):
            list(given)
    with closing(Local(2)) as engine:
        assert records(engine, version, full_rows(2000)).num_rows == 2000
    assert children(os.getpid()) & python_workers() == set()


def test_workers_end_with_a_parent_that_is_killed(version):
    program = f"""
        import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r})
        from pathlib import Path
        from tests.inference.batch.conftest import full_rows
        from headrace.inference.engines.local import Local
        from headrace.scoring.predictor import PackagePredictor
        from headrace.scoring.version import LoadedVersion
        folder = Path({str(version.folder)!r})
        given = Local(2).predict(LoadedVersion("late", 1, PackagePredictor(folder), folder=folder), full_rows(2_000_000))
        next(given)
        print("working", flush=True)
        for _ in given:
            pass
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "working\n"
        workers = children(parent.pid)
        parent.kill()
    assert len(workers) == 2
    assert eventually(lambda: not any(alive(worker) for worker in workers))


def test_a_server_that_is_not_there_is_told_at_once():
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        Spark("sc://127.0.0.1:1/;token=geheim")

    assert "geheim" not in str(caught.value)


def children(pid):
    return {
        int(each) for task in Path(f"/proc/{pid}/task").iterdir() for each in (task / "children").read_text().split()
    }


def python_workers():
    return {pid for pid in children(os.getpid()) if b"engines.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def eventually(holds, seconds=20):
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
