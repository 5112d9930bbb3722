"""Steps of one run: executed once, found again, and what is kept of their errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from tests.support.values import Values, take

from headrace.core.errors import DataError, RefusedError, UserCodeError
from headrace.jobs.step_output import StepOutput


def give(**output):
    return lambda _: output


def statuses(ledger, run):
    return [(step.name, step.status) for step in ledger.steps(run.id)]


def test_a_step_is_executed_once_and_found_unchanged_by_later_runs(ledger):
    executed = []

    def do(step):
        executed.append(step.key)
        return {"table": "a", "version": 3}

    with ledger.open("refresh", {}, code="x") as first:
        outcome = take(first, "load a", {"files": ["1"]}, do)
    assert (outcome.name, outcome.state, outcome.output) == ("load a", "done", {"table": "a", "version": 3})
    with ledger.open("refresh", {}, code="y") as second:
        again = take(second, "load a", {"files": ["1"]}, do)
        other = take(second, "load b", {"files": ["1"]}, do)
    assert (again.state, again.output) == ("unchanged", outcome.output)
    assert other.state == "done"
    assert len(set(executed)) == len(executed) == 2
    assert statuses(ledger, second) == [("load a", "unchanged"), ("load b", "done")]
    step = ledger.steps(second.id)[0]
    assert (step.output, step.seq, step.attempt, step.write_id) == (outcome.output, 1, 1, executed[0])
    assert step.ended >= step.started


def test_another_key_another_step_or_another_job_is_executed(ledger):
    with ledger.open("refresh", {}, code="x") as run:
        assert take(run, "a", {"version": 1}, give()).state == "done"
    with ledger.open("refresh", {}, code="x") as run:
        assert take(run, "a", {"version": 2}, give()).state == "done"
    with ledger.open("train", {}, code="x") as run:
        assert take(run, "a", {"version": 1}, give()).state == "done"


def test_what_no_longer_holds_is_executed_again_under_another_id(ledger):
    ids = []

    def do(step):
        ids.append(step.key)
        return {"version": len(ids)}

    with ledger.open("refresh", {}, code="x") as run:
        take(run, "a", {}, do)
    with ledger.open("refresh", {}, code="x") as run:
        asked = []
        outcome = take(run, "a", {}, do, holds=asked.append)  # which gives None: it does not hold
    assert asked == [{"version": 1}]
    assert (outcome.state, outcome.output) == ("done", {"version": 2})
    assert ids[0] != ids[1]
    with ledger.open("refresh", {}, code="x") as run:
        assert take(run, "a", {}, do, holds=lambda was: was["version"] == 2).state == "unchanged"


def test_a_failed_step_is_repeated_under_the_same_id(ledger):
    ids = []

    def do(step):
        ids.append(step.key)
        if len(ids) < 3:
            raise DataError("no rows")
        return {}

    for _ in range(2):
        with pytest.raises(DataError), ledger.open("refresh", {}, code="x") as run:
            take(run, "a", {}, do)
    with ledger.open("refresh", {}, code="x") as run:
        take(run, "a", {}, do)
    assert len(ids) == 3
    assert len(set(ids)) == 1


def test_the_context_says_which_step_of_which_run(ledger):
    with ledger.open("refresh", {}, code="x") as run:
        take(run, "a", {}, lambda step: {"name": step.name, "run": step.run_id, "attempt": step.attempt})
    assert ledger.steps(run.id)[0].output == {"name": "a", "run": run.id, "attempt": 1}


def test_listeners_hear_of_every_step(ledger):
    heard = []
    for _ in range(2):
        with ledger.open("refresh", {}, code="x") as run:
            run.listen(heard.append)
            take(run, "a", {}, give(rows=1))
    assert [(outcome.name, outcome.state, outcome.output) for outcome in heard] == [
        ("a", "done", {"rows": 1}),
        ("a", "unchanged", {"rows": 1}),
    ]
    assert all(outcome.seconds > 0 for outcome in heard)


def test_lines_are_kept_in_order_with_their_step(ledger):
    def do(step):
        step.log("one")
        step.log("two\nthree")
        return {}

    with ledger.open("refresh", {}, code="x") as run:
        take(run, "a", {}, do)
        take(run, "b", {}, do)
    lines = ledger.logs(run.id)
    assert [(line.step, line.line) for line in lines] == [
        (step, line) for step in ("a", "b") for line in ("one", "two", "three")
    ]
    assert [line.at for line in lines] == sorted(line.at for line in lines)


def test_an_output_looks_the_same_at_once_and_when_it_is_found_again(ledger):
    given = {"pair": (1, 2), "score": float("nan"), "deep": [{"far": float("inf")}], "text": "é", 7: "number"}
    plain = {"pair": [1, 2], "score": None, "deep": [{"far": None}], "text": "é", "7": "number"}
    for state in ("done", "unchanged"):
        with ledger.open("refresh", {}, code="x") as run:
            outcome = take(run, "a", {}, lambda _: given)
            assert (outcome.state, outcome.output) == (state, plain)


@dataclass(frozen=True, kw_only=True)
class Loaded(StepOutput):
    rows: int
    files: Sequence[str] = ()

    def summary(self):
        return f"{self.rows} rows of {', '.join(self.files)}"

    def remarks(self):
        return [f"{file} is new" for file in self.files]


@dataclass(frozen=True, kw_only=True)
class LoadedByNow(StepOutput):
    """The same step in a later release."""

    rows: int
    files: Sequence[str] = ()
    seconds: float = 0.0

    def summary(self):
        return ""


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "gave no output: None"),
        ({"rows": 1}, "gave no output: {'rows': 1}"),
        (Loaded(rows=object()), "gave no JSON"),
        (Values(rows=1), "gave no Loaded: rows"),
    ],
)
def test_an_output_that_is_not_what_the_step_leaves_fails_it(ledger, given, reason):
    with pytest.raises(TypeError, match=f"step 'a' {reason}"), ledger.open("refresh", {}, code="x") as run:
        run.step("a", {}, lambda _: given, output=Loaded)
    (step,) = ledger.steps(run.id)
    assert (step.status, step.output, step.summary) == ("failed", None, None)


def test_a_line_for_people_is_kept_beside_the_output_and_remarks_are_told_once(ledger):
    for state, remarks in (("done", ("a.csv is new",)), ("unchanged", ())):
        with ledger.open("refresh", {}, code="x") as run:
            outcome = run.step("a", {}, lambda _: Loaded(rows=3, files=("a.csv",)), output=Loaded)
            assert run.outputs(Loaded, prefix="a") == [Loaded(rows=3, files=["a.csv"])]
        assert (outcome.state, outcome.summary, outcome.remarks) == (state, "3 rows of a.csv", remarks)
        assert outcome.output == Loaded(rows=3, files=["a.csv"])
        (step,) = ledger.steps(run.id)
        assert (step.output, step.summary) == ({"rows": 3, "files": ["a.csv"]}, "3 rows of a.csv")


def test_an_output_of_another_release_is_not_taken_for_this_one(ledger):
    with ledger.open("refresh", {}, code="x") as run:
        run.step("a", {}, lambda _: Loaded(rows=3), output=Loaded)
        assert run.outputs(LoadedByNow) == []
    with ledger.open("refresh", {}, code="y") as run:
        outcome = run.step("a", {}, lambda _: LoadedByNow(rows=4), output=LoadedByNow)
    assert (outcome.state, outcome.output.rows) == ("done", 4)


def test_whether_a_step_has_ended_does_not_depend_on_who_can_read_it(ledger):
    with ledger.open("refresh", {}, code="x") as run:
        assert not run.has_ended(prefix="a")
        run.step("a, version 1", {}, lambda _: Loaded(rows=3), output=Loaded)
        assert run.outputs(LoadedByNow) == []
        assert (run.has_ended(prefix="a, "), run.has_ended(prefix="b")) == (True, False)
        with pytest.raises(DataError):
            run.step("b", {}, lambda _: (_ for _ in ()).throw(DataError("no")), output=Loaded)
        assert not run.has_ended(prefix="b")


def test_a_line_that_cannot_be_made_does_not_undo_the_step(ledger):
    with ledger.open("refresh", {}, code="x") as run:
        outcome = run.step("a", {}, lambda _: Loaded(rows=1, files=(float("nan"),)), output=Loaded)
    assert (outcome.state, outcome.summary, outcome.output.files) == ("done", "", [None])
    (line,) = ledger.logs(run.id)
    assert line.line.startswith("no line can be made of its output: TypeError")


def test_one_name_with_two_keys_in_a_run_is_refused(ledger):
    with pytest.raises(ValueError, match="'a' came twice"), ledger.open("refresh", {}, code="x") as run:  # noqa: PT012
        take(run, "a", {"n": 1}, give())
        take(run, "a", {"n": 2}, give())
    assert ledger.run(run.id).status == "failed"


def test_an_error_fails_the_step_and_the_run_with_its_text(ledger):
    with pytest.raises(DataError), ledger.open("refresh", {}, code="x") as run:  # noqa: PT012
        take(run, "a", {}, give())
        take(run, "b", {}, lambda _: (_ for _ in ()).throw(DataError("3 rows break a promise.", findings=["row 1"])))
    record = ledger.run(run.id)
    assert (record.status, record.error) == ("failed", "3 rows break a promise.\n  row 1")
    assert record.ended >= record.started
    assert statuses(ledger, run) == [("a", "done"), ("b", "failed")]
    assert ledger.steps(run.id)[1].error == record.error
    assert [(line.step, line.line) for line in ledger.logs(run.id)] == [
        ("b", "3 rows break a promise."),
        ("b", "  row 1"),
    ]


def test_the_users_error_is_logged_with_the_users_own_traceback(ledger):
    def theirs():
        return {}["distance"]

    def do(_):
        try:
            theirs()
        except KeyError as error:
            raise UserCodeError("fit of model 'late' raised KeyError: 'distance'") from error

    with pytest.raises(UserCodeError), ledger.open("train", {}, code="x") as run:
        take(run, "fit", {}, do)
    assert ledger.run(run.id).error == "fit of model 'late' raised KeyError: 'distance'"
    lines = [line.line for line in ledger.logs(run.id)]
    assert lines[0] == "fit of model 'late' raised KeyError: 'distance'"
    assert any(f'File "{__file__}"' in line and line.endswith("in theirs") for line in lines)
    assert lines[-1] == "KeyError: 'distance'"
    assert not any("headrace/jobs" in line and "src" in line for line in lines)


def test_a_defect_is_logged_with_the_whole_traceback(ledger):
    with pytest.raises(ZeroDivisionError), ledger.open("refresh", {}, code="x") as run:
        take(run, "a", {}, lambda _: {"ratio": 1 / 0})
    assert ledger.run(run.id).error == "ZeroDivisionError: division by zero"
    lines = [line.line for line in ledger.logs(run.id)]
    assert lines[0] == "Traceback (most recent call last):"
    assert any("run.py" in line for line in lines)


def test_an_error_between_steps_is_logged_for_the_run(ledger):
    with pytest.raises(DataError), ledger.open("refresh", {}, code="x") as run:
        raise DataError("a plan that cannot be")
    assert [(line.step, line.line) for line in ledger.logs(run.id)] == [("", "a plan that cannot be")]


def test_an_error_that_the_pipeline_caught_leaves_the_run_done(ledger):
    with ledger.open("refresh", {}, code="x") as run:
        with pytest.raises(DataError):
            take(run, "a", {}, lambda _: (_ for _ in ()).throw(DataError("no")))
        take(run, "b", {}, give())
    assert ledger.run(run.id).status == "done"
    assert statuses(ledger, run) == [("a", "failed"), ("b", "done")]


def test_an_interrupt_ends_the_step_and_the_run_and_goes_on(ledger):
    def do(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ledger.open("refresh", {}, code="x") as run:
        take(run, "a", {}, do)
    record = ledger.run(run.id)
    assert (record.status, record.error) == ("interrupted", "interrupted from the keyboard")
    assert statuses(ledger, run) == [("a", "interrupted")]
    with ledger.open("refresh", {}, code="x") as following:
        assert take(following, "a", {}, give()).state == "done"
    assert following.id != run.id


def test_a_closed_run_takes_no_step(ledger):
    with ledger.open("refresh", {}, code="x") as run:
        pass
    with pytest.raises(RefusedError, match="is done, no step"):
        take(run, "a", {}, give())


def test_an_interrupt_before_the_function_began_leaves_no_step_running(ledger, monkeypatch):
    def interrupt(place):
        if place == "step.started:a":
            raise KeyboardInterrupt

    monkeypatch.setattr("headrace.jobs.run.reach", interrupt)
    with pytest.raises(KeyboardInterrupt), ledger.open("refresh", {}, code="x") as run:
        take(run, "a", {}, give())
    assert statuses(ledger, run) == [("a", "interrupted")]
