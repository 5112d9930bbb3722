"""The outbox: an event is told exactly when its change stands; each channel gets all of them, in order, until it takes them."""

import os
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.states import new_state

from headrace.core import events as module
from headrace.core.events import Outbox, publish
from headrace.core.state import State


@pytest.fixture
def outbox(state_url):
    state = State(state_url)
    yield Outbox(state)
    state.close()


@pytest.fixture
def clock(monkeypatch):
    """The present, as the outbox sees it."""

    class Clock:
        def set(self, moment):
            monkeypatch.setattr(module, "now", lambda: moment)

    return Clock()


def tell(outbox, *names):
    for name in names:
        with outbox.state.begin() as connection:
            publish(connection, name, "late/1", {"name": name})


class Channel:
    """Takes events, but for the attempts that it fails."""

    def __init__(self, failures=0):
        self.failures, self.taken = failures, []

    def __call__(self, event):
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the far side is away")
        self.taken.append(event.name)


def test_events_come_in_order_and_once(outbox):
    channel = Channel()
    tell(outbox, "a", "b")
    assert outbox.deliver({"one": channel}) == []
    tell(outbox, "c")
    assert outbox.deliver({"one": channel}) == outbox.deliver({"one": channel}) == []

    assert channel.taken == ["a", "b", "c"]


def test_a_change_that_was_rolled_back_is_not_told(outbox):
    with pytest.raises(ZeroDivisionError), outbox.state.begin() as connection:  # noqa: PT012
        publish(connection, "a", "late/1", {})
        raise ZeroDivisionError
    channel = Channel()

    outbox.deliver({"one": channel})

    assert channel.taken == []


def test_an_event_that_is_committed_late_is_passed_by_no_channel(outbox):
    """A second transaction commits while the first is open, or waits for it; in between a channel comes and asks."""
    channel, entered = Channel(), threading.Event()

    def second():
        entered.set()
        tell(outbox, "second")

    with outbox.state.begin() as connection:
        publish(connection, "first", "late/1", {})
        thread = threading.Thread(target=second)
        thread.start()
        entered.wait()
        thread.join(0.5)  # time enough to commit, if it does not wait
        outbox.deliver({"one": channel})
    thread.join()
    outbox.deliver({"one": channel})

    assert channel.taken == ["first", "second"]


def test_a_channel_that_fails_keeps_its_place_and_holds_up_no_other(outbox):
    good, bad = Channel(), Channel(failures=2)
    tell(outbox, "a", "b")

    (trouble,) = outbox.deliver({"bad": bad, "good": good})
    assert (trouble.channel, trouble.event.name, trouble.attempts) == ("bad", "a", 1)
    assert trouble.error == "ConnectionError: the far side is away"
    assert (bad.taken, good.taken) == ([], ["a", "b"])

    outbox.deliver({"bad": bad, "good": good}, patient=False)
    assert outbox.deliver({"bad": bad, "good": good}, patient=False) == []
    assert (bad.taken, good.taken) == (["a", "b"], ["a", "b"])


def test_a_channel_that_failed_is_left_alone_until_its_time_has_come(outbox, clock):
    channel = Channel(failures=3)
    tell(outbox, "a")
    (first,) = outbox.deliver({"one": channel})
    (same,) = outbox.deliver({"one": channel})
    assert (same.attempts, same.again, channel.failures) == (1, first.again, 2)

    for seconds in (10, 20):
        moment = first.again
        clock.set(moment)
        (first,) = outbox.deliver({"one": channel})
        assert first.again - moment == timedelta(seconds=seconds)
    clock.set(first.again)
    assert outbox.deliver({"one": channel}) == []
    assert channel.taken == ["a"]


def test_the_wait_grows_to_an_hour_and_no_further(outbox, clock):
    channel, moment, waits = Channel(failures=60), module.now(), []
    tell(outbox, "a")
    for _ in range(60):
        clock.set(moment)
        (trouble,) = outbox.deliver({"one": channel})
        waits.append(trouble.again - moment)
        moment = trouble.again
    assert waits == sorted(waits)
    assert waits[-1] == timedelta(hours=1)


def test_a_new_channel_gets_what_was_told_before_it(outbox):
    tell(outbox, *"abc")
    outbox.deliver({"one": Channel()})
    late = Channel()

    outbox.deliver({"late": late})

    assert late.taken == ["a", "b", "c"]


def test_a_channel_for_people_is_told_no_old_news_and_a_projection_is(outbox):
    tell(outbox, *"ab")
    with outbox.state.begin() as connection:
        connection.execute(module.EVENTS.update().values(at=module.now() - timedelta(days=2)))
    tell(outbox, "c")
    mail, mlflow = Channel(), Channel()
    outbox.deliver({"mail": mail, "mlflow": mlflow})

    assert mail.taken == ["c"]
    assert mlflow.taken == ["a", "b", "c"]


def test_more_events_than_are_read_at_once_are_all_delivered(outbox):
    with outbox.state.begin() as connection:
        for number in range(1200):
            publish(connection, str(number), "late/1", {})
    channel = Channel()

    assert outbox.deliver({"one": channel}) == []

    assert channel.taken == [str(number) for number in range(1200)]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["tell", "deliver", "fail"]), max_size=25))
def test_whatever_fails_when_what_was_taken_is_a_beginning_of_what_was_told(state_server, tmp_path_factory, steps):
    state = State(new_state(state_server, tmp_path_factory.mktemp("state")))
    outbox, channel, told = Outbox(state), Channel(), []
    for step in steps:
        if step == "tell":
            told.append(str(len(told)))
            tell(outbox, told[-1])
        else:
            channel.failures = int(step == "fail")
            outbox.deliver({"one": channel}, patient=False)
        assert channel.taken == told[: len(channel.taken)]
    channel.failures = 0
    outbox.deliver({"one": channel}, patient=False)
    assert channel.taken == told
    state.close()


DELIVERING = """
import os, signal, sys
from headrace.core.events import Outbox
from headrace.core.state import State

state = State(sys.argv[1])
outbox = Outbox(state)
file = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def take(event):
    os.write(file, f"{event.id}\\n".encode())
    if str(event.id) == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

print("ready", flush=True)
sys.stdin.readline()
outbox.deliver({"one": take})
state.close()
"""


def delivering(outbox, file, dies_at=""):
    return subprocess.Popen(
        [sys.executable, "-c", DELIVERING, str(outbox.state.engine.url), str(file), dies_at],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )


def ids(file):
    return [int(line) for line in file.read_text().splitlines()]


def test_killed_between_a_delivery_and_its_note_the_event_comes_again(outbox, tmp_path):
    tell(outbox, *"abcd")
    first = delivering(outbox, tmp_path / "taken", dies_at="3")
    first.communicate("go\n")
    assert first.returncode == -9
    assert ids(tmp_path / "taken") == [1, 2, 3]

    second = delivering(outbox, tmp_path / "taken")
    second.communicate("go\n")

    assert second.returncode == 0
    assert ids(tmp_path / "taken") == [1, 2, 3, 3, 4]


def test_two_dispatchers_at_once_lose_nothing_and_never_go_back(outbox, tmp_path):
    tell(outbox, *(str(number) for number in range(60)))
    both = [delivering(outbox, tmp_path / name) for name in ("left", "right")]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        process.communicate()
        assert process.returncode == 0

    left, right = ids(tmp_path / "left"), ids(tmp_path / "right")
    assert left == sorted(set(left))
    assert right == sorted(set(right))
    assert {*left, *right} == set(range(1, 61))
    after = Channel()
    assert outbox.deliver({"one": after}) == []
    assert after.taken == []


@pytest.mark.parametrize("fails", [False, True])
def test_a_dispatcher_that_is_behind_does_not_take_another_ones_progress_back(outbox, fails):
    """One is slow with the first event while another delivers all of them."""
    tell(outbox, *"abc")
    fast, slow, after = Channel(), Channel(failures=int(fails)), Channel()

    def overtaken(event):
        outbox.deliver({"one": fast})
        slow(event)

    outbox.deliver({"one": overtaken})
    assert outbox.deliver({"one": after}) == []

    assert (fast.taken, slow.taken, after.taken) == (["a", "b", "c"], [] if fails else ["a"], [])
