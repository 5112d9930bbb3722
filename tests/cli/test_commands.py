"""Every command in a project that works: answers on stdout, talk on stderr, the right exit code, no colours off a terminal."""

import json
import os
import pty
import re
import subprocess
import sys

import click
import pytest

from headrace.cli.main import COMMANDS, cli
from headrace.core.errors import NotFoundError

from .mini import write

READS = [
    ["status"],
    ["table", "list"],
    ["table", "show", "shop.orders"],
    ["table", "history", "shop.orders"],
    ["feature", "list"],
    ["feature", "show", "stats.customers"],
    ["model", "list"],
    ["model", "show", "days"],
    ["monitor", "show", "days"],
    ["monitor", "kpis", "days"],
    ["sql", "select customer, count(*) as orders from shop.orders group by customer order by customer"],
    ["runs", "list"],
    ["doctor"],
]


@pytest.fixture(scope="module")
def ran(headrace, tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("mini") / "mini")
    for pipeline in ("refresh", "train", "score"):
        done = headrace.run(folder, "run", pipeline, *(["--since", "2024-02-01"] if pipeline == "score" else []))
        assert done.code == 0, done.stderr
        assert done.stdout == ""
        assert "\x1b" not in done.stderr
    return folder


@pytest.mark.parametrize("command", READS, ids=" ".join)
def test_a_read_answers_people_and_programs(headrace, ran, command):
    for_people = headrace.run(ran, *command)
    for_programs = headrace.run(ran, *command, "--json")

    assert (for_people.code, for_programs.code) == (0, 0), for_people.stderr + for_programs.stderr
    assert json.loads(for_programs.stdout)
    assert for_people.stdout.strip()
    assert "\x1b" not in for_people.stdout + for_people.stderr
    assert max(map(len, for_people.stdout.splitlines())) <= (120 if "list" in command or "status" in command else 200)


def test_the_answers_are_true(headrace, ran):
    orders = headrace.run(ran, "sql", "select count(*) as n, max(id) as last from shop.orders", "--json").json()
    tables = {row["table"]: row for row in headrace.run(ran, "table", "list", "--json").json()}
    (version,) = headrace.run(ran, "model", "list", "--json").json()
    scored = headrace.run(
        ran, "sql", "select count(*) as n, count(distinct id) as ids from answers.days", "--json"
    ).json()

    assert orders == [{"n": 120, "last": 119}]
    assert (tables["shop.orders"]["rows"], tables["shop.orders"]["kind"]) == (120, "table")
    assert (version["version"], version["stage"], set(version["metrics"])) == (1, "None", {"rmse", "mae", "r2"})
    assert scored == [{"n": 58, "ids": 58}]


def test_a_run_its_steps_and_its_log_can_be_looked_at(headrace, ran):
    jobs = headrace.run(ran, "runs", "list", "--json").json()
    training = next(job for job in jobs if job["job"] == "train days")
    shown = headrace.run(ran, "runs", "show", training["run"][:14], "--json").json()
    log = headrace.run(ran, "runs", "logs", training["run"], "--json").json()

    assert [step["step"] for step in shown["steps"]] == ["training set", "fit", "evaluate", "register"]
    assert {step["status"] for step in shown["steps"]} == {"done"}
    assert any("decisions: 120" in line["line"] for line in log)


@pytest.mark.parametrize("pipeline", ["refresh", "train", "score"])
def test_a_dry_run_changes_nothing(headrace, ran, pipeline):
    def state():
        places = [path for path in (ran / ".headrace" / "dev").rglob("*") if "state.db" not in path.name]
        return {path: path.stat().st_mtime_ns for path in places}

    before = state(), headrace.run(ran, "runs", "list", "--json").json()
    done = headrace.run(ran, "run", pipeline, "--dry-run", "--json")

    assert done.code == 0, done.stderr
    assert all({"step", "reads", "writes", "takes", "runs"} == set(step) for step in done.json())
    assert (state(), headrace.run(ran, "runs", "list", "--json").json()) == before


def test_a_file_is_loaded_by_hand_once(headrace, ran, tmp_path):
    file = tmp_path / "My Cities.jsonl"
    file.write_text('{"city": "Łódź", "people": 650000}\n{"city": "Oulu", "people": 210000}\n')
    first = headrace.run(ran, "table", "load", file)
    again = headrace.run(ran, "table", "load", file, "--json").json()
    rows = headrace.run(ran, "sql", "select city from bronze.my_cities order by people", "--json").json()

    assert first.code == 0, first.stderr
    assert again["rows"] == 0
    assert rows == [{"city": "Oulu"}, {"city": "Łódź"}]


def test_python_opens_what_the_command_line_sees(ran, monkeypatch):
    import headrace as hr

    monkeypatch.chdir(ran)
    with hr.open("dev") as dev:
        assert dev.sql("select count(*) as orders from shop.orders").to_pandas().orders.tolist() == [120]
        assert len(dev.tables["shop.orders"].to_arrow()) == len(dev.tables["shop.orders"].to_pandas()) == 120
        assert [(each.model, each.version) for each in dev.models.list()] == [("days", 1)]
        assert dev.models["days"].newest.details.run_id == dev.models["days"].version(1).details.run_id
        assert dev.runs[dev.runs.list()[0].run].status == "done"
    with pytest.raises(NotFoundError, match=r"did you mean 'shop.orders'"):
        hr.open("dev").tables["shop.orderz"]
    with pytest.raises(NotFoundError, match="'nowhere'"):
        hr.open("nowhere")


def test_help_is_there_for_every_command_and_is_not_cut(headrace, tmp_path):
    done = headrace.run(tmp_path, "--help")
    for name in ("demo", "run", "status", "table", "feature", "model", "sql", "runs", "doctor"):
        assert f"\n  {name} " in done.stdout
        told = headrace.run(tmp_path, name, "--help")
        assert told.code == 0
        assert "..." not in told.stdout.replace("[ARGS]...", "")


def test_an_empty_project_says_what_comes_first(headrace, tmp_path):
    folder = write(tmp_path / "mini")
    for command, way in (
        (["table", "list"], "run refresh"),
        (["runs", "list"], "run refresh"),
        (["model", "list"], "run train"),
    ):
        done = headrace.run(folder, *command)
        assert (done.code, done.stdout) == (0, "")
        assert f"headrace {way} --env dev" in done.stderr
        assert headrace.run(folder, *command, "--json").json() == []


def test_status_says_first_what_needs_a_person_and_how_fresh_tables_are(headrace, tmp_path):
    folder = write(tmp_path / "mini")
    assert headrace.run(folder, "run", "refresh").code == 0
    assert headrace.run(folder, "run", "train", "--as-of", "2000-01-01").code == 1
    found = headrace.run(folder, "status", "--json").json()
    told = headrace.run(folder, "status").stdout.splitlines()
    tables = {row["table"]: row for row in found["tables"]}

    (need,) = found["needs_a_person"]
    assert need["what"] == "train days failed"
    assert "no labelled decision" in need["reason"]
    assert headrace.run(folder, *need["next"].split()[1:]).code == 0
    assert "needs a person" in told[0]
    assert "train days failed" in told[1]
    assert tables["shop.labels"]["newest"].startswith("2024-03-05T12:00")
    assert tables["shop.orders"]["changed"] is not None
    listed = headrace.run(folder, "runs", "list").stdout
    assert len(listed.splitlines()) == 3, listed  # an error of several lines takes one


def test_a_version_is_shown_with_its_slices(headrace, ran):
    shown = headrace.run(ran, "model", "show", "days", "--json").json()
    (kept,) = headrace.run(
        ran,
        "sql",
        "select count(distinct slice_value) as n from metrics.evaluations where slice_key = 'customer'",
        "--json",
    ).json()

    assert len(shown["slices"]) == kept["n"] > 1
    assert {"key", "value", "rows", "metrics"} <= set(shown["slices"][0])
    assert "customer c0" in headrace.run(ran, "model", "show", "days").stdout


def test_numbers_that_json_lacks_are_texts_there_and_data_is_shown_as_it_is(headrace, ran):
    query = "select 'nan'::double as a, '-inf'::double as b, null::double as c, 2013 as year, 1e-7 as small"
    (row,) = headrace.run(ran, "sql", query, "--json").json()
    assert row == {"a": "NaN", "b": "-Infinity", "c": None, "year": 2013, "small": 1e-7}
    assert headrace.run(ran, "sql", query).stdout.split()[-2:] == ["2013", "1e-07"]


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=["colours", "NO_COLOR"])
def test_on_a_terminal_answers_fit_and_colours_can_be_refused(ran, env, coloured):
    master, slave = pty.openpty()
    kept = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    command = [sys.executable, "-m", "headrace.cli", "status"]
    done = subprocess.run(
        command, cwd=ran, stdout=slave, stderr=slave, env={**kept, "COLUMNS": "70", **env}, check=False
    )
    os.close(slave)
    told = b""
    while part := _read(master):
        told += part
    os.close(master)

    assert done.returncode == 0, told.decode()
    assert ("\x1b[" in told.decode()) is coloured
    assert max(len(re.sub(r"\x1b\[\d*m", "", line)) for line in told.decode().splitlines()) <= 70


def _read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:  # what Linux says at the end
        return b""


def test_nobody_reading_to_the_end_does_not_end_the_work(headrace, tmp_path):
    folder = write(tmp_path / "mini")
    command = f"{sys.executable} -m headrace.cli run refresh 2>&1 | head -1"
    subprocess.run(command, shell=True, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (job,) = headrace.run(folder, "runs", "list", "--json").json()

    assert job["status"] == "done"


GROUPS = {
    name: group for name in COMMANDS if isinstance(group := cli.get_command(click.Context(cli), name), click.Group)
}


@pytest.mark.parametrize("name", GROUPS)
def test_the_line_of_a_group_names_each_of_its_commands(name):
    named = re.findall(r"[\w-]+", COMMANDS[name])
    assert [each for each in GROUPS[name].list_commands(click.Context(GROUPS[name])) if each not in named] == []
