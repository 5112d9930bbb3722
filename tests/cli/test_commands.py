"""Every command in a project that works: answers on stdout, talk on stderr, the right exit code, no colours off a terminal."""

import json

import pytest

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
    ["sql", "select customer, count(*) as orders from shop.orders group by customer order by customer"],
    ["job", "list"],
    ["doctor"],
]


@pytest.fixture(scope="module")
def ran(headrace, tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("mini") / "mini")
    for pipeline in ("refresh", "train", "score"):
        done = headrace.run(folder, "run", pipeline, *(["--from", "2024-02-01"] if pipeline == "score" else []))
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
    assert max(map(len, for_people.stdout.splitlines())) <= 250


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
    jobs = headrace.run(ran, "job", "list", "--json").json()
    training = next(job for job in jobs if job["job"] == "train days")
    shown = headrace.run(ran, "job", "show", training["run"][:14], "--json").json()
    log = headrace.run(ran, "job", "logs", training["run"], "--json").json()

    assert [step["step"] for step in shown["steps"]] == ["training set", "fit", "evaluate", "register"]
    assert {step["status"] for step in shown["steps"]} == {"done"}
    assert any("decisions: 120" in line["line"] for line in log)


@pytest.mark.parametrize("pipeline", ["refresh", "train", "score"])
def test_a_dry_run_changes_nothing(headrace, ran, pipeline):
    def state():
        return {path: path.stat().st_mtime_ns for path in (ran / ".headrace" / "dev" / "lakehouse").rglob("*")}

    before = state(), headrace.run(ran, "job", "list", "--json").json()
    done = headrace.run(ran, "run", pipeline, "--dry-run", "--json")

    assert done.code == 0, done.stderr
    assert all({"step", "reads", "writes"} == set(step) for step in done.json())
    assert (state(), headrace.run(ran, "job", "list", "--json").json()) == before


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
        assert dev.lakehouse.snapshot("shop.orders").rows() == 120
        assert [version.version for version in dev.registry.versions("days")] == [1]


def test_help_is_there_for_every_command(headrace, tmp_path):
    done = headrace.run(tmp_path, "--help")
    for name in ("demo", "run", "status", "table", "feature", "model", "sql", "job", "doctor"):
        assert f"\n  {name} " in done.stdout
        assert headrace.run(tmp_path, name, "--help").code == 0
