"""kill -9 at every place of scoring with two processes, into every kind of destination; then the same command again."""

import signal

import pytest

from .project import PLACES, clean, predictions, write

SCORE = ("run", "score", "--since", "2024-01-20", "--until", "2024-02-10")
STEP = "score 2024-02 by version 1"
DIED = (
    "worker.predicted",
    "step.finished:score 2024-01-20T00:00:00 by version 1",
    "batch.joined:2024-02",
    "batch.predicted:2024-02",
    "commit.computed:answers.days",
    "commit.committed:answers.days",
    "database.computed:days",
    "database.written:days",
    "database.committed:days",
    "files.written:2024-02.parquet",
    "files.renamed:2024-02.parquet",
    "files.written:2024-02.csv",
    "files.renamed:2024-02.csv",
    f"step.executed:{STEP}",
    f"step.finished:{STEP}",
)


def ready(headrace, folder, url):
    clean(url)
    write(folder, url)
    for arguments in (["refresh"], ["train", "--as-of", "2024-02-01"]):
        done = headrace.run(folder, "run", *arguments)
        assert done.code == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def expected(headrace, postgres, tmp_path_factory):
    folder = ready(headrace, tmp_path_factory.mktemp("undisturbed") / "p", postgres)
    done = headrace.run(folder, *SCORE)
    assert done.code == 0, done.stderr
    return {place: predictions(folder, place, postgres) for place in PLACES}


def test_killed_at_every_place_the_rows_are_there_once(headrace, postgres, expected, tmp_path):
    folder = ready(headrace, tmp_path / "p", postgres)
    for place in DIED:
        done = headrace.run(folder, *SCORE, failpoint=place)
        if place == "worker.predicted":  # a worker dies, and the command says so
            assert done.code == 1, done.stderr
            assert "killed by signal 9" in done.stderr
        else:
            assert done.signal == signal.SIGKILL, f"{place} was not reached: {done.stderr}"
    done = headrace.run(folder, *SCORE)

    assert done.code == 0, done.stderr
    for place in PLACES:
        found = predictions(folder, place, postgres)
        assert found == expected[place], place
        assert len(found) == 42
    assert list((folder / ".headrace").rglob("*.new")) == []


def test_all_places_hold_the_same(expected):
    ids = [set(found) for found in expected.values()]

    assert all(each == ids[0] for each in ids)
    for each in ids[0]:
        rows = [found[each] for found in expected.values()]
        assert len({row["prediction"] for row in rows}) == 1
        assert len({row["features"] for row in rows}) == 1
