"""What `headrace up` finds due: by the ledger and the registry, not by how long it has been at work itself."""

import os
import sqlite3
from contextlib import closing, suppress
from datetime import timedelta

import pytest
from tests.cli.mini import write

from headrace.core.clock import now
from headrace.operations import schedule
from headrace.workspace.workspace import open_workspace

YEARLY = 'score=hr.Score(into="answers.days", every=hr.cron("0 0 1 1 *"))'


@pytest.fixture
def folder(tmp_path):
    folder = write(tmp_path / "mini")
    program = folder / "mini.py"
    program.write_text(program.read_text().replace('score=hr.Score(into="answers.days")', YEARLY))
    return folder


@pytest.fixture
def workspace(folder):
    with open_workspace(folder=folder) as opened:
        yield opened


def due(workspace, monkeypatch, days=0.0, since=0.0):
    """What is due in so many days, for a scheduler that began in so many."""
    began = now() + timedelta(days=since)
    later = now() + timedelta(days=days)
    monkeypatch.setattr(schedule, "now", lambda: later)
    return [each.arguments[0] for each in schedule.due(workspace, since=began)]


def run(workspace, job, error=None):
    with suppress(BaseException), workspace.ledger.open(job, {}, code="c"):
        if error is not None:
            raise error


ALL = ["refresh", "publish", "score"]


def test_what_never_ran_is_due_the_first_time_after_the_scheduler_began(workspace, monkeypatch):
    assert due(workspace, monkeypatch) == []
    assert due(workspace, monkeypatch, days=366) == ALL


def test_what_was_missed_is_due_whoever_looks(workspace, monkeypatch):
    run(workspace, "score days")
    assert due(workspace, monkeypatch) == []
    assert due(workspace, monkeypatch, days=366, since=366) == ALL  # `up --once`: began when it looked


def a_year_ago(workspace):
    """What ran until now ran then: a moment of the schedule has come since."""
    with closing(sqlite3.connect(workspace.environment.root / "state.db")) as state:
        state.execute("update job_runs set started = datetime(started, '-366 days')")
        state.commit()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_what_was_interrupted_is_due_until_somebody_says_otherwise(workspace, monkeypatch, error):
    run(workspace, "score days")
    a_year_ago(workspace)
    run(workspace, "score days", error)
    record = workspace.ledger.runs("score days")[0]
    assert record.status == "interrupted"
    assert due(workspace, monkeypatch) == ALL
    workspace.ledger.acknowledge(record.id, by="ann", reason="not today")
    assert due(workspace, monkeypatch) == []


def test_what_was_interrupted_before_anything_was_due_is_not(workspace, monkeypatch):
    """Somebody began it by hand, and stopped it."""
    run(workspace, "score days", KeyboardInterrupt())
    assert due(workspace, monkeypatch) == []


def test_a_run_whose_process_died_is_due(workspace, monkeypatch, folder):
    run(workspace, "score days")
    a_year_ago(workspace)
    child = os.fork()
    if child == 0:
        with open_workspace(folder=folder) as mine:
            mine.ledger.open("score days", {}, code="c").__enter__()
            os._exit(0)
    os.waitpid(child, 0)
    assert due(workspace, monkeypatch) == ALL


def test_one_that_is_interrupted_each_time_waits_for_the_next_moment(workspace, monkeypatch):
    run(workspace, "score days")
    a_year_ago(workspace)
    for _ in range(3):
        assert due(workspace, monkeypatch) == ALL
        run(workspace, "score days", KeyboardInterrupt())
    assert due(workspace, monkeypatch) == []
    assert due(workspace, monkeypatch, days=366) == ALL


def test_an_interrupted_one_begins_no_later_than_declared(workspace, monkeypatch, folder):
    run(workspace, "score days")
    a_year_ago(workspace)
    run(workspace, "score days", KeyboardInterrupt())
    program = folder / "mini.py"
    program.write_text(program.read_text().replace('"0 0 1 1 *")', '"0 0 1 1 *", misfire_grace="1m")'))
    with open_workspace(folder=folder) as again:
        assert due(again, monkeypatch) == []


def test_a_refresh_that_failed_is_not_tried_again_and_again(workspace, monkeypatch):
    run(workspace, "score days")
    a_year_ago(workspace)
    assert due(workspace, monkeypatch) == ALL
    run(workspace, "refresh", ValueError("the source is gone"))
    assert due(workspace, monkeypatch) == []
    assert due(workspace, monkeypatch, days=366) == ALL
    workspace.ledger.acknowledge(workspace.ledger.runs("refresh")[0].id, by="ann", reason="it is back")
    assert due(workspace, monkeypatch) == ALL


def test_a_publish_that_failed_long_ago_makes_nothing_due(workspace, monkeypatch):
    run(workspace, "publish", ValueError("the store is away"))
    a_year_ago(workspace)
    assert due(workspace, monkeypatch) == []


def test_a_retraining_by_schedule_of_a_model_without_versions_keeps_nothing_from_running(tmp_path, monkeypatch):
    folder = write(tmp_path / "mini", deployment='retrain=hr.Retrain(on="schedule", every=hr.cron("0 0 1 1 *"))')
    with open_workspace(folder=folder) as opened:
        assert due(opened, monkeypatch) == []
        assert due(opened, monkeypatch, days=366) == ["retrain"]


def test_up_once_makes_up_for_what_was_missed(headrace, folder):
    """It has been in Production for a year and a day, and nobody scored."""
    for arguments in (["refresh"], ["train"], ["deploy"]):
        done = headrace.run(folder, "run", *arguments)
        assert done.code == 0, done.stderr
    assert "headrace run score" not in headrace.run(folder, "up", "--once").stderr
    with closing(sqlite3.connect(folder / ".headrace" / "dev" / "state.db")) as state:
        state.execute("update stage_history set at = datetime(at, '-366 days')")
        state.commit()
    done = headrace.run(folder, "up", "--once")
    assert done.code == 0, done.stderr
    assert "scoring of days is due: 0 0 1 1 *: headrace run score --model days" in done.stderr
    assert "headrace run" not in headrace.run(folder, "up", "--once").stderr
