"""A PostgreSQL that stops and comes back: nothing that was acknowledged is lost, and nobody has to begin anew."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, text
from tests.support.servers import restartable_postgres, without_fsync
from tests.support.states import new_state

from headrace.access.audit import Audit
from headrace.core import state as module
from headrace.core.errors import ConflictError, HeadraceError, UnavailableError, UncertainError
from headrace.core.events import Outbox
from headrace.core.state import State
from headrace.jobs.ledger import Ledger

COUNTERS = Table("counters", MetaData(), Column("name", String, primary_key=True), Column("value", Integer))
VALUES = select(COUNTERS.c.value)
WAYS = ("fast", "immediate", "kill")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with restartable_postgres(tmp_path_factory.mktemp("restarted")) as opened:
        without_fsync(opened.url)
        yield opened


@pytest.fixture
def state(server, tmp_path):
    opened = State(new_state(server.url, tmp_path))
    opened.create(COUNTERS)
    yield opened
    opened.close()


def restart(server, how="fast"):
    server.stop(how)
    server.start()


def values(state):
    with state.read() as connection:
        return connection.execute(VALUES).scalars().all()


@pytest.mark.parametrize("how", WAYS)
def test_a_server_that_is_back_is_used_as_if_it_had_never_been_away(server, state, how):
    with ThreadPoolExecutor(4) as pool:  # several connections are open
        list(pool.map(lambda _: values(state), range(8)))
    restart(server, how)
    with state.begin() as connection:
        connection.execute(insert(COUNTERS).values(name="a", value=1))
    restart(server, how)
    assert values(state) == [1]


def test_who_begins_while_it_is_away_waits_for_it(server, state):
    server.stop("fast")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(values, state)
        server.start()
        assert waiting.result(30) == []


def test_who_waits_for_too_long_is_told_so(server, state, monkeypatch):
    monkeypatch.setattr(module, "RETURN", 0.05)
    server.stop("fast")
    try:
        for way in (state.read, state.begin):
            with pytest.raises(UnavailableError, match="has been away for"), way():
                pass
    finally:
        server.start()
    assert values(state) == []


def test_a_transaction_in_the_middle_is_lost_and_says_so(server, state):
    with pytest.raises(ConflictError, match=r"was lost[\s\S]*Nothing was written"), state.begin() as connection:  # noqa: PT012
        connection.execute(insert(COUNTERS).values(name="a", value=1))
        restart(server)
        connection.execute(insert(COUNTERS).values(name="b", value=1))
    with pytest.raises(UnavailableError, match="was lost"), state.read() as connection:  # noqa: PT012
        connection.execute(VALUES)
        restart(server)
        connection.execute(VALUES)
    assert values(state) == []


def test_the_error_of_a_body_is_not_hidden_by_a_connection_that_is_gone(server, state):
    with pytest.raises(ZeroDivisionError), state.begin() as connection:  # noqa: PT012
        connection.execute(insert(COUNTERS).values(name="a", value=1))
        restart(server)
        raise ZeroDivisionError
    assert values(state) == []


def test_whether_a_commit_that_got_no_answer_was_written_is_left_open(server, state):
    with pytest.raises(UncertainError, match="may be there or not"), state.begin() as connection:  # noqa: PT012
        connection.execute(insert(COUNTERS).values(name="a", value=1))
        restart(server, "kill")
    assert values(state) == []


WRITING = """
import json, sys, threading
from dataclasses import dataclass
from headrace.access.audit import record
from headrace.core.errors import ConflictError, UnavailableError, UncertainError
from headrace.core.events import publish
from headrace.core.state import State
from headrace.jobs.ledger import Ledger
from headrace.jobs.step_output import StepOutput

@dataclass(frozen=True, kw_only=True)
class Numbered(StepOutput):
    number: int

    def summary(self):
        return ""

url, who = sys.argv[1:]
state = State(url)
passing = (ConflictError, UnavailableError, UncertainError)
stopped = threading.Event()
written, stepped = [], []

def write():
    number = 0
    while not stopped.is_set():
        number += 1
        name = f"{who} {number}"
        try:
            with state.begin() as connection:
                publish(connection, name, "late/1", {})
                record(connection, who, "tried", name, {})
        except passing:
            continue
        written.append(name)

def step():
    number = 0
    while not stopped.is_set():
        try:
            run.step(f"step {number}", {}, lambda _: Numbered(number=number), output=Numbered)
        except passing:
            continue
        stepped.append(f"step {number}")
        number += 1

run = Ledger(state).open(who, {}, code="x")
threads = [threading.Thread(target=each) for each in (write, step)]
for each in threads:
    each.start()
print("ready", flush=True)
sys.stdin.read()
stopped.set()
for each in threads:
    each.join()
with run:
    pass
print(json.dumps([written, stepped]))
state.close()
"""


class Consumer:
    """Takes what it has not taken yet, by the id of the event."""

    def __init__(self):
        self.taken = {}

    def __call__(self, event):
        self.taken.setdefault(event.id, event.name)


def ended(process):
    """Whatever became of the test, nothing of it goes on."""
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_restarted_twenty_times_under_load_all_that_was_acknowledged_is_there_once(server, state, request):
    audit, outbox, ledger = Audit(state), Outbox(state), Ledger(state)
    url = state.engine.url.render_as_string(hide_password=False)
    consumers = {"mail": Consumer(), "mlflow": Consumer()}
    stopped = threading.Event()

    def deliver():
        while not stopped.is_set():
            try:
                outbox.deliver(consumers, patient=False)
            except HeadraceError:
                continue

    program = [sys.executable, "-c", WRITING, url]
    writers = {
        who: subprocess.Popen([*program, who], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for who in ("ada", "ben")
    }
    for each in writers.values():
        request.addfinalizer(partial(ended, each))
        assert each.stdout.readline() == "ready\n"
    request.addfinalizer(stopped.set)
    delivering = threading.Thread(target=deliver)
    delivering.start()
    for number in range(20):
        before = audit.head().count
        until = time.monotonic() + 20
        while audit.head().count == before:  # it works in between
            assert time.monotonic() < until
        restart(server, WAYS[number % 3])
    answers = {who: json.loads(each.communicate()[0]) for who, each in writers.items()}
    stopped.set()
    delivering.join()
    outbox.deliver(consumers, patient=False)

    written = [name for names, _ in answers.values() for name in names]
    assert len(written) > 20
    for consumer in consumers.values():
        names = list(consumer.taken.values())
        assert list(consumer.taken) == sorted(consumer.taken)
        assert len(names) == len(set(names))
        assert set(written) <= set(names)
        assert names == [each.name for each in outbox.events(limit=10**6)]
    assert audit.verify() is None
    recorded = [each.object for each in reversed(audit.entries())]
    assert recorded == names
    for who, (_, stepped) in answers.items():
        (run,) = ledger.runs(who)
        assert run.status == "done"
        done = [each.name for each in ledger.steps(run.id) if each.status == "done"]
        assert done[: len(stepped)] == stepped
    with state.read() as connection:
        assert connection.execute(text("select count(*) from job_steps")).scalar_one() >= len(answers)
