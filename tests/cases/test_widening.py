"""Whole numbers become decimals and dates become times, down the whole chain; and what dev has to begin anew."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.cli.mini import write

from headrace.core.errors import BusyError
from headrace.operations.in_use import alone, at_work
from headrace.workspace.workspace import open_workspace

CASES = Path(__file__).parent


def ok(headrace, folder, *arguments, code=0, **options):
    done = headrace.run(folder, *arguments, **options)
    assert done.code == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def case(name, tmp_path):
    return shutil.copytree(CASES / name, tmp_path / name)


def rows(headrace, folder, query):
    return ok(headrace, folder, "sql", query, "--json").json()


# ---------------------------------------------------------------------------------------------- the cases


def test_whole_numbers_then_decimals(headrace, tmp_path):
    folder = case("int_then_decimal", tmp_path)
    ok(headrace, folder, "run", "refresh")
    shutil.move(folder / "02.csv", folder / "data")
    done = ok(headrace, folder, "run", "refresh")

    assert "amount: int64 → float64" in done.stderr
    expected = [{"id": 1, "amount": 10.0}, {"id": 2, "amount": 20.0}, {"id": 3, "amount": 10.5}]
    assert rows(headrace, folder, "select id, amount from bronze.pay order by id") == expected


def test_dates_then_times(headrace, tmp_path):
    folder = case("date_then_time", tmp_path)
    ok(headrace, folder, "run", "refresh")
    shutil.move(folder / "02.csv", folder / "data")
    ok(headrace, folder, "run", "refresh")

    found = rows(headrace, folder, "select id, seen from bronze.e order by id")
    assert [row["seen"] for row in found] == [
        "2024-01-01T00:00:00",
        "2024-01-02T00:00:00",
        "2024-01-05T10:30:00",
        "2024-01-05T23:59:59",
    ]


def test_text_where_numbers_were_is_refused_until_the_table_is_dropped(headrace, tmp_path):
    folder = case("int_then_decimal", tmp_path)
    ok(headrace, folder, "run", "refresh")
    (folder / "data" / "03.csv").write_text("id,amount\n4,many\n")
    refused = headrace.run(folder, "run", "refresh")
    assert refused.code == 1
    assert "headrace table drop bronze.pay" in refused.stderr

    asked = headrace.run(folder, "table", "drop", "bronze.pay")
    assert (asked.code, "--yes" in asked.stderr) == (3, True)
    ok(headrace, folder, "table", "drop", "bronze.pay", "--yes")
    program = folder / "proj.py"
    program.write_text(program.read_text().replace(")", ', schema=hr.Schema(amount="string"))'))
    ok(headrace, folder, "run", "refresh")
    assert [row["amount"] for row in rows(headrace, folder, "from bronze.pay order by id")] == ["10", "20", "many"]
    assert "table.dropped" in [each["action"] for each in ok(headrace, folder, "audit", "--json").json()]


def test_a_dropped_table_is_made_anew_though_a_step_of_its_inputs_was_done(headrace, tmp_path):
    folder = case("int_then_decimal", tmp_path)
    table = '\npay = hr.Table("silver.pay", key="id", sql="select id, amount{} as amount from bronze.pay")\n'
    plain = (folder / "proj.py").read_text()
    for change in ("", " + 1"):
        (folder / "proj.py").write_text(plain + table.format(change))
        ok(headrace, folder, "run", "refresh")
    ok(headrace, folder, "table", "drop", "silver.pay", "--yes")
    for change, amounts in (
        (" + 1", [11, 21]),
        ("", [10, 20]),
    ):  # its first version has the number that another one had
        (folder / "proj.py").write_text(plain + table.format(change))
        ok(headrace, folder, "run", "refresh")
        assert [row["amount"] for row in rows(headrace, folder, "from silver.pay order by id")] == amounts

    (folder / "data" / "01.csv").write_text("id,amount\n1,7\n")
    ok(headrace, folder, "table", "drop", "bronze.pay", "--yes")
    ok(headrace, folder, "run", "refresh")  # bronze.pay counts from the beginning, and has other rows
    assert rows(headrace, folder, "select id, amount from silver.pay") == [{"id": 1, "amount": 7}]


@pytest.mark.parametrize("arguments", [["table", "drop", "bronze.pay"], ["env", "reset"]])
@pytest.mark.parametrize("env", ["staging", "prod"])
def test_only_dev_is_taken_away(headrace, tmp_path, arguments, env):
    folder = case("int_then_decimal", tmp_path)
    (folder / "headrace.toml").write_text(
        '[project]\nname = "p"\nmodule = "proj"\n[env.dev]\n[env.staging]\n[env.prod]\n'
    )
    refused = headrace.run(folder, *arguments, "--env", env, "--yes")

    assert refused.code == 3, refused.stderr
    assert repr(env) in refused.stderr


def test_a_table_that_is_not_there_is_not_dropped(headrace, tmp_path):
    folder = case("int_then_decimal", tmp_path)
    assert headrace.run(folder, "table", "drop", "bronze.pay", "--yes").code == 2
    assert headrace.run(folder, "table", "drop", "../../data", "--yes").code == 2


# ---------------------------------------------------------------------------------------------- reset


def test_reset_leaves_what_is_not_the_environments(headrace, tmp_path):
    folder = case("int_then_decimal", tmp_path)
    own = folder / "state"
    (folder / "headrace.toml").write_text(
        '[project]\nname = "p"\nmodule = "proj"\n[env.dev]\nroot = "state"\nlakehouse = "tables"\n[env.prod]\n'
    )
    ok(headrace, folder, "run", "refresh")
    (folder / "tables" / "mine.txt").write_text("mine")
    (own / "notes.txt").write_text("mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept.txt").write_text("mine")
    (own / "artifacts").symlink_to(elsewhere)

    asked = headrace.run(folder, "env", "reset")
    assert (asked.code, "--yes" in asked.stderr) == (3, True)
    assert (own / "state.db").exists()
    ok(headrace, folder, "env", "reset", "--yes")
    left = {str(path.relative_to(folder)) for place in (own, folder / "tables") for path in place.rglob("*")}
    assert left <= {
        "tables/mine.txt",
        "state/notes.txt",
        "state/.gitignore",
        "state/up.lock",
        "state/serve.lock",
        "state/work.lock",
        "state/state.db",  # a new one, with one entry of the audit record
        "state/state.db-wal",
        "state/state.db-shm",
    }
    assert [entry["action"] for entry in ok(headrace, folder, "audit", "--json").json()] == ["environment.reset"]
    assert (elsewhere / "kept.txt").exists()
    assert (folder / "data" / "01.csv").exists()
    ok(headrace, folder, "run", "refresh")
    assert [row["amount"] for row in rows(headrace, folder, "from bronze.pay order by id")] == [10, 20]


@pytest.mark.parametrize("what", ["tables", "tracking", "state"])
def test_reset_killed_half_way_is_run_again(headrace, tmp_path, what):
    folder = case("int_then_decimal", tmp_path)
    ok(headrace, folder, "run", "refresh")
    killed = headrace.run(folder, "env", "reset", "--yes", failpoint=f"reset.removed:{what}")
    assert killed.signal == 9
    ok(headrace, folder, "env", "reset", "--yes")
    ok(headrace, folder, "run", "refresh")

    assert [row["amount"] for row in rows(headrace, folder, "from bronze.pay order by id")] == [10, 20]


SLOW = """
import time
import headrace as hr

def rows():
    import pathlib, pyarrow
    pathlib.Path("begun").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
    return pyarrow.table({"id": [1]})

pay = hr.Source("bronze.pay", files="data/*.csv")
slow = hr.Source("bronze.slow", read=rows)
"""


@pytest.mark.parametrize("arguments", [["table", "drop", "bronze.pay"], ["env", "reset"]])
def test_nothing_is_taken_away_from_a_run(headrace, tmp_path, arguments):
    folder = case("int_then_decimal", tmp_path)
    ok(headrace, folder, "run", "refresh")
    (folder / "proj.py").write_text(SLOW)
    command = [sys.executable, "-m", "headrace.cli", "run", "refresh"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL) as run:
        try:
            until = time.monotonic() + 60
            while not (folder / "begun").exists() and time.monotonic() < until:
                time.sleep(0.01)
            refused = headrace.run(folder, *arguments, "--yes")
        finally:
            (folder / "go").touch()
    assert (refused.code, "refresh is being run by" in refused.stderr) == (3, True), refused.stderr
    assert run.returncode == 0
    assert len(rows(headrace, folder, "from bronze.pay")) == 2
    ok(headrace, folder, *arguments, "--yes")


@pytest.mark.parametrize("began", ["run refresh", "table load data/01.csv"])
def test_nothing_begins_while_something_is_taken_away(headrace, tmp_path, began):
    folder = case("int_then_decimal", tmp_path)
    ok(headrace, folder, "run", "refresh")
    with open_workspace(folder=folder) as workspace, alone(workspace, "reset it"):
        refused = headrace.run(folder, *began.split())
    assert (refused.code, "is being taken away" in refused.stderr) == (3, True), refused.stderr
    ok(headrace, folder, *began.split())


def test_a_run_that_opened_what_was_reset_meanwhile_is_not_begun(headrace, tmp_path):
    folder = case("int_then_decimal", tmp_path)
    ok(headrace, folder, "run", "refresh")
    with open_workspace(folder=folder) as workspace:
        assert workspace.ledger.runs()
        ok(headrace, folder, "env", "reset", "--yes")
        for _ in range(2):
            with pytest.raises(BusyError, match="has just been reset"), at_work(workspace):
                pass
            ok(headrace, folder, "run", "refresh")  # another database is in its place
    with open_workspace(folder=folder) as workspace, at_work(workspace), at_work(workspace):
        assert workspace.ledger.runs()


def test_runs_and_removals_at_once_leave_whole_tables(headrace, tmp_path):
    """Each is done or refused, and whatever is refused says why; afterwards a refresh makes what there should be."""
    folder = case("int_then_decimal", tmp_path)
    ok(headrace, folder, "run", "refresh")
    commands = [["run", "refresh"], ["table", "drop", "bronze.pay", "--yes"], ["env", "reset", "--yes"]]
    program = [sys.executable, "-m", "headrace.cli"]
    running = [subprocess.Popen([*program, *each], cwd=folder, stderr=subprocess.PIPE, text=True) for each in commands]
    for each in running:
        said = each.communicate()[1]
        assert each.returncode in (0, 2, 3), said  # 2: the table is gone already
        assert "Traceback" not in said
    ok(headrace, folder, "run", "refresh")
    assert [row["amount"] for row in rows(headrace, folder, "from bronze.pay order by id")] == [10, 20]


def test_reset_takes_no_file_that_is_no_store_and_none_of_another_environment(headrace, tmp_path):
    folder = case("int_then_decimal", tmp_path)
    ok(headrace, folder, "run", "refresh")
    precious, link = folder / "precious.csv", tmp_path / "link"
    precious.write_text("mine\n")
    other = folder / ".headrace" / "prod"
    other.mkdir(parents=True)
    (other / "mlflow.db").write_bytes(b"SQLite format 3\0 and so on")
    link.symlink_to(other)
    (folder / "headrace.toml").write_text('[project]\nname = "p"\nmodule = "proj"\n[env.dev]\n[env.prod]\n')
    variables = {
        "HEADRACE_ENV__dev__online": str(precious),
        "HEADRACE_ENV__dev__tracking": f"sqlite:///{link}/mlflow.db",
    }
    headrace.run(folder, "env", "reset", "--yes", env=variables)
    assert precious.read_text() == "mine\n"
    assert (other / "mlflow.db").exists()


def test_reset_tells_of_stores_elsewhere_without_their_password(headrace, tmp_path):
    folder = case("int_then_decimal", tmp_path)
    (folder / "headrace.toml").write_text(
        '[project]\nname = "p"\nmodule = "proj"\n[env.dev]\nlakehouse = "s3://bucket/tables"\n'
        'online = "redis://localhost:1/0"\n'
    )
    done = ok(headrace, folder, "env", "reset", "--yes", "--json").json()

    assert [(each["what"], each["where"]) for each in done["left"]] == [
        ("tables", "s3://bucket/tables"),
        ("online store", "redis://localhost:1/0"),
    ]


# ---------------------------------------------------------------------------------------------- the whole loop


@pytest.fixture(scope="module")
def shop(headrace, tmp_path_factory):
    """A model that was trained, deployed, published and scored while each amount was a whole number."""
    folder = write(tmp_path_factory.mktemp("shop") / "mini", deployment="serve=hr.Serve(), gates=[hr.signature()]")
    program = folder / "mini.py"
    text = program.read_text().replace("count(*) as orders from", "count(*) as orders, max(amount) as top from")
    text = text.replace('features.select("orders")', 'features.select("orders", "top")')
    program.write_text(text.replace('time="at",', 'time="at", online=True,'))
    data = folder / "data" / "orders.csv"
    data.write_text(data.read_text().replace(".5,", ","))
    ok(headrace, folder, "run", "refresh")
    ok(headrace, folder, "run", "train", "--as-of", "2024-02-01")
    ok(headrace, folder, "run", "deploy", "--as-of", "2024-02-01")
    ok(headrace, folder, "run", "publish", "--as-of", "2024-02-20")
    ok(headrace, folder, "run", "score", "--as-of", "2024-02-20")
    return folder


def free_port():
    import socket

    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


def ask(port, row, path="/predict"):
    body = json.dumps({"rows": [row]}).encode()
    wanted = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"content-type": "application/json"})
    for _ in range(600):
        try:
            return json.load(urllib.request.urlopen(wanted, timeout=30))
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read()) from None
        except OSError:
            time.sleep(0.1)
    raise AssertionError("no answer")


def test_a_model_from_before_goes_on_answering(headrace, shop):
    port = free_port()
    row = {"id": 1, "customer": "c1", "placed_at": "2024-02-29T00:00:00Z", "amount": 4}
    command = [sys.executable, "-m", "headrace.cli", "serve", "--port", str(port)]
    server = subprocess.Popen(command, cwd=shop, env=os.environ, stderr=subprocess.DEVNULL)
    try:
        before = ask(port, row)["predictions"][0]
        lines = ["id,customer,placed_at,done_at,amount,days"]
        lines += [f"{900 + day},c{day % 7},2024-02-2{day}T00:00:00Z,2024-02-29T00:00:00Z,{day}.25,2" for day in (1, 5)]
        (shop / "data" / "zz.csv").write_text("\n".join(lines) + "\n")
        refreshed = ok(headrace, shop, "run", "refresh")
        ok(headrace, shop, "run", "publish", "--as-of", "2024-02-28")
        ok(headrace, shop, "run", "score", "--as-of", "2024-02-28")
        after = ask(port, {**row, "amount": 4.5})["predictions"][0]
        busy = headrace.run(shop, "env", "reset", "--yes")
    finally:
        server.terminate()
        server.wait()

    for change in ("amount: int64 → float64", "top: int64 → float64"):
        assert change in refreshed.stderr
    assert before["prediction"] == after["prediction"]  # the model gives the mean, whatever it is asked
    assert (busy.code, "headrace serve" in busy.stderr) == (3, True)
    scored = rows(
        headrace,
        shop,
        "select id, features.amount as amount, features.top as top from answers.days where id in (901, 905) order by id",
    )
    assert scored == [{"id": 901, "amount": 1.25, "top": 1.25}, {"id": 905, "amount": 5.25, "top": 5.25}]
    assert ok(headrace, shop, "run", "train", "--as-of", "2024-03-01").code == 0


def test_dropping_a_table_tells_what_depends_on_it(headrace, shop):
    dropped = ok(headrace, shop, "table", "drop", "stats.customers", "--yes", "--json").json()

    said = "\n".join(dropped["dependents"])
    for each in ("model days is trained", "version 1 (Production) of model days", "online store"):
        assert each in said


def test_a_dropped_table_of_predictions_is_scored_anew_whole(headrace, shop):
    ok(headrace, shop, "run", "refresh")
    ok(headrace, shop, "run", "score", "--as-of", "2024-02-28")
    before = rows(headrace, shop, "select count(*) as n from answers.days")
    ok(headrace, shop, "table", "drop", "answers.days", "--yes")
    ok(headrace, shop, "run", "score", "--as-of", "2024-02-28")

    assert rows(headrace, shop, "select count(*) as n from answers.days") == before
