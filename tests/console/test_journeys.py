"""Each persona's way through the console, from signing in to done, in a real browser."""

import re
import shutil

import pytest
from tests.support import browser

from headrace.core import vault
from headrace.operations import access
from headrace.operations.models import list_versions
from headrace.operations.operation import At
from headrace.operations.saved_queries import list_queries

from .conftest import running

PEOPLE = {
    "data_engineer": "dana",
    "data_scientist": "sam",
    "ml_engineer": "mel",
    "governance": "gov",
    "business": "bea",
}


@pytest.fixture(scope="session")
def staffed(monitored, tmp_path_factory):
    """A monitored project with somebody of each role, and their tokens."""
    folder = shutil.copytree(monitored, tmp_path_factory.mktemp("staffed") / "mini", symlinks=True)
    at = At(folder=folder)
    tokens = {"admin": access.bootstrap(at).token}
    with vault.bearing(tokens["admin"]):
        for role, name in PEOPLE.items():
            access.grant_role(at, name, role)
            tokens[name] = access.create_access_token(at, name).token
    return folder, tokens


@pytest.fixture
def arrive(staffed, tmp_path):
    """Signs somebody in, and gives the first page that they see."""
    with running(staffed, tmp_path, "--sign-in") as (address, _), browser.page() as page:

        def signed_in(name):
            page.goto(address)
            page.get_by_label("Token for dev").fill(staffed[1][name])
            page.get_by_role("button", name="Sign in").click()
            assert name in page.locator("header").inner_text()
            assert page.title() == "Home - dev - mini"
            return page

        yield signed_in


def main(page):
    return page.locator("main").inner_text()


def follow(page, name, *, exact=True):
    page.get_by_role("link", name=name, exact=exact).first.click()


def test_a_data_engineer_finds_the_table_and_what_it_feeds(arrive):
    page = arrive("dana")
    follow(page, "Tables")
    follow(page, "shop.orders")
    text = main(page)
    assert "Expectations" in text
    assert re.search(r"In quarantine: (no row|\d+ rows)", text)
    assert page.get_by_role("link", name="days", exact=True).count()  # a model that was made from it
    follow(page, "Profile: what each column holds")
    assert page.title() == "Profile of shop.orders - dev - mini"
    assert "amount" in main(page)
    follow(page, "Runs")
    assert "refresh" in main(page)


def test_a_data_scientist_compares_two_versions_and_sees_the_slices(arrive):
    page = arrive("sam")
    follow(page, "Models")
    follow(page, "days")
    follow(page, "compare with 1")
    text = main(page)
    for part in (
        "Slices, each on its own test rows",
        "difference",
        "customer",
        "Parameters",
        "robust",
        "only in version 1",
    ):
        assert part in text, part
    assert page.locator(".differs").count()


def test_an_ml_engineer_rolls_back_and_is_shown_what_changes_first(arrive, tmp_path):
    page = arrive("mel")
    follow(page, "Endpoints")
    follow(page, "days")
    assert "100 %" in main(page)
    page.get_by_role("link", name=re.compile("[Rr]oll")).first.click()
    assert re.search(r"version 2.*version 1", main(page), re.DOTALL)
    page.get_by_label(re.compile("[Rr]eason")).fill("complaints since noon")
    page.get_by_role("button", name=re.compile("[Rr]oll")).click()
    at = At(folder=tmp_path / "mini")
    stages = {each.version: each.stage for each in list_versions(at).versions}
    assert stages[1] == "Production"
    follow(page, "Audit")
    assert "complaints since noon" in main(page)
    for version in (1, 2):  # of which one came back without a gate, and one went
        assert page.goto(f"{page.url.rpartition('/')[0]}/models/days/{version}").status == 200
        page.go_back()


def test_a_stakeholder_reads_why_a_model_is_unhealthy(arrive):
    page = arrive("bea")
    assert "rmse" in main(page)  # the alert, on the first page
    follow(page, "Monitors")
    follow(page, "days")
    text = main(page)
    assert "rmse" in text
    assert page.locator("svg.chart").count()
    assert page.locator("[class^=heat-]").count()


def test_somebody_asks_saves_the_question_and_puts_it_on_a_dashboard(arrive, tmp_path):
    page = arrive("sam")
    follow(page, "SQL")
    page.get_by_label(re.compile("One SELECT")).fill(
        "select customer, count(*) as orders from shop.orders group by all order by all"
    )
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("heading", name="Answer", exact=True).wait_for()
    page.get_by_label("Save as").fill("orders by customer")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("link", name="orders by customer").wait_for()
    at = At(folder=tmp_path / "mini")
    assert [each.name for each in list_queries(at)] == ["orders by customer"]
