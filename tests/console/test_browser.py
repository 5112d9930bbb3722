"""The console as a process, in a real browser: the road from the first page to an approval, on a phone, in the dark."""

import re
import subprocess
import sys

import pytest
from tests.support import browser

from .conftest import running

NAMES = {
    "features.carrier_delays": ["carrier", "delay"],
    "quarantine.silver_planes": ["tail", "reason"],
    "silver.flights": ["id", "tail", "out of", "dep_carrier", "carrier"],
    "silver.planes": ["tail", "seats"],
}
PROPOSED = [  # what is written, what follows, and what is written after Tab
    ("select * from si", "", "select * from silver.flights"),
    ("select * from carr", "", "select * from features.carrier_delays"),
    ("select * from silver.flights f, silver.p", "", "select * from silver.flights f, silver.planes"),
    ("select * from silver.flights where ca", "", "select * from silver.flights where carrier"),
    ("select ca", " from silver.flights", "select carrier"),
    ("select f.ca", " from silver.flights as f", "select f.carrier"),
    ("select silver.flights.ca", " from silver.flights", "select silver.flights.carrier"),
    ("select features.ca", "", "select features.carrier_delays"),
    ("select f.ou", " from silver.flights f", 'select f."out of"'),
]
COMMAND = [sys.executable, "-m", "headrace.cli", "console"]


@pytest.fixture
def address(made, tmp_path):
    """Of a console that acts as the one who approves."""
    with running(made, tmp_path) as (found, _):
        yield found


def test_a_person_comes_from_what_needs_them_to_an_approval(address):
    with browser.page() as page:
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.get_by_role("link", name="Models", exact=True).click()
        page.get_by_role("link", name="days", exact=True).click()
        page.get_by_role("link", name="Request 2").click()
        assert page.title() == "Request 2 - dev - mini"
        page.get_by_label("Reason").fill("the gates passed")
        page.get_by_role("button", name="Approve").click()
        assert "Approved by gov" in page.locator("main").inner_text()
        page.get_by_role("link", name="Audit").click()
        assert "request.approved" in page.locator("main").inner_text() or "the gates passed" in page.content()
    assert {url.split("/")[2] for url in asked} == {address.split("/")[2]}  # nothing is asked for elsewhere


def test_on_a_phone_no_page_scrolls_sideways_and_the_keyboard_is_enough(address):
    with browser.page() as page:
        page.set_viewport_size({"width": 375, "height": 700})
        page.emulate_media(color_scheme="dark")
        for path in (
            "/dev",
            "/dev/models/days/1",
            "/dev/requests/2",
            "/dev/tables/shop.orders",
            "/dev/endpoints",
            "/dev/access",
            "/dev/audit",
        ):
            page.goto(f"{address}{path}")
            assert page.evaluate("document.documentElement.scrollWidth") <= 375, path
        ink, paper = (page.evaluate(f"getComputedStyle(document.body).{each}") for each in ("color", "backgroundColor"))
        assert ink != paper
        assert sum(map(int, re.findall(r"\d+", paper)[:3])) < 150
        page.goto(f"{address}/dev")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"


def test_two_consoles_take_two_ports_and_one_that_is_taken_is_told(address, tmp_path):
    port = address.rpartition(":")[2]
    done = subprocess.run(
        [*COMMAND, "--port", port], cwd=tmp_path / "mini", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert f"port {port} cannot be used: Address already in use" in done.stderr
    assert "headrace console --port 0" in done.stderr
    outside = subprocess.run(COMMAND, cwd="/", capture_output=True, text=True, timeout=60, check=False)
    assert (outside.returncode, "Traceback" in outside.stderr) == (2, False)


def test_sql_is_written_run_and_cancelled_without_leaving_the_page(address):
    slow = "select count(*) as n from range(1000000) a, range(1000000) b where a.range <> b.range"
    with browser.page() as page:
        page.goto(f"{address}/dev/sql")
        with page.expect_response("**/sql/names"):
            page.get_by_label("One SELECT").click()
        page.keyboard.type("select count(*) as n from shop.ord")
        page.locator("#names").get_by_text("shop.orders").wait_for()
        page.keyboard.press("Tab")
        assert page.get_by_label("One SELECT").input_value() == "select count(*) as n from shop.orders"
        page.keyboard.press("Control+Enter")
        page.get_by_role("heading", name="Answer").wait_for()
        assert page.get_by_role("region", name="Answer").locator("td").inner_text() == "120"

        page.get_by_label("One SELECT").fill(slow)
        page.get_by_role("button", name="Run").click()
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("alert").wait_for()
        assert "the question was cancelled" in page.get_by_role("alert").inner_text()
        assert page.get_by_label("One SELECT").input_value() == slow

        page.set_viewport_size({"width": 375, "height": 700})
        page.get_by_label("One SELECT").fill("select * from shop.orders")
        page.get_by_label("Show as").select_option("heat map")
        page.get_by_role("button", name="Run").click()
        page.get_by_role("heading", name="Answer").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        with page.expect_download() as download:
            page.get_by_role("button", name="CSV").click()
        assert download.value.suggested_filename == "query.csv"


def test_names_that_fit_the_place_come_first(address):
    with browser.page() as page:
        page.route("**/sql/names", lambda route: route.fulfill(json=NAMES))
        page.goto(f"{address}/dev/sql")
        field = page.get_by_label("One SELECT")
        with page.expect_response("**/sql/names"):
            field.click()
        for before, after, taken in PROPOSED:
            field.fill(after)
            page.keyboard.press("Control+Home")
            page.keyboard.type(before)
            page.locator("#names").wait_for()
            page.keyboard.press("Tab")
            assert field.input_value() == f"{taken}{after}", before
