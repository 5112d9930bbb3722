"""The assistant's demo, killed at every step of every run and amid its conversations; then it equals an undisturbed one.

It takes about ten minutes, so `make test` leaves it to `make demo-killed`; `test_demo_llm_killed.py` is its short form.

The places come from the run ledger of an undisturbed demo, not from a clock. One demo is killed at one place after the other,
each time where it had come to, until it is through.
"""

import shutil
import signal

import pytest
from tests.support import assistant_demo
from tests.support.assistant_demo import ARGUMENTS, answers, document, ended, kill_when, left, places, won

MOMENTS = {  # the part of the journal whose questions are asked, how many were answered, and whether servers die, too
    "converse": [("first", 1, False), ("first", 15, True), ("first", 40, False)],
    "contest": [("contest", 1, True), ("contest", 90, False), ("contest", 170, True), ("contest", 256, False)],
}


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    """Two folders with the same project, at the same ports."""
    laid_out = tmp_path_factory.mktemp("laid_out")
    assistant_demo.lay_out_some(laid_out)
    return [shutil.copytree(laid_out, tmp_path_factory.mktemp(name) / "demo") for name in ("undisturbed", "disturbed")]


@pytest.fixture(scope="module")
def undisturbed(headrace, parents):
    done = headrace.run(parents[0], *ARGUMENTS)
    assert done.code == 0, done.stderr
    return parents[0] / "assistant", document(done.stdout)


@pytest.fixture(scope="module")
def disturbed(headrace, undisturbed, parents):
    parent, folder = parents[1], parents[1] / "assistant"
    for place in places(undisturbed[0]):
        if place == "run.opened:ingest-log assistant":  # what follows a conversation
            for part, count, group in MOMENTS["contest" if "converse" in ended(folder) else "converse"]:
                kill_when(parent, lambda: answers(folder, part) >= count, group=group, log=parent / "log")  # noqa: B023
        if place == "run.opened:train assistant" and "contest" not in ended(folder) and "tuned" in ended(folder):
            kill_when(parent, lambda: won(folder), group=False, log=parent / "log")
        done = headrace.run(parent, *ARGUMENTS, failpoint=place)
        assert done.signal == signal.SIGKILL, f"{place}: {done.stderr}"
    done = headrace.run(parent, *ARGUMENTS)
    assert done.code == 0, done.stderr
    return folder, document(done.stdout)


def test_it_prints_the_same(undisturbed, disturbed):
    assert disturbed[1] == undisturbed[1]


@pytest.mark.parametrize("what", ["answers", "feedback", "versions", "unfinished runs", "audit", "parts", "releases"])
def test_it_leaves_the_same(undisturbed, disturbed, what):
    assert left(disturbed[0])[what] == left(undisturbed[0])[what]
