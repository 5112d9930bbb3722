"""Features and tables: what is late and since when, expectations and rows set apart, what uses a table, its profile."""

import re
import shutil

import pytest
from tests.cli import mini
from tests.console.conftest import Browser

from headrace.console.app import create_app
from headrace.core import vault
from headrace.core.errors import HeadraceError
from headrace.operations.freshness import list_late_tables
from headrace.operations.operation import At
from headrace.operations.refresh import refresh

NAME = "stats.customers"
DECLARED = {
    'time="at",': 'time="at", owner="Ada <ada@example.org>", description="what <b>customers</b> did", look_back="6h",',
    'hr.Table("shop.orders", key="id", sql': 'hr.Table("shop.orders", key="id", '
    'expect=[hr.expect("amount > 1", otherwise="quarantine"), hr.expect("id >= 0")], sql',
}


def write(folder):
    """The project with promises: orders of at most 1 are set apart, and a feature is at most six hours old."""
    mini.write(folder)
    program = (folder / "mini.py").read_text()
    for old, new in DECLARED.items():
        assert old in program
        program = program.replace(old, new)
    (folder / "mini.py").write_text(program)
    return folder


@pytest.fixture(scope="module")
def promised(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("promised") / "mini")
    refresh(At(folder=folder))
    return folder


@pytest.fixture
def folder(promised, tmp_path):
    return shutil.copytree(promised, tmp_path / "mini", symlinks=True)


def more_orders(folder):
    first = (folder / "data" / "orders.csv").read_text().splitlines()[:2]
    (folder / "data" / "more.csv").write_text("\n".join([first[0], first[1].replace("0,", "1000,", 1)]) + "\n")


def test_a_feature_table_that_is_older_than_models_take_is_late(promised):
    browser = Browser(create_app(promised))
    for path in ("/dev/features", f"/dev/features/{NAME}"):
        text = browser.get(path).text
        assert '<span class="status bad">late</span> since 2024-02-29 18:00:00Z' in text
        assert "its newest row is of 2024-02-29 12:00 UTC, and look_back is 6h" in text
        assert "what &lt;b&gt;customers&lt;/b&gt; did" in text
        assert "Ada &lt;ada@example.org&gt;" in text
    assert "a row may be 6h old at a decision" in text
    assert 'href="/dev/models/days"' in text


def test_without_a_promise_none_is_made_up(console):
    browser, tokens = console
    with vault.bearing(tokens["ana"]):
        text = browser.get(f"/dev/features/{NAME}").text
    assert "none is declared" in text
    assert '<span class="status good">on time</span>: its inputs have not changed since' in text
    assert '<a href="/dev/models/days/1">1</a>' in text  # the version that was made from it
    assert "0 %" in text


def test_what_the_last_refresh_could_not_make_is_late_and_so_is_what_came_after_it(folder):
    program = (folder / "mini.py").read_text()
    (folder / "mini.py").write_text(program.replace("select id, customer, placed_at, amount", "select id, customer, placed_at, cast('<i>no</i>' as integer) as amount"))  # fmt: skip
    more_orders(folder)
    with pytest.raises(HeadraceError):
        refresh(At(folder=folder))
    late = {each.table: each.reason for each in list_late_tables(At(folder=folder))}
    assert late["shop.orders"].startswith("its last refresh failed: ")
    assert late["shop.labels"] == "raw.orders has changed since it was computed"

    text = Browser(create_app(folder)).get("/dev/tables").text
    links = re.findall(r'<td><a href="/dev/tables/([^"]+)"', text)
    assert set(links[: len(late)]) == set(late)
    assert "raw.orders" not in late
    assert "&lt;i&gt;" in text
    assert "<i>" not in text

    (folder / "mini.py").write_text(program)
    refresh(At(folder=folder))
    assert [each.table for each in list_late_tables(At(folder=folder))] == [NAME]


def test_a_program_that_cannot_be_loaded_hides_no_table(folder):
    (folder / "mini.py").write_text("1 / 0")
    browser = Browser(create_app(folder))
    assert list_late_tables(At(folder=folder)) == []
    assert browser.get("/dev/tables").status == 200
    assert browser.get("/dev/tables/shop.orders").status == 200


def test_expectations_and_rows_set_apart_are_shown(promised):
    browser = Browser(create_app(promised))
    text = browser.get("/dev/tables/shop.orders").text
    assert (
        '<code>amount &gt; 1</code></td><td><span class="status bad">broken</span></td><td class="number">11</td>'
        in text
    )
    assert '<code>id &gt;= 0</code></td><td><span class="status good">holds</span></td>' in text
    assert 'In quarantine: 11 rows, in <a href="/dev/tables/quarantine.shop_orders">' in text
    assert browser.get("/dev/tables/quarantine.shop_orders").status == 200
    assert "In quarantine: no row" in browser.get("/dev/tables/shop.labels").text


def test_an_environment_that_was_never_refreshed_shows_what_is_declared(tmp_path):
    browser = Browser(create_app(write(tmp_path / "mini")))
    assert "never refreshed" in browser.get("/dev/features").text
    assert "headrace run refresh --env dev" in browser.get(f"/dev/features/{NAME}").text


@pytest.mark.parametrize(
    ("word", "found"),
    [("customers", True), ("ADA", True), ("orders stats", True), ("zz<script>", False), ("%22'", False)],
)
def test_feature_tables_are_searched(promised, word, found):
    text = Browser(create_app(promised)).get(f"/dev/features?q={word.replace(' ', '+')}").text
    assert ("Found: 1" in text, "Found: 0" in text) == (found, not found)
    assert "<script" not in text


def test_a_profile_is_computed_and_takes_tables_only(promised):
    browser = Browser(create_app(promised))
    text = browser.get("/dev/tables/shop.orders/profile").text
    assert "another value in each row: a key?" in text
    assert text.count('<svg class="chart"') == 4
    for path, status in {"nothing.there": 404, "select%201": 422, "mini.py": 404}.items():
        found = browser.get(f"/dev/tables/{path}/profile")
        assert (found.status, "Traceback" in found.text) == (status, False), found.text
    assert browser.get("/dev/features/stats.nobody").status == 404
