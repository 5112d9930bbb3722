"""The assistant's demo, killed inside its parts: what it had started ends with it, and the next run doubles nothing.

`make demo-killed` kills it at every step and compares all that it leaves with an undisturbed one.
"""

import json
import signal
import time
from collections import Counter

import pytest
from tests.support import assistant_demo
from tests.support.assistant_demo import ARGUMENTS, answers, kill_when, ledger, left, listening, won

PLACES = (  # after the first part's work, amid a search, before an approval, when a rollout is there and nobody knows
    "step.executed:index features.docs_index",
    "step.executed:ask for Production, version 1",
    "step.executed:search",
    "step.executed:rollout, version 2",
)
SOON = 20  # seconds, of which a server may take 10 to answer what it was asked


def gone(folder):
    """Waits until nobody listens at the demo's ports, and says who does at the end."""
    until = time.monotonic() + SOON
    while (there := listening(folder)) and time.monotonic() < until:
        time.sleep(0.1)
    return there


@pytest.fixture(scope="module")
def killed(headrace, tmp_path_factory):
    """A demo that was killed many times and came to its end: its folder, what it printed, and what outlived the killed ones."""
    parent = tmp_path_factory.mktemp("killed")
    folder = assistant_demo.lay_out_some(parent)
    outlived = []

    def at(place):
        done = headrace.run(parent, *ARGUMENTS, failpoint=place)
        assert done.signal == signal.SIGKILL, f"{place}: {done.stderr}"
        outlived.extend(gone(folder))

    def amid(part, count, *, group=False):
        kill_when(parent, lambda: answers(folder, part) >= count, group=group, log=parent / "log")
        outlived.extend(gone(folder))

    at(PLACES[0])
    at(PLACES[1])
    amid("first", 4)
    at(PLACES[2])
    at(PLACES[3])
    amid("contest", 60)
    amid("contest", 140, group=True)
    kill_when(parent, lambda: won(folder), group=False, log=parent / "log")
    done = headrace.run(parent, *ARGUMENTS)
    assert done.code == 0, done.stderr
    return folder, json.loads(done.stdout), outlived


def test_its_endpoints_and_servers_end_with_it(killed):
    _, _, outlived = killed
    assert outlived == []


def test_every_question_is_answered_once_and_every_opinion_is_there_once(killed):
    folder, found, _ = killed
    names = [name for name, *_ in left(folder)["answers"]]
    assert len(names) == len(set(names)) == 40 + 256
    assert found["rollout"]["requests"] == 256
    assert left(folder)["feedback"] == 2 * len(names)


def test_versions_approvals_and_moves_are_there_once(killed):
    folder, found, _ = killed
    done = left(folder)
    assert [each["kind"] for each in found["candidates"]] == ["prompt", "tuned prompt", "route"]
    assert all(each["passed"] and each["cost_per_1000"] for each in found["candidates"])
    assert found["rollout"]["winner"] == 2
    actions = Counter()
    for action, _, _, count in done["audit"]:
        actions[action] += count
    assert actions["version.registered"] == actions["version.copied"] == actions["transition.approved"] == 3
    assert actions["transition.requested"] == 6
    assert (
        actions["stage.changed"] == 5
    )  # three into Staging, two into Production; the first one is archived by the second
    assert actions["rollout.done"] == 1
    assert ledger(folder, "select count(*) from stage_history") == [(9,)]
    assert done["unfinished runs"] == []
    assert done["releases"].count("tag: ") == 2


def test_what_was_spent_is_what_calls_cost(killed):
    folder, _, _ = killed
    ((spent,),) = ledger(folder, "select sum(spent_nano) from gateway_budgets")
    ((cost,),) = ledger(folder, "select sum(cost_nano) from gateway_daily_usage")
    ((open_calls,),) = ledger(folder, "select count(*) from gateway_reservations where status = 'reserved'")
    assert spent == cost
    assert open_calls <= 2  # those that died with the gateway that had made them; they expire
