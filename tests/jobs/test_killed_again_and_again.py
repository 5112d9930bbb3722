"""Laws of the ledger, on processes that are really killed, again and again, at every place that can matter."""

import importlib.util
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headrace.core.state import State
from headrace.jobs.ledger import Ledger

spec = importlib.util.spec_from_file_location("crashing", Path(__file__).with_name("crashing.py"))
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)

NAMES = ("a", "b", "c")
INSIDE = ("step.started", "store.computed", "store.committed", "step.executed", "step.finished")
EXECUTED = INSIDE[1:]
PLACES = [f"{place}:{name}" for name in NAMES for place in INSIDE] + ["run.opened:refresh", "run.closing:refresh"]
KILLED = -9
LAW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Place:
    """A fresh folder with a store and a state database."""

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="headrace-jobs-"))
        self.store = program.Store(self.folder)
        self.state = State(f"sqlite:///{self.folder}/state.db")
        self.ledger = Ledger(self.state)
        return self

    def __exit__(self, *_):
        self.state.close()
        shutil.rmtree(self.folder)


@LAW
@given(count=st.integers(1, 3), kills=st.lists(st.sampled_from(PLACES), max_size=6))
def test_a_program_killed_again_and_again_has_every_effect_once_and_ends_done(crashing, count, kills):
    steps = [[name, 1] for name in NAMES[:count]]
    with Place() as place:
        died = []
        for failpoint in kills:
            code = crashing(place.folder, steps, failpoint=failpoint)
            if code == 0:  # what that place belongs to was done before
                break
            assert code == KILLED
            died.append(failpoint)
        else:
            assert crashing(place.folder, steps) == 0

        (run,) = place.ledger.runs()
        assert (run.status, run.attempt) == ("done", len(died) + 1)
        assert [(step.name, step.status) for step in place.ledger.steps(run.id)] == [(n, "done") for n, _ in steps]
        assert [step.seq for step in place.ledger.steps(run.id)] == list(range(1, count + 1))
        for name, key in steps:
            stored = place.store.load(name)
            assert (stored["value"], stored["version"]) == (key, 1)
            again = sum(1 for kill in died if kill in {f"{where}:{name}" for where in EXECUTED[:-1]})
            assert place.store.executed().count(name) == 1 + again

        before = place.store.executed()
        assert crashing(place.folder, steps) == 0
        assert place.store.executed() == before
        latest = place.ledger.runs()[0]
        assert latest.id != run.id
        assert {step.status for step in place.ledger.steps(latest.id)} == {"unchanged"}


ATTEMPTS = st.tuples(
    st.lists(st.integers(0, 2), min_size=2, max_size=2),  # the keys of the steps a and b
    st.none() | st.sampled_from([place for place in PLACES if not place.endswith(":c")]),
    st.sampled_from([{}, {"month": 1}]),
    st.sampled_from(["sweep", "foreign write", None]),
)


KEPT = ([0, 0], None, {}, None)


@LAW
@example(
    # the row of a step that was cut off is taken by one that is unchanged; its id must not be used a second time
    attempts=[KEPT, ([1, 0], "step.started:a", {}, "sweep"), ([0, 0], None, {}, "foreign write")],
    final=[0, 0],
)
@example(
    # back to the first key after another one wrote, was cut off, and was given up
    attempts=[KEPT, ([1, 0], "step.executed:a", {}, "sweep"), ([2, 0], "store.committed:a", {"month": 1}, None)],
    final=[1, 0],
)
@given(attempts=st.lists(ATTEMPTS, max_size=6), final=st.lists(st.integers(0, 2), min_size=2, max_size=2))
def test_whatever_was_tried_and_killed_before_a_run_that_ends_leaves_what_it_says(crashing, attempts, final):
    """Inputs change and change back, others write in between, runs are swept: never a stale value, never a zombie."""
    with Place() as place:
        for keys, failpoint, params, between in [*attempts, (final, None, {}, None)]:
            steps = [["a", keys[0]], ["b", keys[1]]]
            code = crashing(place.folder, steps, failpoint=failpoint, params=params)
            assert code in {0, KILLED} if failpoint else code == 0
            if code == 0:
                assert [place.store.load(name)["value"] for name, _ in steps] == keys
                assert place.ledger.runs()[0].status == "done"
            if between == "sweep":
                assert all(run.status == "interrupted" for run in place.ledger.sweep())
                assert not any(run.status == "running" for run in place.ledger.runs())
            if (
                between == "foreign write" and code == 0
            ):  # after a write that was cut off, nobody can tell which was last
                place.store.write("a", f"foreign {place.store.load('a')['version']}", "foreign")
        records = place.ledger.runs()
        assert not any(run.status == "running" for run in records)
        assert not any(step.status == "running" for run in records for step in place.ledger.steps(run.id))


@pytest.mark.parametrize("place_of_death", PLACES[:5])
def test_the_next_process_continues_the_same_run_at_once_and_says_so(crashing, tmp_path, place_of_death):
    assert crashing(tmp_path, [["a", 1]], failpoint=place_of_death) == KILLED
    assert crashing(tmp_path, [["a", 1]]) == 0
    state = State(f"sqlite:///{tmp_path}/state.db")
    ledger = Ledger(state)
    (run,) = ledger.runs()
    assert (run.status, run.attempt, run.error) == ("done", 2, None)
    (line,) = [line for line in ledger.logs(run.id) if not line.step]
    assert line.line.startswith("attempt 2, by ")
    assert line.line.endswith(" was cut off")
    state.close()
