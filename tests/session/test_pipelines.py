"""The pipelines from a notebook: the same runs as by the commands, told a line a step, and repeated without repeating."""

import pytest
from tests.cli.mini import write

import headrace as hr
from headrace.core.clock import instant
from headrace.core.errors import DataError, NotFoundError

PRESENT = instant("2024-03-01")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(
        tmp_path_factory.mktemp("session") / "mini", deployment="gates=[hr.not_worse('rmse', margin=0.1, min_rows=10)]"
    )


def test_a_model_goes_the_whole_way(folder, capsys):
    with hr.open(folder=folder) as dev:
        dev.refresh()
        trained = dev.train(as_of=PRESENT)
        came = dev.deploy(as_of=PRESENT)
        scored = dev.score(as_of=PRESENT, since="2024-02-01", until=PRESENT)
        watched = dev.monitor("days", as_of=PRESENT)
    told = capsys.readouterr()
    assert (trained.version, came.ending, watched.alerts) == (1, "in production", ())
    assert {run.job for run in dev.runs.list()} == {
        "refresh",
        "train days",
        "deploy days",
        "score days",
        "monitor days",
    }
    assert dev.models["days"].newest.stage == "Production"
    assert sum(step.output["rows"] for step in scored.steps if step.name.startswith("score ")) > 0
    assert told.out == ""
    assert "  ✓ register: version 1, stage None (" in told.err
    assert told.err.splitlines()[0].startswith("dev, from ")


def test_a_cell_that_runs_twice_repeats_nothing(folder, capsys):
    dev = hr.open(folder=folder)
    dev.refresh()
    capsys.readouterr()
    dev.refresh()
    built = [line for line in capsys.readouterr().err.splitlines() if "build" in line]
    assert built
    assert all(line.startswith("  · ") and line.endswith("(unchanged)") for line in built)


def test_a_quiet_session_says_nothing(folder, capsys):
    hr.open(folder=folder, quiet=True).refresh()
    assert capsys.readouterr() == ("", "")


def test_mistakes_are_the_errors_of_the_commands(folder):
    dev = hr.open(folder=folder, quiet=True)
    with pytest.raises(NotFoundError, match="did you mean 'days'"):
        dev.train("dais")
    with pytest.raises(DataError, match="no labelled decision"):
        dev.train(as_of="1999-01-01")
