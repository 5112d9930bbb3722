import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from headrace.core.failpoints import VARIABLE


def start(tickets, folder, paid, **environment):
    return subprocess.Popen(
        [sys.executable, tickets.__file__, str(folder), str(paid)],
        stdout=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"} | environment,
    )


def finished(process):
    result = process.communicate()[0]
    assert process.returncode == 0
    return json.loads(result)


def calls(paid):
    return Counter(paid.read_text().splitlines()) if paid.exists() else Counter()


@pytest.fixture(scope="module")
def undisturbed(tickets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return finished(start(tickets, folder / "state", folder / "paid")), calls(folder / "paid")


@pytest.mark.parametrize("draw", [1, 2])
def test_killed_at_random_places_it_ends_as_undisturbed_and_pays_for_nothing_twice(
    tickets, tmp_path, undisturbed, draw
):
    generator = random.Random(draw)
    state, paid, kills, waits = tmp_path / "state", tmp_path / "paid", 0, 0
    while kills < 5 and waits < 40:
        waits += 1
        process = start(tickets, state, paid)
        already, more = sum(calls(paid).values()), generator.randint(1, 6)
        while process.poll() is None and sum(calls(paid).values()) < already + more:
            time.sleep(0.002)  # until it has paid for a few more: only then there is something to lose
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
        if process.returncode == 0:
            break
    assert kills

    result = finished(start(tickets, state, paid))
    expected, once = undisturbed
    assert result == expected
    assert calls(paid).keys() == once.keys()
    twice = sum((calls(paid) - once).values())
    assert twice <= kills  # the call that was under way, at most one a kill


@pytest.mark.parametrize("place", ["journal.append:before", "journal.append:after"])
def test_killed_around_the_first_write_it_ends_as_undisturbed(tickets, tmp_path, undisturbed, place):
    state, paid = tmp_path / "state", tmp_path / "paid"
    process = start(tickets, state, paid, **{VARIABLE: place})
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert finished(start(tickets, state, paid)) == undisturbed[0]


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_line_that_was_cut_is_paid_for_again_and_no_other(tickets, tmp_path, undisturbed, cut):
    state, paid = tmp_path / "state", tmp_path / "paid"
    finished(start(tickets, state, paid))
    journal = state / "calls.jsonl"
    os.truncate(journal, journal.stat().st_size - cut)
    assert finished(start(tickets, state, paid)) == undisturbed[0]
    assert sum((calls(paid) - undisturbed[1]).values()) == 1
