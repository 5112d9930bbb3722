"""What a person reads: wide rows, NaN, a run that was only a typo, a program that cannot be loaded, hints."""

import json

import pytest
from tests.cli import mini

from headrace.cli import output, run
from headrace.core.errors import SqlError
from headrace.lakehouse.declarations import Sql
from headrace.lakehouse.sql_errors import duckdb_error
from headrace.operations.record import rows_as_json
from headrace.operations.sql import CATALOG


def test_rows_that_are_too_wide_are_records_and_no_name_is_cut(capsys):
    row = {f"arrival_delay_of_the_last_{n}_days": n for n in range(9)}
    output.table([row, row])
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert shown.count("arrival_delay_of_the_last_7_days  7") == 2


def test_long_values_give_way_and_names_stay_whole(capsys):
    output.table([{"what_it_says": "x" * 200, "another_column_name": "y" * 90}])
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["what_it_says", "another_column_name"]
    assert len(line) <= output.WIDTH


def test_json_tells_nan_from_null_in_rows_and_stays_json(capsys):
    rows = [{"a": float("nan"), "b": None, "c": [float("-inf")], "d": float("inf")}]
    output.emit(rows_as_json(rows))
    assert json.loads(capsys.readouterr().out) == [{"a": "NaN", "b": None, "c": ["-Infinity"], "d": "Infinity"}]
    output.emit({"metric": float("nan")})
    assert json.loads(capsys.readouterr().out) == {"metric": None}


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("select amount as amoun2, amoun from t", (1, 25)),
        ("select\t'🔥é' as x,\tamoun from t", (1, 18)),
        ("select '日本語日本' as x, amoun from t", (1, 21)),
        ("select 1,\r\n   amoun\r\nfrom t", (2, 3)),
        ("\n\n  with a as (select 1 as amoun_, id from t)\n  select amoun_, amoun from a", (4, 17)),
        ("select " + ", ".join(f"amount as amoun{n}" for n in range(30)) + ", amoun from t where amount > 10000", None),
    ],
)
def test_the_caret_is_under_the_word_that_is_wrong(text, marked):
    import duckdb

    connection = duckdb.connect()
    connection.execute("create table t (id int, amount int)")
    with pytest.raises(duckdb.Error) as raised:
        connection.execute(text)
    found = duckdb_error(raised.value, Sql(text, "<query>"))
    assert isinstance(found, SqlError)
    excerpt, carets = found.findings
    line, column = marked or (1, text.index(", amoun from") + 2)
    assert found.what.startswith(f"<query>:{line}:")
    gutter = len(f"{line} | ")
    written = text.split("\n")[line - 1]
    wide = sum(1 for letter in written[:column] if letter in "🔥日本語")
    assert excerpt[gutter:] == written.rstrip("\r")
    assert carets[gutter:].rstrip("^") == carets[gutter : gutter + column + wide]
    assert carets.count("^") == len("amoun")


@pytest.mark.parametrize(
    "text", ["describe raw.orders", "DESC raw.orders;", "show tables", "SHOW ALL TABLES", r"\d", ".tables"]
)
def test_what_other_shells_answer_is_known(text):
    assert CATALOG.fullmatch(text)
    assert not CATALOG.fullmatch("select 1")


def test_a_program_that_cannot_be_loaded_is_trouble_and_a_typo_can_be_acknowledged(headrace, tmp_path):
    project = mini.write(tmp_path / "p")
    right = (project / "mini.py").read_text()
    (project / "mini.py").write_text(right.replace("select id, customer", "select idd, customer"))
    assert headrace.run(project, "run", "refresh").code == 2
    (project / "mini.py").write_text("import not_there\nprint('loading')\n")
    status = headrace.run(project, "status", "--json")
    assert status.code == 1
    needs = status.json()["needs_a_person"]
    assert needs[0]["what"] == "the project cannot be loaded, from working tree (not committed)"
    assert "not_there" in needs[0]["reason"]
    assert needs[1]["what"] == "refresh failed"
    assert status.json()["tables"]
    (project / "mini.py").write_text("print('loading')\n" + right)
    run = headrace.run(project, "runs", "list", "--json").json()[0]["run"]
    assert headrace.run(project, "runs", "acknowledge", run).code == 2
    done = headrace.run(project, "runs", "acknowledge", run, "--reason", "a typo", "--json").json()
    assert (done["reason"], done["status"]) == ("a typo", "failed")
    after = headrace.run(project, "status", "--json")
    assert (after.code, after.json()["needs_a_person"]) == (0, [])
    audit = headrace.run(project, "audit", "--json").json()
    assert any(entry["action"] == "run.acknowledged" and entry["details"]["reason"] == "a typo" for entry in audit)
    granted = headrace.run(project, "access", "grant", "maria", "ml_enginer")
    assert "did you mean 'ml_engineer'?" in granted.stderr
    assert "headrace table show raw.orders" in headrace.run(project, "sql", "describe raw.orders").stderr


def test_a_plan_without_a_step_is_a_plan(capsys):
    run._plan([], as_json=False)
    assert "Nothing was done" in capsys.readouterr().err
    run._plan([], as_json=True)
    assert json.loads(capsys.readouterr().out) == []
