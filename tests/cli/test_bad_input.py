"""What a person gets who makes a mistake: what happened, where, what was possible; never our traceback, nothing half-done."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from .mini import write

TRAIN = ["run", "train"]
REFRESH = ["run", "refresh"]


@pytest.fixture(scope="module")
def refreshed(headrace, tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("mini") / "mini")
    done = headrace.run(folder, *REFRESH)
    assert done.code == 0, done.stderr
    edit(folder / "mini.py", "    return Mean()", "    raise ValueError\n    return Mean()")
    assert headrace.run(folder, *TRAIN).code == 1  # MLflow takes seconds to make its store: here once for all
    edit(folder / "mini.py", "    raise ValueError\n    return Mean()", "    return Mean()")
    return folder


@pytest.fixture(scope="module")
def tables(headrace, refreshed):
    """What the lakehouse holds after the refresh."""
    return headrace.run(refreshed, "table", "list", "--json").json()


@pytest.fixture
def mini(refreshed, tmp_path):
    """The project after a refresh, in a copy to spoil."""
    return shutil.copytree(refreshed, tmp_path / "mini")


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def kindly(done, code, *says):
    """The exit code, the words, and no traceback of ours."""
    assert done.code == code, done.stderr
    for words in says:
        assert words.lower() in done.stderr.lower(), done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not re.search(r"headrace/(?!examples)\w+/\w+\.py", done.stderr), done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "refresh", "--env", "lve"], ["no environment 'lve'", "did you mean 'live'?"]),
        (["table", "show", "shop.order"], ["no table 'shop.order'", "did you mean 'shop.orders'?"]),
        (
            ["feature", "show", "stats.customer"],
            ["no feature table 'stats.customer'", "did you mean 'stats.customers'?"],
        ),
        (["run", "train", "--model", "day"], ["no model 'day'", "did you mean 'days'?"]),
        (["model", "show", "days"], ["days", "headrace run train"]),
        (["runs", "show", "nothing"], ["no run 'nothing'"]),
        (["run", "train", "--as-of", "yesterday"], ["'yesterday' is not a date or time", "2013-05-01"]),
        (["sql", "select amout from shop.orders"], ["amout", "amount"]),
        (["sql", "select * from shop.ordres"], ["no table 'shop.ordres'", "did you mean 'shop.orders'?"]),
        (["sql", "select * from '/etc/passwd'"], ["/etc/passwd"]),
        (["sql", "select * from read_csv('/etc/passwd')"], ["read_csv"]),
        (["sql", "copy shop.orders to '/tmp/x'"], ["SELECT"]),
        (["sql", "selct 1"], ["syntax error"]),
        (["sql", "select id, id from shop.orders"], ["more than one column 'id'"]),
        (["table", "show", "orders"], ["'orders' is not a table name", "schema.table"]),
        (
            ["table", "show", "shop.orders", "--version", "9"],
            ["no version of shop.orders '9'.", "latest version is 1", "headrace table history shop.orders"],
        ),
        (["table", "load", "nothing.csv"], ["nothing.csv"]),
        (["model", "show", "days", "--version", "0"], ["--version"]),
        (["run", "score"], ["no version of a model called 'days'", "headrace run train"]),
        (["run", "score", "--since", "2024-02-02", "--until", "2024-02-01"], ["--since", "is not before --until"]),
        (["run", "refersh"], ["no command 'refersh'", "did you mean 'refresh'?"]),
        (["run", "train", "--asof", "2024-01-01"], ["--asof", "--as-of"]),
        (["tabel", "list"], ["no command 'tabel'", "did you mean 'table'?"]),
    ],
)
def test_a_wrong_name_or_word_is_told_with_the_right_one(headrace, refreshed, arguments, says):
    kindly(headrace.run(refreshed, *arguments), 2, *says)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[env.live]", "[env.live", ["headrace.toml:7"]),
        ('module = "mini"', 'modul = "mini"', ["modul", "did you mean 'module'?"]),
        ("[env.live]", '[env.live]\nread = ["dev"]', ["read", "did you mean 'reads'?"]),
        ("[env.live]", '[env.live]\ncode = "anything"', ["headrace.toml:8", "anything", "did you mean 'any'?"]),
        ("[env.live]", '[env.live]\nreads = ["prod"]', ["prod"]),
        ("[env.live]", '[env.live]\nroot = ".headrace/dev"', ["headrace.toml:7", "'dev' and 'live'"]),
        ('as_of = "2024-03-01"', 'as_of = "soon"', ["headrace.toml:4", "'soon' is not a date or time"]),
        ("[env.dev]", '[env.dev]\nlakehouse = "foo://bucket"', ["foo://bucket", "Unknown scheme", "s3://"]),
        ("[env.dev]", '[env.dev]\nstate = "foo://host"', ["foo://host", "sqlite:///"]),
        ('module = "mini"', 'module = "maxi"', ["[project] module", "maxi", "did you mean 'mini'?"]),
    ],
)
def test_a_malformed_configuration_is_told_with_its_place(headrace, mini, old, new, says):
    edit(mini / "headrace.toml", old, new)
    kindly(headrace.run(mini, *REFRESH), 2, *says)


def test_a_store_that_mlflow_cannot_open_is_told(headrace, mini):
    edit(mini / "headrace.toml", "[env.dev]", '[env.dev]\ntracking = "foo://host"')
    kindly(headrace.run(mini, *TRAIN), 2, "MLflow's store cannot be opened", "foo://host", "tracking = ")


@pytest.mark.parametrize(
    ("given", "says"), [("dv__state", "did you mean 'dev'?"), ("dev__stat", "did you mean 'state'?")]
)
def test_a_misspelt_variable_is_told(headrace, refreshed, given, says):
    done = headrace.run(refreshed, "status", env={f"HEADRACE_ENV__{given}": "x"})
    kindly(done, 2, f"HEADRACE_ENV__{given}", says)


ORDERS = "select id, customer, placed_at, amount from raw.orders"


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        (ORDERS, "select id, from raw.orders where", 2, ["mini.py:", "syntax error"]),
        (ORDERS, "select * from read_csv('/etc/passwd')", 2, ["mini.py:", "read_csv"]),
        (
            ORDERS,
            "select id, placed_at, amount, customer from raw.ordes",
            2,
            ["no table 'raw.ordes'", "did you mean 'raw.orders'?"],
        ),
        (ORDERS, "select id, custmer, placed_at, amount from raw.orders", 2, ["custmer", "customer"]),
        (
            ORDERS,
            "select id, customer, placed_at, amount from shop.labels join shop.orders using (id)",
            2,
            ["shop.orders"],
        ),
        (
            "labels = hr",
            'a, b = (\n    hr.Table("x.a", key="id", sql="select id from x.b"),\n    hr.Table("x.b", key="id", sql="select id from x.a"),\n)\nlabels = hr',
            2,
            ["x.a → x.b → x.a", "mini.py:18", "mini.py:19"],
        ),
        ('placed_at="timestamp_utc"', 'placed_at="timestamptz"', 2, ["mini.py:15", "did you mean 'timestamp'?"]),
        ('files="data/*.csv"', 'files="dta/*.csv"', 2, ["mini.py:15", "no file matches 'dta/*.csv'"]),
        ("import headrace as hr", "import headrace as hr\nimport nowhere", 1, ["mini.py:2", "'nowhere'"]),
        ("class Mean:", "class Mean", 1, ["mini.py:4", "SyntaxError"]),
        (ORDERS, "select 1 as id, customer, placed_at, amount from raw.orders", 1, ["agree in (id)", "id=1"]),
        ('"shop.labels", key="id"', '"shop.orders", key="id"', 2, ["shop.orders", "mini.py:16", "mini.py:17"]),
        (' time="at",', "", 2, ["stats.customers", "needs time=", "mini.py:"]),
        ('    key="customer",\n', "", 2, ["stats.customers", "needs a key", "mini.py:"]),
        (
            "placed_at as at, count(*)",
            "date_trunc('month', placed_at) as at, count(*)",
            1,
            ["stats.customers", "agree in (customer, at)"],
        ),
        ("placed_at as at, count(*)", "nullif(placed_at, placed_at) as at, count(*)", 1, ["time 'at'", "null in"]),
        (
            "placed_at, amount from",
            "placed_at, amount::varchar as amount from",
            1,
            ["column 'amount'", "float64", "string"],
        ),
    ],
)
def test_a_table_that_cannot_be_is_refused_and_nothing_is_lost(headrace, mini, tables, old, new, code, says):
    program = (mini / "mini.py").read_text()
    edit(mini / "mini.py", old, new)
    kindly(headrace.run(mini, *REFRESH), code, *says)

    (mini / "mini.py").write_text(program)
    assert headrace.run(mini, *REFRESH).code == 0
    after = headrace.run(mini, "table", "list", "--json").json()
    assert after == tables


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        ("evaluate=", 'tune=hr.Tune({"a": 3}),\n    evaluate=', 2, ["mini.py:36", "search space of 'a'", "hr.uniform"]),
        ('orders.at("placed_at")', 'orders.at("placed")', 2, ["mini.py:30", "did you mean 'placed_at'?"]),
        ('orders.at("placed_at")', 'orders.at("customer")', 2, ["mini.py:16", "'customer'", "not a time"]),
        ('slices=["customer"]', 'slices=["custmer"]', 2, ["mini.py:30", "did you mean 'customer'?", "slices="]),
        ('slices=["customer"]', 'metrics=["rmsee"]', 2, ["mini.py:30", "did you mean 'rmse'?"]),
        ('features.select("orders")', "features", 2, ["mini.py:30", "'stats.customers'", "table.select("]),
        (
            'features.select("orders")',
            'hr.external_feature_table("stats.x").select("y")',
            2,
            ["mini.py:30", "no table 'stats.x'"],
        ),
        ('features.select("orders")', 'features.select("order")', 2, ["order", "did you mean 'orders'?"]),
        ('orders.select("amount")', 'orders.select("amont")', 2, ["amont", "did you mean 'amount'?"]),
        ('labels["days"]', 'labels["day"]', 2, ["day", "days"]),
        ("    return Mean()", "    data.X['nothing']\n    return Mean()", 1, ["KeyError", "nothing", "mini.py"]),
        ("    return Mean().fit(data.X, data.y)", "    return None", 1, ["fit() gave NoneType"]),
        ("numpy.full(len(X), self.value)", "numpy.full(3, self.value)", 1, ["shape (3,)"]),
        ('test="10d"', 'test="365d"', 1, ["nothing to fit on"]),
        ('test="10d"', 'test="ten days"', 2, ["'ten days' is not a duration"]),
        (
            'task=hr.Regression(label=labels["days"])',
            'task=hr.Binary(label=labels["days"])',
            1,
            ["neither true nor false"],
        ),
    ],
)
def test_a_model_that_cannot_be_is_refused_and_no_run_is_left(headrace, mini, old, new, code, says):
    edit(mini / "mini.py", old, new)
    kindly(headrace.run(mini, *TRAIN), code, *says)
    jobs = headrace.run(mini, "runs", "list", "--json").json()
    assert not [job for job in jobs if job["status"] == "running"]


@pytest.mark.parametrize(
    ("table", "old", "new", "says"),
    [
        ("shop.labels", "done_at, days from", "done_at, 1::bigint as days from", ["all", "the same label"]),
        ("stats.customers", "count(*) as orders", "null::bigint as orders", ["orders", "missing in all"]),
        (
            "shop.labels",
            "done_at, days from raw.orders",
            "done_at, days from raw.orders where false",
            ["no labelled decision"],
        ),
    ],
)
def test_data_with_nothing_to_learn_from_is_told(headrace, mini, table, old, new, says):
    edit(mini / "mini.py", old, new)
    assert headrace.run(mini, *REFRESH).code == 0, table
    kindly(headrace.run(mini, *TRAIN), 1, *says)


def test_a_label_from_the_future_does_not_exist_yet(headrace, mini):
    edit(mini / "mini.py", "select id, done_at, days", "select id, done_at + interval '100 years' as done_at, days")
    assert headrace.run(mini, *REFRESH).code == 0
    kindly(headrace.run(mini, *TRAIN), 1, "no labelled decision", "not_yet 120")


def test_labels_of_after_the_training_moment_are_left_out_and_counted(headrace, mini):
    moment = datetime(2024, 2, 10, tzinfo=UTC)
    begun = datetime(2024, 1, 1, tzinfo=UTC)
    placed = [begun + timedelta(hours=12 * number) for number in range(120)]
    known = [at + timedelta(days=1 + number % 5) <= moment for number, at in enumerate(placed)]
    done = headrace.run(mini, *TRAIN, "--as-of", f"{moment:%Y-%m-%d}")
    assert done.code == 0, done.stderr
    (run, *_) = headrace.run(mini, "runs", "list", "--json").json()
    log = {line["line"] for line in headrace.run(mini, "runs", "logs", run["run"], "--json").json()}
    kept = headrace.run(mini, "sql", "select max(id) as last, count(*) as n from training.days", "--json").json()

    assert f"not_yet: {known.count(False)}" in log
    assert kept == [{"last": max(n for n, there in enumerate(known) if there), "n": known.count(True)}]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("1 / 0", ["ZeroDivisionError", "mini.py:32"]),
        ("placed_at.dt.hour.to_frame('hour')", ["['hour']", "declared: ['h']"]),
    ],
)
def test_an_on_demand_feature_that_raises_or_has_another_shape_is_told(headrace, mini, body, says):
    marked = f"@hr.on_demand(hr.Schema(h='int32'))\ndef hour(placed_at):\n    return {body}\n\n\nmodel = hr.Model"
    edit(mini / "mini.py", "model = hr.Model", marked)
    edit(mini / "mini.py", 'features.select("orders")]', 'features.select("orders"), hour]')
    kindly(headrace.run(mini, *TRAIN), 1, "hour()", *says)


def test_a_project_outside_git_runs_in_dev_only(headrace, mini):
    kindly(headrace.run(mini, *REFRESH, "--env", "live"), 3, "not in a git repository", "git init", "git tag v0.1.0")
    assert headrace.run(mini, *REFRESH).code == 0
    assert headrace.run(mini, "doctor", "--env", "live").code == 1
    assert headrace.run(mini, "status", "--env", "live").code == 0


def test_a_file_is_not_mixed_into_a_table_that_is_made(headrace, mini):
    kindly(headrace.run(mini, "table", "load", "data/orders.csv", "--into", "shop.orders"), 3, "shop.orders", "--into")


def test_a_damaged_table_is_named(headrace, mini):
    next((mini / ".headrace/dev/lakehouse/shop/orders/_delta_log").glob("*0.json")).write_text("{")
    kindly(headrace.run(mini, "table", "list"), 1, "lakehouse/shop/orders: the Delta log cannot be read")


def test_a_defect_of_headrace_shows_itself_as_one(headrace, mini):
    with closing(sqlite3.connect(mini / ".headrace" / "dev" / "state.db")) as connection, connection:
        connection.execute("update job_runs set params = '{'")  # nothing but Headrace writes there
    done = headrace.run(mini, "runs", "list")

    assert done.code == 70
    assert "Traceback" in done.stderr
    assert "defect of Headrace" in done.stderr.splitlines()[-1]


def test_outside_of_a_project_the_way_in_is_told(headrace, tmp_path):
    kindly(headrace.run(tmp_path, "status"), 2, "headrace.toml", "headrace demo")


def test_dev_reads_the_tables_of_the_highest_environment_and_never_writes_them(headrace, tmp_path):
    folder = write(tmp_path / "mini")
    (folder / ".gitignore").write_text(".headrace/\n")
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"], ["tag", "v1"]):
        subprocess.run([*git, *arguments], cwd=folder, check=True)
    assert headrace.run(folder, *REFRESH, "--env", "live").code == 0
    live, dev = folder / ".headrace" / "live", folder / ".headrace" / "dev"
    before = {path: path.stat().st_mtime_ns for path in live.rglob("*")}
    done = headrace.run(folder, *TRAIN)

    assert done.code == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in live.rglob("*")} == before
    tables = headrace.run(folder, "table", "list", "--json").json()
    assert {row["env"] for row in tables if row["table"] in ("shop.orders", "stats.customers")} == {"live"}
    assert {row["env"] for row in tables if row["table"] == "training.days"} == {"dev"}
    (dev / "lakehouse" / "shop").mkdir()
    (dev / "lakehouse" / "shop" / "orders").symlink_to(live / "lakehouse" / "shop" / "orders")
    edit(folder / "mini.py", ORDERS, f"{ORDERS} limit 5")
    kindly(headrace.run(folder, *REFRESH), 3, "'shop.orders' of 'dev'", "is not written")
    assert {path: path.stat().st_mtime_ns for path in live.rglob("*")} == before
    (dev / "lakehouse" / "shop" / "orders").unlink()
    edit(folder / "headrace.toml", "[env.dev]", "[env.dev]\nreads = []")
    kindly(headrace.run(folder, *TRAIN), 2, "no table")


SLOW = """\
import pathlib
import time

import pyarrow as pa


def rows():
    pathlib.Path("waiting").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
    yield pa.RecordBatch.from_pydict({"x": [1]})


"""


def test_ctrl_c_keeps_what_was_finished_and_the_same_command_goes_on(headrace, tmp_path):
    folder = write(tmp_path / "mini")
    program = (folder / "mini.py").read_text()
    (folder / "mini.py").write_text(SLOW + program + 'slow = hr.Source("raw.slow", read=rows)\n')
    command = [sys.executable, "-m", "headrace.cli", *REFRESH]
    running = subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONFAULTHANDLER": "1"}
    )
    while not (folder / "waiting").exists():
        assert running.poll() is None, running.stderr.read()
    running.send_signal(signal.SIGINT)
    try:
        _, said = running.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        running.send_signal(signal.SIGABRT)  # it then says where it hangs
        _, said = running.communicate()

    assert running.returncode == 130, said
    assert "interrupted" in said
    assert "Traceback" not in said
    (job,) = headrace.run(folder, "runs", "list", "--json").json()
    assert job["status"] == "interrupted"
    assert "refresh interrupted" in headrace.run(folder, "status").stdout.splitlines()[1]
    (folder / "go").touch()
    assert headrace.run(folder, *REFRESH).code == 0
    tables = {row["table"]: row["rows"] for row in headrace.run(folder, "table", "list", "--json").json()}
    assert (tables["raw.orders"], tables["raw.slow"], tables["shop.orders"]) == (120, 1, 120)
    assert "nothing needs a person" in headrace.run(folder, "status").stdout


def test_a_source_function_that_raises_shows_the_users_line(headrace, mini):
    (mini / "mini.py").write_text(
        (mini / "mini.py").read_text() + 'broken = hr.Source("raw.broken", read=lambda: [1 / 0])\n'
    )
    kindly(headrace.run(mini, *REFRESH), 1, "ZeroDivisionError", "mini.py:")
