"""What is printed while a step runs is in the run's log, whoever printed it, and is handed on to stderr."""

import logging
import os
import subprocess
import sys
import time

import pytest
from tests.support.values import take

from headrace.jobs import captured_output


def lines(ledger, run, step):
    return [line.line for line in ledger.logs(run.id) if line.step == step]


def test_prints_logging_programs_and_c_are_kept_in_the_log_of_the_step(ledger, capfd):
    late = logging.getLogger("of the user")

    def fit(step):
        print("round 1: 0.5")
        print("wärme 🔥", file=sys.stderr)
        late.addHandler(inside := logging.StreamHandler())
        late.warning("told by logging")
        late.removeHandler(inside)
        os.write(1, b"from C\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        print("\r 10 %\r 50 %\r100 %\nno end", end="")
        step.log("and said")
        return {}

    with ledger.open("train", {}, code="x") as run:
        take(run, "fit", {}, fit)
        take(run, "quiet", {}, lambda _: {})
    kept = lines(ledger, run, "fit")
    for expected in (
        "round 1: 0.5",
        "wärme 🔥",
        "told by logging",
        "from C",
        "from a child",
        "100 %",
        "no end",
        "and said",
    ):
        assert expected in kept
    assert lines(ledger, run, "quiet") == []
    out, err = capfd.readouterr()
    assert out == ""
    assert "from C\nfrom a child\n" in err
    print("afterwards")
    assert capfd.readouterr().out == "afterwards\n"


def test_an_error_comes_after_what_was_printed_before_it(ledger):
    def fit(_):
        print("before")
        raise ValueError("too few rows")

    with pytest.raises(ValueError, match="few"), ledger.open("train", {}, code="x") as run:
        take(run, "fit", {}, fit)
    kept = lines(ledger, run, "fit")
    assert kept[0] == "before"
    assert kept[-1] == "ValueError: too few rows"


def test_a_job_inside_a_job_keeps_its_own_lines(ledger):
    def outer(_):
        print("outside")
        with ledger.open("train", {}, code="x") as inner:
            take(inner, "fit", {}, lambda _: print("inside") or {})
        print("outside again")
        return {"inner": inner.id}

    with ledger.open("retrain", {}, code="x") as run:
        inner = take(run, "train", {}, outer).output["inner"]
    assert lines(ledger, run, "train") == ["outside", "outside again"]
    assert [line.line for line in ledger.logs(inner)] == ["inside"]


def test_what_was_printed_before_an_inner_job_began_is_the_outer_ones(monkeypatch):
    whole = captured_output._Pipe._pass
    monkeypatch.setattr(captured_output._Pipe, "_pass", lambda *given: (time.sleep(0.05), whole(*given)))

    seen = {"outer": [], "inner": []}
    with captured_output.captured(seen["outer"].extend):
        print("before")
        with captured_output.captured(seen["inner"].extend):
            print("within")
        print("after")
    assert seen == {"outer": ["before", "after"], "inner": ["within"]}


def test_a_loop_that_prints_without_end_is_counted(ledger, monkeypatch):
    monkeypatch.setattr(captured_output, "MOST", 3)
    with ledger.open("train", {}, code="x") as run:
        take(run, "fit", {}, lambda _: [print(i) for i in range(10)] and {})
    assert lines(ledger, run, "fit") == ["0", "1", "2", "… 7 more lines were printed and are not kept."]
