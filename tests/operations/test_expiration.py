"""The time to live of tables: what goes, what stays and why, killed half-way, and while something else is at work."""

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from tests.operations.bare_project import TOML, BareProject
from tests.operations.loop_project import at

from headrace.core import clock
from headrace.core.errors import BusyError, ConfigError
from headrace.core.locks import hold
from headrace.operations.expiration import expire, plan_expiration
from headrace.operations.in_use import work_lock
from headrace.operations.refresh import refresh
from headrace.operations.scheduler import run_scheduler
from headrace.operations.tables import list_tables, load_table

TTL = TOML.replace("[env.dev]\n", '[env.dev]\nttl = "14d"\n')
PROGRAM = """
raw = hr.Source("raw.orders", files="data/*.csv")
sums = hr.Table("silver.sums", key="city", sql="select city, sum(amount) as amount from raw.orders group by city")
mixed = hr.Table("silver.mixed", key="city", sql="select city, amount from {}.rates")
"""


@pytest.fixture
def shop(tmp_path):
    """A project with a source and two tables that were made, and two that were loaded by hand."""
    shop = BareProject(tmp_path / "shop", program=PROGRAM.format("bronze"))
    (shop.folder / "headrace.toml").write_text(TTL)
    (shop.folder / "data").mkdir()
    (shop.folder / "data" / "rows.csv").write_text("city,amount\nOulu,1\n")
    for name in ("bronze.rates", "bronze.pay"):
        load_table(shop.at(), shop.folder / "data" / "rows.csv", into=name)
    refresh(shop.at())
    return shop


def names(shop):
    return [each.table for each in list_tables(shop.at()).tables]


def later(days):
    return clock.frozen(clock.now() + timedelta(days=days))


def expired(report):
    return [each.table for each in report.expired]


def test_nothing_goes_before_its_time(shop):
    with later(13):
        report = expire(shop.at())
    assert (report.env, report.ttl, report.expired, report.kept) == ("dev", timedelta(days=14), (), ())
    assert len(names(shop)) == 5


def test_what_is_not_refreshed_goes_and_a_second_time_changes_nothing(shop):
    with later(15):
        planned = plan_expiration(shop.at())
        assert len(names(shop)) == 5
        assert expire(shop.at()) == planned
        assert expire(shop.at()).expired == ()
    gone = ["bronze.pay", "bronze.rates", "raw.orders", "silver.mixed", "silver.sums"]
    assert (expired(planned), planned.kept, names(shop)) == (gone, (), [])
    assert [each[:2] for each in shop.audit()][-5:] == [("table.expired", name) for name in gone]
    load_table(shop.at(), shop.folder / "data" / "rows.csv", into="bronze.rates")
    refresh(shop.at())  # what is declared is made anew
    assert len(names(shop)) == 4


def test_what_a_refresh_found_up_to_date_is_alive_and_keeps_what_it_is_made_of(shop):
    with later(10):
        refresh(shop.at())  # nothing is new: no version of a table is written
    with later(15):
        report = expire(shop.at())
    assert expired(report) == ["bronze.pay"]
    assert [(each.table, each.reasons) for each in report.kept] == [("bronze.rates", ("silver.mixed is made of it",))]


def test_what_an_environment_above_may_read_stays(shop):
    (shop.folder / "headrace.toml").write_text(TTL + 'reads = {dev = ["silver.*"]}\n')
    with later(15):
        report = expire(shop.at())
    assert expired(report) == ["bronze.pay"]
    assert {each.table: each.reasons for each in report.kept} == {
        "bronze.rates": ("silver.mixed is made of it",),
        "raw.orders": ("silver.sums is made of it",),
        "silver.mixed": ("prod reads it",),
        "silver.sums": ("prod reads it",),
    }


def test_a_version_in_production_keeps_what_it_was_made_from(project):
    file = project / "headrace.toml"
    file.write_text(file.read_text().replace("[env.dev]", '[env.dev]\nttl = "14d"'))
    (project / "more.csv").write_text("a\n1\n")
    load_table(at(project), project / "more.csv", into="bronze.more")
    with later(15):
        report = expire(at(project))
    assert expired(report) == ["bronze.more"]
    kept = {each.table: each.reasons for each in report.kept}
    assert "version 1 of days (in Production) needs it" in kept["shop.orders"]
    assert "version 1 of days (in Production) needs it" in kept["training.days"]
    assert "shop.orders is made of it" in kept["raw.orders"]
    assert {"raw.orders", "shop.labels", "shop.orders", "stats.customers", "training.days"} <= set(kept)


def test_killed_half_way_the_rest_goes_next_time(shop):
    with later(15):
        planned = expired(plan_expiration(shop.at()))
    program = (
        "import datetime\n"
        "from headrace.core import clock\n"
        "from headrace.operations.expiration import expire\n"
        "from headrace.operations.operation import At\n"
        "with clock.frozen(clock.now() + datetime.timedelta(days=15)): expire(At(env='dev'))\n"
    )
    variables = {**os.environ, "HEADRACE_FAILPOINT": f"table.expired:{planned[1]}"}
    killed = subprocess.run([sys.executable, "-c", program], cwd=shop.folder, env=variables, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert names(shop) == planned[2:]
    with later(15):
        assert expired(expire(shop.at())) == planned[2:]
    assert names(shop) == []


def test_nothing_goes_while_something_is_at_work(shop):
    with shop.open() as workspace:
        lock, up = work_lock(workspace), workspace.up_lock
    with later(15):
        with hold(lock, shared=True), pytest.raises(BusyError, match="at work in 'dev'"):
            expire(shop.at())
        with hold(up), pytest.raises(BusyError, match="headrace up"):
            expire(shop.at())
    assert len(names(shop)) == 5


def test_two_at_once_remove_each_table_once(shop):
    results = []

    def remove():
        try:
            results.append(expire(shop.at()))
        except BusyError as error:
            results.append(error)

    with later(15):
        threads = [threading.Thread(target=remove) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert names(shop) == []
    assert sum(len(each.expired) for each in results if not isinstance(each, BusyError)) == 5
    assert [action for action, _, _ in shop.audit()].count("table.expired") == 5


def test_the_scheduler_removes_what_has_expired(shop):
    said, warned = [], []
    with later(15):
        run_scheduler(shop.at(), once=True, stopping=threading.Event().wait, say=said.append, warn=warned.append)
    assert (names(shop), warned) == ([], [])
    assert [line.split(" has expired")[0] for line in said if "expired" in line] == [
        "bronze.pay",
        "bronze.rates",
        "raw.orders",
        "silver.mixed",
        "silver.sums",
    ]


def test_without_a_time_to_live_nothing_expires(shop, headrace):
    shown = headrace.run(shop.folder, "env", "expire", "--dry-run", "--json").json()
    assert (shown["ttl"], shown["expired"], shown["kept"]) == (14 * 24 * 3600, [], [])
    (shop.folder / "headrace.toml").write_text(TOML)
    with pytest.raises(ConfigError, match="no time to live") as refused:
        expire(shop.at())
    assert '[env.dev] ttl = "14d"' in str(refused.value)
