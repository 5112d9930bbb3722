"""Opening runs: one at a time a job, taken over from the dead, and a zombie is refused."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update
from tests.support.states import new_state
from tests.support.values import take

from headrace.core import state as state_module
from headrace.core.clock import now
from headrace.core.errors import BusyError, NotFoundError, RefusedError
from headrace.core.state import State
from headrace.jobs import ledger as ledger_module
from headrace.jobs import run as run_module
from headrace.jobs.ledger import Ledger
from headrace.jobs.owner import ProcessOwner
from headrace.jobs.tables import RUNS

OPENING = """
import sys
from headrace.core.errors import BusyError
from headrace.core.state import State
from headrace.jobs.ledger import Ledger

print("ready", flush=True)
sys.stdin.readline()
state = State(sys.argv[1])
try:
    run = Ledger(state).open("refresh", {}, code="x")
except BusyError as error:
    print("busy", str(error).replace(chr(10), " "), flush=True)
else:
    print("open", run.id, flush=True)
    sys.stdin.readline()
"""
GHOST = replace(ProcessOwner.current(), user="ghost", started="1")  # this very number, of a process that is gone
ELSEWHERE = replace(ProcessOwner.current(), user="anna", host="elsewhere", boot="other", namespace="", pid=7)


def nothing(_):
    return {}


@pytest.fixture
def opened(ledger):
    """Opens a run and closes it after the test."""
    runs = []

    def open_(job="refresh", params=None, *, by=ledger):
        runs.append(by.open(job, params or {}, code="x"))
        return runs[-1]

    yield open_
    for run in runs:
        run._heartbeat.stop()


def start(url):
    process = subprocess.Popen(
        [sys.executable, "-c", OPENING, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def say(process):
    process.stdin.write("go\n")
    process.stdin.flush()


def test_of_processes_that_open_a_job_at_once_one_wins_and_the_others_hear_who(url):
    processes = [start(url) for _ in range(3)]
    for process in processes:
        say(process)
    answers = {process: process.stdout.readline().strip() for process in processes}
    (winner,) = [process for process, answer in answers.items() if answer.startswith("open")]
    run_id = answers[winner].split()[1]
    owner = replace(ProcessOwner.current(), pid=winner.pid)
    for process, answer in answers.items():
        if process is not winner:
            assert answer.startswith(f"busy refresh is being run by {owner}, since 2")
            assert f"(run {run_id})" in answer
            assert f"kill {winner.pid}" in answer
            assert f"headrace runs show {run_id}" in answer
    for process in processes:
        process.communicate()


def test_a_killed_process_is_followed_at_once_and_one_that_just_ended_too(url, ledger, opened):
    killed, ended = start(url), start(url)
    say(killed)
    run_id = killed.stdout.readline().split()[1]
    killed.kill()
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)
    say(ended)
    assert ended.stdout.readline().split() == ["open", run_id]
    ended.communicate(timeout=20)  # it leaves without closing its run: the heartbeat does not keep it alive
    assert ended.returncode == 0
    killed.communicate()
    run = opened()
    assert (run.id, run.attempt, run.taken_over) == (run_id, 3, True)


def test_an_open_run_of_this_process_is_named_as_such(ledger, opened):
    run = opened()
    assert (run.attempt, run.taken_over) == (1, False)
    with pytest.raises(BusyError, match="by this very process"):
        opened()
    assert opened("another job").id != run.id


def test_a_dead_owners_run_goes_on_under_its_id_with_the_new_owner_and_code(state, ledger, opened):
    dead = opened(by=Ledger(state, owner=GHOST))
    take(dead, "a", {}, nothing)
    run = ledger.open("refresh", {}, code="newer")
    with run:
        assert take(run, "a", {}, nothing).state == "unchanged"
        assert take(run, "b", {}, nothing).state == "done"
    record = ledger.run(dead.id)
    assert (record.status, record.attempt, record.code) == ("done", 2, "newer")
    assert record.owner == str(ProcessOwner.current())
    assert [(step.name, step.status, step.attempt) for step in ledger.steps(dead.id)] == [
        ("a", "done", 1),
        ("b", "done", 2),
    ]


def test_a_dead_owners_run_with_other_params_is_closed_and_a_new_one_begins(state, ledger, opened):
    dead = opened(params={"month": 1}, by=Ledger(state, owner=GHOST))
    run = opened(params={"month": 2})
    assert run.id != dead.id
    record = ledger.run(dead.id)
    assert record.status == "interrupted"
    assert "ended without closing it (ghost@" in record.error
    assert record.ended is not None
    assert ledger.run(run.id).params == {"month": 2}


def test_a_zombie_is_refused_at_its_next_write_and_leaves_no_trace(state, ledger, opened):
    zombie = opened(by=Ledger(state, owner=GHOST))

    def do(step):
        opened()  # meanwhile its run is taken over
        with pytest.raises(RefusedError, match="was taken over by"):
            step.log("still here")
        return {}

    with pytest.raises(RefusedError, match=r"attempt 2 runs there, this was attempt 1"):
        take(zombie, "a", {}, do)
    with pytest.raises(RefusedError):
        take(zombie, "b", {}, nothing)
    with pytest.raises(RefusedError), zombie:
        pass
    (step,) = ledger.steps(zombie.id)
    assert (step.name, step.status, step.attempt) == ("a", "interrupted", 1)
    assert (ledger.run(zombie.id).status, ledger.run(zombie.id).attempt) == ("running", 2)
    assert not any(line.line == "still here" for line in ledger.logs(zombie.id))


def test_a_zombies_own_error_is_not_hidden_by_the_refusal(state, opened):
    zombie = opened(by=Ledger(state, owner=GHOST))
    with pytest.raises(ZeroDivisionError) as caught, zombie:  # noqa: PT012
        opened()
        raise ZeroDivisionError
    assert any("was taken over" in note for note in caught.value.__notes__)


def test_a_run_elsewhere_is_busy_until_its_lease_is_over(state, ledger, opened):
    run = opened(by=Ledger(state, owner=ELSEWHERE))
    with pytest.raises(BusyError, match=r"(?s)by anna@elsewhere, pid 7, last heard of .* silent for 60 s"):
        opened()
    with state.begin() as connection:
        connection.execute(update(RUNS).values(heartbeat=now() - timedelta(seconds=61)))
    assert opened().id == run.id


@pytest.mark.parametrize("wrong", [timedelta(hours=-1), timedelta(hours=1)])
def test_a_lease_is_counted_by_the_clock_of_the_database(postgres_server, tmp_path, opened, monkeypatch, wrong):
    shared = State(new_state(postgres_server, tmp_path))
    run = opened(by=Ledger(shared, owner=ELSEWHERE))
    for module in (ledger_module, run_module, state_module):  # the clock of this machine
        monkeypatch.setattr(module, "now", lambda: now() + wrong)
    here = Ledger(shared)
    assert [each.id for each in here.alive()] == [run.id]
    assert here.sweep() == []
    with pytest.raises(BusyError):
        opened(by=here)
    run._heartbeat.stop()
    shared.close()


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_an_open_run_beats_until_it_is_closed(state):
    ledger = Ledger(state, lease=timedelta(seconds=0.04))
    with ledger.open("refresh", {}, code="x") as run:
        first = ledger.run(run.id).heartbeat
        until(lambda: ledger.run(run.id).heartbeat > first)
        thread = run._heartbeat._thread
        assert thread.daemon
    assert not thread.is_alive()
    closed = ledger.run(run.id)
    assert closed.heartbeat <= closed.ended


def test_a_heartbeat_that_finds_its_run_taken_over_stops(state, ledger, opened):
    zombie = opened(by=Ledger(state, owner=GHOST, lease=timedelta(seconds=0.04)))
    heir = opened()
    until(lambda: not zombie._heartbeat._thread.is_alive())
    with pytest.raises(RefusedError):
        take(zombie, "a", {}, nothing)
    assert take(heir, "a", {}, nothing).state == "done"


def test_a_heartbeat_survives_a_database_that_is_gone_for_a_while(state, opened):
    run = opened(by=Ledger(state, lease=timedelta(seconds=0.04)))
    with state.begin() as connection:
        connection.exec_driver_sql("alter table job_runs rename to elsewhere")
    missed = []
    beat = run._heartbeat._beat
    run._heartbeat._beat = lambda: missed.append(1) or beat()
    until(lambda: len(missed) > 2)
    with state.begin() as connection:
        connection.exec_driver_sql("alter table elsewhere rename to job_runs")
    first = now()
    until(lambda: Ledger(state).run(run.id).heartbeat > first)


def test_sweep_closes_the_runs_of_the_dead_and_only_those(state, ledger, opened):
    ghosts = Ledger(state, owner=GHOST)
    dead, living, far = opened("a", by=ghosts), opened("b"), opened("c", by=Ledger(state, owner=ELSEWHERE))
    (swept,) = ledger.sweep()
    assert (swept.id, swept.status) == (dead.id, "interrupted")
    assert "ended without closing it" in swept.error
    assert ledger.run(living.id).status == ledger.run(far.id).status == "running"
    assert ledger.sweep() == []


def test_steps_that_were_cut_off_are_those_of_the_dead_and_failed_and_none_of_the_living(state, ledger, opened):
    keys = {}

    def at_work(job, by):
        """As a process leaves it that dies in its step."""
        run = opened(job, by=by)
        keys[job] = run._running("fit", job)

    def fail(step):
        keys["failed"] = step.key
        raise ZeroDivisionError

    at_work("dead", Ledger(state, owner=GHOST))
    at_work("living", ledger)
    at_work("far", Ledger(state, owner=ELSEWHERE))
    take(opened("done"), "fit", {}, nothing)
    with pytest.raises(ZeroDivisionError):
        take(opened("failed"), "fit", {}, fail)

    assert ledger.cut_off() == {keys["dead"], keys["failed"]}
    ledger.sweep()
    assert ledger.cut_off() == {keys["dead"], keys["failed"]}


@pytest.mark.parametrize(("params", "same"), [({"month": 1}, True), ({"month": 2}, False)])
def test_a_swept_run_is_continued_like_any_that_was_cut_off(state, ledger, opened, params, same):
    dead = opened(params={"month": 1}, by=Ledger(state, owner=GHOST))
    ledger.sweep()
    run = opened(params=params)
    assert (run.id == dead.id) == same
    assert run.taken_over == same
    record = ledger.run(run.id)
    assert (record.status, record.ended, record.error) == ("running", None, None)
    assert ledger.run(dead.id).status == ("running" if same else "interrupted")


def test_a_run_that_was_followed_by_another_is_not_continued(state, ledger, opened):
    dead = opened(params={"month": 1}, by=Ledger(state, owner=GHOST))
    ledger.sweep()
    with ledger.open("refresh", {"month": 2}, code="x"):
        pass
    assert opened(params={"month": 1}).id != dead.id


def test_params_come_back_as_json(ledger, opened):
    params = {"as_of": None, "months": (1, 2), "deep": {"rate": 0.5}}
    run = opened(params=params)
    assert run.params == {"as_of": None, "months": [1, 2], "deep": {"rate": 0.5}}
    assert ledger.run(run.id).params == run.params


def test_runs_are_listed_newest_first_by_job_and_to_a_limit(ledger):
    made = []
    for job in ("a", "b", "a"):
        with ledger.open(job, {}, code="x") as run:
            made.append(run.id)
    assert [run.id for run in ledger.runs()] == made[::-1]
    assert [run.id for run in ledger.runs("a")] == [made[2], made[0]]
    assert [run.id for run in ledger.runs(limit=1)] == [made[2]]
    assert ledger.runs("c") == []


def test_a_run_is_found_by_the_beginning_of_its_id(state, ledger, opened):
    first, second = opened("a"), opened("b")
    assert ledger.run(first.id[:-1] if first.id[:-1] != second.id[:-1] else first.id).id == first.id
    with pytest.raises(NotFoundError, match="single run"):
        ledger.run("0")
    for absent in ("zz", "%", "_" * 20):
        with pytest.raises(NotFoundError, match=r"headrace runs list"):
            ledger.run(absent)


def test_two_ledgers_on_one_file_see_the_same(url, state, ledger, opened):
    run = opened()
    other = State(url)
    assert Ledger(other).run(run.id) == ledger.run(run.id)
    other.close()
