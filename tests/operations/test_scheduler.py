"""The scheduler as an operation: its rounds, how it is stopped, who may start it, and what is recorded first."""

import sys
import threading
import time

import pytest
from tests.operations.bare_project import BareProject

from headrace.core import vault
from headrace.core.errors import BusyError, RefusedError
from headrace.core.locks import hold
from headrace.operations import run_process, schedule
from headrace.operations.scheduler import run_scheduler


@pytest.fixture
def shop(tmp_path):
    return BareProject(tmp_path / "shop")


class Log:
    """What a scheduler says, and how it is stopped."""

    def __init__(self):
        self.stop, self.begun, self.said, self.warned = threading.Event(), [], [], []

    def callbacks(self):
        return {
            "stopping": self.stop.wait,
            "say": self.said.append,
            "warn": self.warned.append,
            "begin": self.begun.append,
        }


def is_due(monkeypatch, *jobs, program="pass"):
    """Jobs (words, reason) are due, and each runs a program of Python with its words."""
    found = [schedule.DueJob(arguments=arguments, reason=reason) for arguments, reason in jobs]
    monkeypatch.setattr(schedule, "due", lambda *_, **__: found)
    monkeypatch.setattr(run_process, "command", lambda _, arguments: [sys.executable, "-c", program, *arguments])


def test_one_round_of_nothing_is_announced_recorded_and_returned(shop):
    log = Log()
    report = run_scheduler(shop.at(), port=9000, once=True, **log.callbacks())
    assert report.to_json() == {"server_failed": False, "round_failed": False}
    assert [each.to_json() for each in log.begun] == [{"project": "shop", "env": "dev", "once": True}]
    assert (log.said, log.warned) == ([], [])
    assert shop.audit() == [("scheduler.started", "dev", {"port": 9000, "once": True})]


def test_what_is_prepared_by_a_job_that_failed_is_left_out(shop, monkeypatch):
    log = Log()
    jobs = [(("refresh",), "a"), (("score", "--model", "x"), "a"), (("monitor",), "b")]
    is_due(monkeypatch, *jobs, program="import sys; sys.exit(sys.argv[1] == 'refresh')")
    report = run_scheduler(shop.at(), once=True, **log.callbacks())
    assert report.round_failed
    assert log.said == ["a: headrace run refresh", "b: headrace run monitor"]
    assert log.warned == ["headrace run score --model x is left out: the job before it failed"]


def test_what_is_due_cannot_be_found_out(shop, monkeypatch):
    log = Log()
    monkeypatch.setattr(schedule, "due", lambda *_, **__: 1 / 0)
    report = run_scheduler(shop.at(), once=True, **log.callbacks())
    assert (report.server_failed, report.round_failed) == (False, True)
    assert log.warned == ["what is due cannot be told: division by zero"]


def test_it_ends_when_it_is_stopped_whatever_job_runs(shop, monkeypatch, tmp_path):
    log, begun = Log(), tmp_path / "begun"
    program = f"import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(600)"
    is_due(monkeypatch, (("refresh",), "due"), (("train",), "due"), program=program)
    reports = []
    thread = threading.Thread(target=lambda: reports.append(run_scheduler(shop.at(), **log.callbacks())), daemon=True)
    thread.start()
    while not begun.exists():
        assert thread.is_alive(), log.warned
        time.sleep(0.01)
    log.stop.set()
    thread.join(60)
    assert [each.to_json() for each in reports] == [{"server_failed": False, "round_failed": False}]
    assert log.said[0] == "due: headrace run refresh"
    assert all(line.startswith("refresh: ") for line in log.said[1:])  # the traceback of the interrupt; no train


def test_there_is_one_scheduler_of_an_environment(shop):
    log = Log()
    with shop.open() as workspace:
        lock = workspace.up_lock
    lock.parent.mkdir(parents=True, exist_ok=True)
    with hold(lock), pytest.raises(BusyError, match="shop is up in dev already"):
        run_scheduler(shop.at(), once=True, **log.callbacks())
    assert log.begun == []
    assert [action for action, _, _ in shop.audit()] == ["scheduler.started", "command.failed"]


def test_who_may_not_starts_none(shop):
    log = Log()
    tokens = shop.enrol(sue="data_scientist")
    with vault.bearing(tokens["sue"]), pytest.raises(RefusedError, match="sue may not `headrace up`"):
        run_scheduler(shop.at(), once=True, **log.callbacks())
    assert log.begun == []
    assert shop.audit()[-1][:2] == ("access.refused", "dev")
