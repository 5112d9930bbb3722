"""Steps of one run: executed once, found again, and what is kept of their errors."""

import pytest

from headrace.core.errors import DataError, RefusedError, UserCodeError


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
        outcome = first.step("load a", {"files": ["1"]}, do)
    assert (outcome.name, outcome.state, outcome.output) == ("load a", "done", {"table": "a", "version": 3})
    with ledger.open("refresh", {}, code="y") as second:
        again = second.step("load a", {"files": ["1"]}, do)
        other = second.step("load b", {"files": ["1"]}, do)
    assert (again.state, again.output) == ("unchanged", outcome.output)
    assert other.state == "done"
    assert len(set(executed)) == len(executed) == 2
    assert statuses(ledger, second) == [("load a", "unchanged"), ("load b", "done")]
    step = ledger.steps(second.id)[0]
    assert (step.output, step.seq, step.attempt, step.write_id) == (outcome.output, 1, 1, executed[0])
    assert step.ended >= step.started


def test_another_key_another_step_or_another_job_is_executed(ledger):
    with ledger.open("refresh", {}, code="x") as run:
        assert run.step("a", {"version": 1}, give()).state == "done"
    with ledger.open("refresh", {}, code="x") as run:
        assert run.step("a", {"version": 2}, give()).state == "done"
    with ledger.open("train", {}, code="x") as run:
        assert run.step("a", {"version": 1}, give()).state == "done"


def test_what_no_longer_holds_is_executed_again_under_another_id(ledger):
    ids = []

    def do(step):
        ids.append(step.key)
        return {"version": len(ids)}

    with ledger.open("refresh", {}, code="x") as run:
        run.step("a", {}, do)
    with ledger.open("refresh", {}, code="x") as run:
        asked = []
        outcome = run.step("a", {}, do, holds=asked.append)  # which gives None: it does not hold
    assert asked == [{"version": 1}]
    assert (outcome.state, outcome.output) == ("done", {"version": 2})
    assert ids[0] != ids[1]
    with ledger.open("refresh", {}, code="x") as run:
        assert run.step("a", {}, do, holds=lambda was: was["version"] == 2).state == "unchanged"


def test_a_failed_step_is_repeated_under_the_same_id(ledger):
    ids = []

    def do(step):
        ids.append(step.key)
        if len(ids) < 3:
            raise DataError("no rows")
        return {}

    for _ in range(2):
        with pytest.raises(DataError), ledger.open("refresh", {}, code="x") as run:
            run.step("a", {}, do)
    with ledger.open("refresh", {}, code="x") as run:
        run.step("a", {}, do)
    assert len(ids) == 3
    assert len(set(ids)) == 1


def test_the_context_says_which_step_of_which_run(ledger):
    with ledger.open("refresh", {}, code="x") as run:
        run.step("a", {}, lambda step: {"name": step.name, "run": step.run_id, "attempt": step.attempt})
    assert ledger.steps(run.id)[0].output == {"name": "a", "run": run.id, "attempt": 1}


def test_listeners_hear_of_every_step(ledger):
    heard = []
    for _ in range(2):
        with ledger.open("refresh", {}, code="x") as run:
            run.listen(heard.append)
            run.step("a", {}, give(rows=1))
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
        run.step("a", {}, do)
        run.step("b", {}, do)
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
            outcome = run.step("a", {}, lambda _: given)
            assert (outcome.state, outcome.output) == (state, plain)


@pytest.mark.parametrize("given", [None, {"a": object()}, 3])
def test_an_output_that_is_no_json_object_fails_the_step(ledger, given):
    with pytest.raises(TypeError, match="step 'a' gave no JSON object"), ledger.open("refresh", {}, code="x") as run:
        run.step("a", {}, lambda _: given)
    assert statuses(ledger, run) == [("a", "failed")]


def test_one_name_with_two_keys_in_a_run_is_refused(ledger):
    with pytest.raises(ValueError, match="'a' came twice"), ledger.open("refresh", {}, code="x") as run:  # noqa: PT012
        run.step("a", {"n": 1}, give())
        run.step("a", {"n": 2}, give())
    assert ledger.run(run.id).status == "failed"


def test_an_error_fails_the_step_and_the_run_with_its_text(ledger):
    with pytest.raises(DataError), ledger.open("refresh", {}, code="x") as run:  # noqa: PT012
        run.step("a", {}, give())
        run.step("b", {}, lambda _: (_ for _ in ()).throw(DataError("3 rows break a promise.", findings=["row 1"])))
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
        run.step("fit", {}, do)
    assert ledger.run(run.id).error == "fit of model 'late' raised KeyError: 'distance'"
    lines = [line.line for line in ledger.logs(run.id)]
    assert lines[0] == "fit of model 'late' raised KeyError: 'distance'"
    assert any(f'File "{__file__}"' in line and line.endswith("in theirs") for line in lines)
    assert lines[-1] == "KeyError: 'distance'"
    assert not any("headrace/jobs" in line and "src" in line for line in lines)


def test_a_defect_is_logged_with_the_whole_traceback(ledger):
    with pytest.raises(ZeroDivisionError), ledger.open("refresh", {}, code="x") as run:
        run.step("a", {}, lambda _: {"ratio": 1 / 0})
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
            run.step("a", {}, lambda _: (_ for _ in ()).throw(DataError("no")))
        run.step("b", {}, give())
    assert ledger.run(run.id).status == "done"
    assert statuses(ledger, run) == [("a", "failed"), ("b", "done")]


def test_an_interrupt_ends_the_step_and_the_run_and_goes_on(ledger):
    def do(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ledger.open("refresh", {}, code="x") as run:
        run.step("a", {}, do)
    record = ledger.run(run.id)
    assert (record.status, record.error) == ("interrupted", "interrupted from the keyboard")
    assert statuses(ledger, run) == [("a", "interrupted")]
    with ledger.open("refresh", {}, code="x") as following:
        assert following.step("a", {}, give()).state == "done"
    assert following.id != run.id


def test_a_closed_run_takes_no_step(ledger):
    with ledger.open("refresh", {}, code="x") as run:
        pass
    with pytest.raises(RefusedError, match="is done, no step"):
        run.step("a", {}, give())


def test_an_interrupt_before_the_function_began_leaves_no_step_running(ledger, monkeypatch):
    def interrupt(place):
        if place == "step.started:a":
            raise KeyboardInterrupt

    monkeypatch.setattr("headrace.jobs.run.reach", interrupt)
    with pytest.raises(KeyboardInterrupt), ledger.open("refresh", {}, code="x") as run:
        run.step("a", {}, give())
    assert statuses(ledger, run) == [("a", "interrupted")]
