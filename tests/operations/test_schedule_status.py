"""What `headrace schedule list` says of each schedule agrees with what `headrace up` finds due, and says what else there is."""

import json
import shutil
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta

import pytest
from tests.cli.mini import write
from tests.operations.loop_project import at

from headrace.core.clock import now
from headrace.operations import alerts, runs, schedule
from headrace.operations.schedule_status import list_schedules
from headrace.workspace.workspace import open_workspace

DAILY = 'score=hr.Score(into="answers.days", every=hr.cron("0 4 * * *"))'


def daily(folder, declared=DAILY, deployment="serve=hr.Serve()"):
    """A project that scores every day at four."""
    write(folder, deployment=deployment)
    program = folder / "mini.py"
    program.write_text(program.read_text().replace('score=hr.Score(into="answers.days")', declared))
    return folder


@pytest.fixture
def folder(tmp_path):
    return daily(tmp_path / "mini")


def ran(folder, job, *, days=0.0, error=None):
    """The ledger gets a run of a job that began so many days ago."""
    with open_workspace(folder=folder) as workspace:
        with suppress(BaseException), workspace.ledger.open(job, {}, code="c"):
            if error is not None:
                raise error
        record = workspace.ledger.runs(job)[0]
    with closing(sqlite3.connect(folder / ".headrace" / "dev" / "state.db")) as state:
        state.execute("update job_runs set started = datetime(started, ?) where id = ?", (f"-{days} days", record.id))
        state.commit()
    return record.id


def scoring(folder):
    """The only schedule; `headrace up --once` agrees on whether it is due."""
    (report,) = list_schedules(at(folder)).schedules
    with open_workspace(folder=folder) as workspace:
        due = schedule.due(workspace, since=now())
    assert report.due == bool(due)
    if due:
        assert report.commands == tuple(f"headrace run {' '.join(job.arguments)}" for job in due)
    return report


def test_a_schedule_that_never_ran_is_due_at_its_next_moment(folder):
    report = scoring(folder)
    listing = list_schedules(at(folder))

    assert (report.model, report.activity, report.trigger) == ("days", "scoring", "0 4 * * *")
    assert (report.due, report.missed, report.missed_since, report.last_run, report.waits_for) == (
        False,
        0,
        None,
        None,
        (),
    )
    assert report.next.hour == 4
    assert timedelta() < report.next - listing.at <= timedelta(days=1)
    assert listing.to_json() == json.loads(json.dumps(listing.to_json()))


def test_moments_without_a_run_were_missed_and_are_made_up_for(folder):
    run = ran(folder, "score days", days=3)
    report = scoring(folder)
    began = runs.show_run(at(folder), run).started

    assert (report.due, report.missed, report.last_run, report.last_status) == (True, 3, run, "done")
    assert report.missed_since == datetime(began.year, began.month, began.day, 4, tzinfo=UTC) + timedelta(
        days=began.hour >= 4
    )
    ran(folder, "score days")
    assert (scoring(folder).due, scoring(folder).missed) == (False, 0)


def test_what_is_too_late_was_missed_and_is_not_due(tmp_path):
    folder = daily(tmp_path / "mini", DAILY.replace('"0 4 * * *"', '"0 4 * * *", misfire_grace="1m"'))
    run = ran(folder, "score days", days=2)
    began = runs.show_run(at(folder), run).started
    late = began.replace(hour=4, minute=0, second=0, microsecond=0)
    if not timedelta(minutes=-1) < now() - (late + timedelta(days=2)) < timedelta(minutes=2):  # not just at four
        assert (scoring(folder).due, scoring(folder).missed, scoring(folder).misfire_grace) == (False, 2, "1m")


def test_a_failed_refresh_waits_for_a_person(folder):
    ran(folder, "score days", days=2)
    failed = ran(folder, "refresh", error=ValueError("the source is gone"))
    report = scoring(folder)

    assert (report.due, report.missed) == (False, 2)
    (need,) = report.waits_for
    assert (need.what, need.reason) == ("refresh failed", "ValueError: the source is gone")
    assert need.next == f"headrace runs logs {failed} --env dev"
    runs.acknowledge_run(at(folder), failed, reason="it is back")
    assert (scoring(folder).due, scoring(folder).waits_for) == (True, ())


def test_a_failed_scoring_waits_for_the_next_moment_and_for_a_person(folder):
    ran(folder, "score days", error=ValueError("no"))
    report = scoring(folder)

    assert (report.due, report.last_status, [need.what for need in report.waits_for]) == (
        False,
        "failed",
        ["score days failed"],
    )


def test_very_many_missed_moments_are_counted_to_a_limit(tmp_path):
    folder = daily(tmp_path / "mini", DAILY.replace("0 4 * * *", "* * * * *"))
    ran(folder, "score days", days=30)
    assert (scoring(folder).due, scoring(folder).missed) == (True, 1000)


def test_what_is_due_comes_first_and_retraining_has_its_guards(tmp_path):
    folder = daily(
        tmp_path / "mini", deployment='retrain=hr.Retrain(on="schedule", every=hr.cron("0 0 1 1 *"), cool_down="1d")'
    )
    ran(folder, "retrain days", days=370)
    ran(folder, "refresh", error=ValueError("the source is gone"))
    first, second = list_schedules(at(folder)).schedules

    assert (first.activity, first.due, second.activity, second.due) == ("retraining", True, "scoring", False)
    assert first.commands == ("headrace run retrain --model days",)
    assert first.held_back == ("the last refresh failed: a model is not fitted on broken data",)
    assert second.held_back == ()


def test_a_project_without_a_schedule_has_none(deployed):
    assert list_schedules(at(deployed)).schedules == ()


def test_retraining_on_an_alert_is_due_until_somebody_takes_care(monitored, tmp_path):
    folder = shutil.copytree(monitored, tmp_path / "mini", symlinks=True)
    (alert,) = alerts.list_alerts(at(folder))
    report = scoring(folder)

    assert (report.activity, report.trigger, report.next, report.due) == ("retraining", "alert", None, True)
    assert report.because == f"alert {alert.alert}: rmse > 0.1, 1 of 1"
    alerts.acknowledge_alert(at(folder), alert.alert, reason="known")
    after = scoring(folder)
    assert (after.due, after.because) == (False, report.because)
    (need,) = after.waits_for
    assert "is acknowledged" in need.reason
    assert need.next == f"headrace alert show {alert.alert} --env dev"
