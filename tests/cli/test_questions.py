"""Comparing versions, schedules and monitoring as people see them, and in Python: tables, a plot on a terminal only, `--json`."""

import os
import pty
import re
import subprocess
import sys

import pytest
from tests.operations import monitored_project

from headrace.cli.plot import BLOCKS

COMMANDS = [["model", "compare", "days", "1", "2"], ["schedule", "list"], ["monitor", "show", "days", "--version", "1"]]


@pytest.fixture(scope="module")
def folder(headrace, tmp_path_factory):
    return monitored_project.build(headrace, tmp_path_factory.mktemp("questions") / "mini")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_off_a_terminal_there_is_text_alone(headrace, folder, command):
    shown = headrace.run(folder, *command)

    assert shown.code == 0, shown.stderr
    assert set(shown.stdout) & {"\x1b", *BLOCKS} == set()
    assert max(map(len, shown.stdout.splitlines())) <= 120
    assert set(headrace.run(folder, *command, "--json").stdout) & {"\x1b", *BLOCKS} == set()


def test_two_versions_are_side_by_side(headrace, folder):
    shown = headrace.run(folder, "model", "compare", "days", "1", "2").stdout
    lines = [line.split() for line in shown.splitlines()]

    assert ["stage", "Archived", "Production"] in lines
    assert ["depth", "3", "4", "yes"] in lines
    assert lines.index(["depth", "3", "4", "yes"]) < lines.index(["rate", "0.1000", "0.1000", "no"])
    assert ["only", "in", "version", "1", "orders"] in lines
    assert ["stats.customers", "1", "-"] in lines
    assert headrace.run(folder, "model", "compare", "days", "1").code == 2
    assert "itself" in headrace.run(folder, "model", "compare", "days", "1", "1").stderr


def test_schedules_say_what_is_due_and_what_to_do(headrace, folder):
    shown = headrace.run(folder, "schedule", "list", "--env", "dev")

    assert "days   retraining  alert" in shown.stdout
    assert " now " in shown.stdout
    assert "headrace up --env dev" in shown.stderr


def test_monitoring_is_shown_by_window_and_by_column(headrace, folder):
    report = headrace.run(folder, "monitor", "show", "days", "--json").json()
    shown = headrace.run(folder, "monitor", "show", "days").stdout
    (measure,) = [each for each in report["quality"] if each["metric"] == "rmse"][:1]
    (drift,) = report["drift"][:1]

    assert f"{measure['start'][:10]}  {measure['value']:.4f} ({measure['low']:.4f} to {measure['high']:.4f})" in shown
    assert re.search(rf"^{drift['column']} +{drift['psi']:.3f}", shown, re.MULTILINE)
    listed = shown.partition("Drift (")[2].splitlines()[2:]
    assert listed[0].split()[0] == max(report["drift"], key=lambda each: each["psi"] or 0)["column"]  # the worst first
    assert set(report) == {
        "env", "model", "version", "versions", "stage", "granularity", "predictions", "windows", "earlier", "later", "rules",
        "drift_warn", "drift_alert", "embedding_warn", "embedding_alert", "quality", "drift",
    }  # fmt: skip
    assert "not shown: --windows" in headrace.run(folder, "monitor", "show", "days", "--windows", "1").stderr


def test_on_a_terminal_quality_is_also_a_plot(headrace, folder):
    """One block for each window, behind the name of the metric, and every line fits."""
    windows = headrace.run(folder, "monitor", "show", "days", "--version", "1", "--json").json()["windows"]
    told = on_a_terminal(folder, "monitor", "show", "days", "--version", "1", columns=70)
    plotted = re.findall(rf"^(\w+) +([{BLOCKS}]+)  ", told, re.MULTILINE)

    assert [name for name, _ in plotted] == ["rmse", "mae", "r2"]
    assert {len(drawn) for _, drawn in plotted} == {windows}
    assert max(map(len, told.splitlines())) <= 70


def on_a_terminal(folder, *command, columns):
    """What a terminal of so many columns shows, without colours."""
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1"}
    words = [sys.executable, "-m", "headrace.cli", *command]
    done = subprocess.run(words, cwd=folder, stdout=slave, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(slave)
    told = b""
    try:
        while part := os.read(master, 65536):
            told += part
    except OSError:  # what Linux says at the end
        pass
    os.close(master)
    assert done.returncode == 0, done.stderr.decode()
    return told.decode().replace("\r\n", "\n")


def test_a_session_answers_the_same(headrace, folder, monkeypatch):
    import headrace as hr

    monkeypatch.chdir(folder)
    with hr.open("dev") as dev:
        model = dev.models["days"]
        assert model.compare(1, 2).to_json() == headrace.run(folder, *COMMANDS[0], "--json").json()
        assert model.monitoring(1).to_json() == headrace.run(folder, *COMMANDS[2], "--json").json()
        assert [each.version for each in model.versions] == [1, 2]
        assert model.newest.number == model.monitoring(windows=1).version == 2
        assert [each.version for each in model.comparisons] == [1, 2]
        assert model.history[-1].stage == "Production"
        (schedule,) = dev.schedule.schedules
        assert (schedule.model, schedule.due) == ("days", True)
