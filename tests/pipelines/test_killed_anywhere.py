"""kill -9 inside every step and at every boundary of refresh, train and score, then the same command again.

The places come from the run ledger of an undisturbed run, not from a clock. One project is killed at one place after the
other, each time where it had come to, until it is through; what it holds then must be what the undisturbed one holds.
"""

import signal
import sqlite3
from contextlib import closing

import pytest
from deltalake import DeltaTable
from tests.strangers.conftest import project

PIPELINES = (
    ("refresh", ["refresh"]),
    ("train delivery_days", ["train", "--as-of", "2024-04-01"]),
    ("score delivery_days", ["score", "--as-of", "2024-06-15", "--to", "2024-05-28"]),
)
OWN_TIMES = {"_written_at", "scored_at", "measured_at", "at"}
RUN_OF_ITS_OWN = {"run_id", "step"}  # ids differ from run to run by design


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    from tests.strangers.data import write_shop

    folder = tmp_path_factory.mktemp("files") / "data"
    write_shop(folder, orders=600)
    return folder


@pytest.fixture(scope="module")
def undisturbed(headrace, files, tmp_path_factory):
    folder = project("shop", files, tmp_path_factory.mktemp("undisturbed"))
    for _, arguments in PIPELINES:
        done = headrace.run(folder, "run", *arguments)
        assert done.code == 0, done.stderr
    return folder


def ledger(folder, query, *values):
    with closing(sqlite3.connect(folder / ".headrace" / "dev" / "state.db")) as connection:
        return connection.execute(query, values).fetchall()


def steps(folder, job):
    found = ledger(
        folder, "select s.name from job_steps s join job_runs r on r.id = s.run_id where r.job = ? order by s.seq", job
    )
    return [name for (name,) in found]


def places(folder, job):
    """Every place where a run of this job can die: at its ends, around each step, and around each commit inside one."""
    found = [f"run.opened:{job}"]
    for name in steps(folder, job):
        found.append(f"step.started:{name}")
        found += [
            f"commit.{moment}:{name.split()[1]}"
            for moment in ("computed", "committed")
            if name.split()[0] in ("load", "build")
        ]
        if name == "training set":
            found += ["commit.computed:training.delivery_days", "commit.committed:training.delivery_days"]
        if name.startswith("score "):
            found += ["commit.computed:answers.delivery_days", "commit.committed:answers.delivery_days"]
        found += [f"step.executed:{name}", f"step.finished:{name}"]
    return [*found, f"run.closing:{job}"]


def contents(folder):
    """Every table's rows, without what is bound to differ: times of writing and ids of runs."""
    root = folder / ".headrace" / "dev" / "lakehouse"
    found = {}
    for log in sorted(root.glob("*/*/_delta_log")):
        table = DeltaTable(str(log.parent)).to_pyarrow_table()
        columns = [name for name in table.column_names if name not in OWN_TIMES | RUN_OF_ITS_OWN]
        rows = table.select(columns).to_pylist()
        found[f"{log.parent.parent.name}.{log.parent.name}"] = sorted(map(repr, rows))
    return found


def executions(folder):
    """How often each step was executed to its end: (job, step) → times."""
    query = "select job, name, count(*) from job_steps where status = 'done' group by job, name"
    return {(job, name): times for job, name, times in ledger(folder, query)}


@pytest.fixture(scope="module")
def killed(headrace, files, undisturbed, tmp_path_factory):
    """A project that died at every place, one after the other. Gives its folder and the places where it died."""
    folder = project("shop", files, tmp_path_factory.mktemp("killed"))
    died = []
    for job, arguments in PIPELINES:
        for place in places(undisturbed, job):
            done = headrace.run(folder, "run", *arguments, failpoint=place)
            if done.signal == signal.SIGKILL:
                died.append(place)
            else:
                assert done.code == 0, f"{place}: {done.stderr}"
        done = headrace.run(folder, "run", *arguments)
        assert done.code == 0, done.stderr
    return folder, died


def test_it_died_around_every_step_of_every_pipeline(killed, undisturbed):
    _, died = killed
    for job, _ in PIPELINES:
        for name in steps(undisturbed, job):
            assert {f"step.started:{name}", f"step.executed:{name}", f"step.finished:{name}"} <= set(died), name
        assert {f"run.opened:{job}", f"run.closing:{job}"} <= set(died)


def test_rows_are_what_an_undisturbed_run_gives(killed, undisturbed):
    folder, _ = killed
    expected, found = contents(undisturbed), contents(folder)

    assert found.keys() == expected.keys()
    for name, rows in expected.items():
        assert found[name] == rows, name


def test_versions_are_what_an_undisturbed_run_gives(killed, undisturbed, headrace):
    folder, _ = killed
    expected, found = (headrace.run(each, "model", "list", "--json").json() for each in (undisturbed, folder))

    assert [(v["model"], v["version"], v["stage"], v["metrics"], v["artifact_hash"]) for v in found] == [
        (v["model"], v["version"], v["stage"], v["metrics"], v["artifact_hash"]) for v in expected
    ]


def test_nothing_is_left_running(killed):
    folder, _ = killed
    assert ledger(folder, "select job from job_runs where status = 'running'") == []
    assert ledger(folder, "select name from job_steps where status = 'running'") == []
    with closing(sqlite3.connect(folder / ".headrace" / "dev" / "mlflow.db")) as connection:
        assert connection.execute("select run_uuid from runs where status = 'RUNNING'").fetchall() == []
        assert connection.execute("select count(*) from model_versions").fetchall() == [(1,)]


def test_a_finished_step_is_not_repeated(headrace, undisturbed, files, tmp_path):
    """Killed once in the middle: what was done before stays as it was, attempt and all."""
    folder = project("shop", files, tmp_path)
    names = steps(undisturbed, "refresh")
    middle = names[len(names) // 2]
    assert headrace.run(folder, "run", "refresh", failpoint=f"step.started:{middle}").signal == signal.SIGKILL
    before = ledger(folder, "select name, started, ended from job_steps where status = 'done' order by seq")
    done = headrace.run(folder, "run", "refresh")

    assert done.code == 0, done.stderr
    assert [row[0] for row in before] == names[: len(names) // 2]
    assert (
        ledger(folder, "select name, started, ended from job_steps where status = 'done' order by seq")[: len(before)]
        == before
    )
    assert ledger(folder, "select attempt, status from job_runs") == [(2, "done")]


def test_two_at_once_one_works_and_the_other_says_who(headrace, files, tmp_path):
    import os
    import subprocess
    import sys

    folder = project("shop", files, tmp_path)
    (folder / "shop" / "project.py").write_text(
        (folder / "shop" / "project.py")
        .read_text()
        .replace(
            '    """Where the warehouses are; the list lives in somebody\'s head."""',
            "    import pathlib, time\n    pathlib.Path('waiting').touch()\n"
            "    while not pathlib.Path('go').exists():\n        time.sleep(0.01)",
        )
    )
    command = [sys.executable, "-m", "headrace.cli", "run", "refresh"]
    first = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, env=os.environ)
    while not (folder / "waiting").exists():
        assert first.poll() is None, first.stderr.read()
    second = headrace.run(folder, "run", "refresh")
    (folder / "go").touch()
    _, said = first.communicate()

    assert first.returncode == 0, said
    assert second.code == 3
    assert f"{first.pid}" in second.stderr
    assert "refresh is being run by" in second.stderr
