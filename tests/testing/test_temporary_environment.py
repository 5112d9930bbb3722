import os
import signal
import subprocess
import sys
import types
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import headrace as hr
from headrace import testing
from headrace.core import clock
from headrace.core.errors import ConfigError, DeclarationError, HeadraceError, NotFoundError, RefusedError
from headrace.core.folders import folder_digest

AT = "2025-05-01"
TOML = '[project]\nname = "shop"\nmodule = "shop"\n'


def test_sample_rows_come_through_the_tables(shop, orders):
    with testing.environment(shop, at=AT) as env:
        env.load("bronze.orders", orders.head(3))
        env.refresh()

        assert env.tables["silver.orders"].to_pandas().shape == (3, 4)
        assert env.sql("select sum(spent) as s from features.spending").rows()[0]["s"] == pytest.approx(
            orders.head(3)["amount"].sum()
        )


def test_nothing_is_opened_before_it_is_used(shop, orders):
    with testing.environment(shop, at=AT) as env:
        env.load("bronze.orders", orders)

        assert not (env.folder / ".headrace" / "test").exists()


def test_it_goes_at_the_end_with_the_modules_of_its_program(shop):
    before = set(sys.modules)
    with testing.environment(shop, at=AT) as env:
        folder = env.folder
        assert (folder / "shop.py").is_file()

    assert not folder.exists()
    assert not [name for name in set(sys.modules) - before if name.startswith("headrace_project_")]


def test_nothing_is_answered_once_it_is_closed(shop, orders):
    with testing.environment(shop, at=AT) as env:
        env.load("bronze.orders", orders)
        env.refresh()
        table = env.tables["silver.orders"]
    env.close()

    for ask in (env.refresh, table.to_pandas, lambda: env.load("bronze.orders", orders), lambda: env.sql("select 1")):
        with pytest.raises(RefusedError, match="closed, and what was in it is gone"):
            ask()


def test_a_table_says_which_rows_it_lacks(shop, orders):
    with testing.environment(shop, at=AT) as env:
        env.load("bronze.orders", orders)
        env.refresh()

        with pytest.raises(NotFoundError) as refused:
            _ = env.tables["silver.returns"]

    assert "env.load('bronze.returns', rows)" in refused.value.hint


def test_rows_stand_for_what_a_select_returns(shop, orders):
    """The feature is tested without what its inputs are made of."""
    with testing.environment(shop, at=AT) as env:
        env.load("silver.orders", orders.head(8)[["order_id", "customer", "ordered_at", "amount"]])
        env.refresh()

        assert len(env.tables["features.spending"].to_pandas()) == 8
        assert "gold.delivered" not in env.tables


def test_the_key_of_given_rows_counts(shop, orders):
    twice = orders.head(2)[["order_id", "customer", "ordered_at", "amount"]].assign(order_id=1)
    with testing.environment(shop, at=AT) as env:
        env.load("silver.orders", twice)

        with pytest.raises(HeadraceError, match="order_id"):
            env.refresh()


def test_rows_that_are_given_again_replace_the_earlier_ones(shop, orders):
    with testing.environment(shop, at=AT) as env:
        for rows in (orders, orders.head(2)):
            env.load("bronze.orders", rows)
            env.refresh()

        assert len(env.tables["silver.orders"].to_pandas()) == 2


def test_a_source_with_a_function_and_a_file(shop, orders, tmp_path):
    file = tmp_path / "some.csv"
    orders.head(4).to_csv(file, index=False)
    with testing.environment(shop, at=AT) as env:
        env.load("bronze.returns", [{"order_id": 7}])
        env.load("bronze.orders", file)
        env.refresh()

        assert env.tables["silver.returns"].to_pandas()["order_id"].tolist() == [7]
        assert len(env.tables["silver.orders"].to_pandas()) == 4


def test_a_feature_table_of_another_project(program, orders):
    selected = 'spending.select("spent", "last_amount")'
    shop = program(
        replaced={
            selected: f'{selected}, hr.external_feature_table("shared.region").select("risk", on={{"name": "customer"}})'
        }
    )
    elsewhere = hr.FeatureTable("shared.region", key="name", time="since")
    with testing.environment(shop, at=AT) as env:
        env.load("bronze.orders", orders)
        env.load(elsewhere, [{"name": "c1", "since": datetime(2025, 2, 1, tzinfo=UTC), "risk": 0.5}])
        env.refresh()
        risk = env.features("late").to_pandas()["risk"]
        testing.assert_point_in_time(env, "late")

    assert (
        risk.notna().sum()
        == ((orders["customer"] == "c1") & (orders["ordered_at"] >= datetime(2025, 2, 1, tzinfo=UTC))).sum()
    )


# ---------------------------------------------------------------------------------------------- the clock


def test_the_clock_stands_at_the_moment(shop, orders):
    moment = datetime(2025, 5, 1, tzinfo=UTC)
    with testing.environment(shop, at=AT) as env:
        env.load("bronze.orders", orders)
        env.refresh()
        written = env.tables["silver.orders"].history[0].at

        assert moment <= clock.now() < moment + timedelta(seconds=1)
        assert clock.now() < clock.now()  # in order

    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)
    assert written is not None


def test_decisions_after_the_moment_are_in_the_future(shop, orders):
    with testing.environment(shop, at="2025-02-01") as env:
        env.load("bronze.orders", orders)
        env.refresh()

        assert env.features("late").to_pandas()["ordered_at"].max() <= datetime(2025, 2, 1, tzinfo=UTC)


def test_two_at_once_have_each_its_own_rows(program, orders):
    shop = program()
    with testing.environment(shop, at=AT) as one, testing.environment(shop, at="2025-02-01") as other:
        one.load("bronze.orders", orders)
        other.load("bronze.orders", orders.head(5))
        other.refresh()
        one.refresh()

        assert len(one.tables["silver.orders"].to_pandas()) == 300
        assert len(other.tables["silver.orders"].to_pandas()) == 5
        assert len(one.features("late").to_pandas()) == 300
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)


def test_one_that_is_closed_first_leaves_the_clock_of_the_other(shop):
    one = testing.environment(shop, at=AT)
    with testing.environment(shop, at="2024-01-01"):
        one.close()

        assert clock.now().year == 2024


# ---------------------------------------------------------------------------------------------- what stays as it is


PROCESS = """
import os, sys
import pandas as pd
from headrace import testing

rows = [{{"order_id": place, "customer": "c", "ordered_at": pd.Timestamp(2025, 1, 1 + place, tz="UTC"), "amount": 1.0,
          "delivered_at": pd.Timestamp(2025, 2, 1, tz="UTC")}} for place in range({rows})]
with testing.environment({folder!r}, at="2025-05-01") as env:
    env.load("bronze.orders", rows)
    print(env.folder, flush=True)
    {then}
    for _ in range(3):
        env.refresh()
    print(len(env.tables["silver.orders"].to_pandas()))
"""


def start(folder, rows, temporary, then="pass"):
    text = PROCESS.format(rows=rows, folder=str(folder), then=then)
    return subprocess.Popen(
        [sys.executable, "-c", text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )


@pytest.fixture
def project(shop, orders):
    """A project with an environment of its own, which was used."""
    folder = Path(shop.__file__).parent
    (folder / "headrace.toml").write_text(TOML, encoding="utf-8")
    (folder / "orders").mkdir()
    orders.to_csv(folder / "orders" / "1.csv", index=False)
    return folder


def test_processes_at_the_same_time(project, tmp_path):
    several = [start(project, rows, tmp_path) for rows in (2, 3)]

    assert [each.communicate()[0].splitlines()[-1] for each in several] == ["2", "3"]
    assert not list(tmp_path.glob("headrace-test-*"))


def test_the_project_and_its_environments_stay_as_they_are(project, orders, monkeypatch):
    hr.open("dev", folder=project, quiet=True).sql("select 1")
    before = folder_digest(project)
    monkeypatch.setenv("HEADRACE_ENV__dev__state", f"sqlite:///{project}/elsewhere.db")
    monkeypatch.setenv("HEADRACE_ENV__test__state", f"sqlite:///{project}/elsewhere.db")
    monkeypatch.setenv("HEADRACE_TOKEN", "of-somebody")

    with testing.environment(project, at=AT) as env:
        env.load("bronze.orders", orders)
        env.refresh()
        assert "HEADRACE_TOKEN" not in os.environ

    assert folder_digest(project) == before
    assert os.environ["HEADRACE_TOKEN"] == "of-somebody"
    assert dict(os.environ)["HEADRACE_ENV__dev__state"].endswith("elsewhere.db")


def test_a_kill_leaves_a_temporary_folder_and_nothing_else(project, tmp_path):
    before = folder_digest(project)
    process = start(project, 3, tmp_path, then="env.refresh(); print('there', flush=True); sys.stdin.read()")
    folder = Path(process.stdout.readline().strip())
    assert process.stdout.readline().strip() == "there"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stdin.close()

    assert folder.parent == tmp_path
    assert folder.name.startswith("headrace-test-")
    assert folder_digest(project) == before


def test_a_temporary_folder_in_a_repository_that_ignores_it(shop, program, orders, tmp_path, monkeypatch):
    """What git counts as code there is nothing: both programs would have one version."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("*\n", encoding="utf-8")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with testing.environment(shop, at=AT) as env:
        env.load("bronze.orders", orders)
        env.refresh()
        other = program(
            "other",
            {
                "order_id, customer, ordered_at, amount from": "order_id, customer, ordered_at, 2 * amount as amount from"
            },
        )
        with testing.environment(other, at=AT) as doubled:
            doubled.load("bronze.orders", orders)
            doubled.refresh()

            assert doubled.tables["silver.orders"].to_pandas()["amount"].sum() == pytest.approx(
                2 * orders["amount"].sum()
            )


def test_a_module_of_a_package_takes_its_files_with_it(tmp_path, monkeypatch, orders):
    package = tmp_path / "store"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "orders.sql").write_text("select order_id, amount from bronze.orders", encoding="utf-8")
    (package / "tables.py").write_text(
        'import headrace as hr\nraw = hr.Source("bronze.orders", files="*.csv")\n'
        'orders = hr.Table("silver.orders", key="order_id", sql=hr.sql_file("orders.sql"))\n',
        encoding="utf-8",
    )
    (tmp_path / "secret.txt").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    from store import tables

    with testing.environment(tables) as env:
        env.load("bronze.orders", orders)
        env.refresh()

        assert env.tables["silver.orders"].to_pandas().shape == (300, 2)
        assert not (env.folder / "secret.txt").exists()


# ---------------------------------------------------------------------------------------------- mistakes


def test_a_module_without_declarations(tmp_path, monkeypatch):
    (tmp_path / "nothing.py").write_text("x = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    import nothing

    with pytest.raises(DeclarationError, match="the module 'nothing' declares nothing"):
        testing.environment(nothing)
    assert not os.environ.get("HEADRACE_TOKEN")


@pytest.mark.parametrize(
    ("project", "said"),
    [
        (types.ModuleType("made"), "the module 'made' is in no file"),
        (3, "3 is in no file"),
        ("/nowhere/at/all", "there is no folder '/nowhere/at/all'"),
    ],
)
def test_what_is_no_project(project, said):
    with pytest.raises(ConfigError, match=said):
        testing.environment(project)


def test_a_folder_without_a_project(tmp_path):
    with pytest.raises(ConfigError, match=r"There is no headrace\.toml"):
        testing.environment(tmp_path)


@pytest.mark.parametrize("at", ["tomorrow", 20250501])
def test_a_moment_that_is_none(shop, at):
    with pytest.raises(ConfigError, match=str(at)):
        testing.environment(shop, at=at)


def test_a_program_that_raises_leaves_nothing(program, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shop = program()
    Path(shop.__file__).write_text("raise ValueError('broken')", encoding="utf-8")

    with pytest.raises(HeadraceError, match="broken"):
        testing.environment(shop, at=AT)
    assert not list(tmp_path.glob("headrace-test-*"))
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_table_that_is_not_declared(shop, orders):
    with testing.environment(shop, at=AT) as env, pytest.raises(NotFoundError, match=r"bronze\.order'.*bronze\.orders"):
        env.load("bronze.order", orders)


@pytest.mark.parametrize(
    ("table", "lacks", "known", "said"),
    [
        ("bronze.orders", "amount", None, "lack a column that is declared at .*shop.py:7: 'amount' \\(schema=\\)"),
        ("silver.orders", "order_id", None, "'order_id' \\(its key and time\\)"),
        ("bronze.orders", "delivered_at", "delivered_at", "'delivered_at' \\(known=\\)"),
        ("bronze.orders", "delivered_at", {"amount": "delivered_at"}, "'delivered_at' \\(known=\\)"),
    ],
)
def test_rows_that_lack_a_column(shop, orders, table, lacks, known, said):
    with testing.environment(shop, at=AT) as env, pytest.raises(DeclarationError, match=said):
        env.load(table, orders.drop(columns=lacks), known=known)


def test_files_that_cannot_be_loaded(shop, tmp_path):
    (tmp_path / "rows.csv").write_text("order_id\n1\n", encoding="utf-8")
    with testing.environment(shop, at=AT) as env:
        with pytest.raises(ConfigError, match="there is no file"):
            env.load("bronze.orders", tmp_path / "none.csv")
        with pytest.raises(ConfigError, match=r"'bronze\.returns' is not loaded from files"):
            env.load("bronze.returns", tmp_path / "rows.csv")
