"""Every page, what it says, and that nothing in it is executed or comes from elsewhere."""

import re
from contextlib import nullcontext

import pytest
from tests.console.conftest import Links

from headrace.core import vault

PAGES = (
    "/dev",
    "/dev/models",
    "/dev/models/days",
    "/dev/models/days/1",
    "/dev/requests/2",
    "/dev/tables",
    "/dev/tables/shop.orders",
    "/dev/sql",
    "/dev/dashboards",
    "/dev/tables/shop.orders/profile",
    "/dev/features",
    "/dev/features/stats.customers",
    "/dev/endpoints",
    "/dev/endpoints/days",
    "/dev/endpoints/days/rollback",
    "/dev/alerts",
    "/dev/runs",
    "/dev/schedule",
    "/dev/access",
    "/dev/audit",
    "/live",
    "/live/models",
)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_its_title_its_environment_and_no_code_of_its_own(console, path):
    browser, tokens = console
    env = path.split("/")[1]
    with vault.bearing(tokens["ana"]) if env == "dev" else nullcontext():  # in live there is nobody yet
        found = browser.get(path)

    assert found.status == 200, found.text
    assert re.search(rf"<title>.+ - {env} - mini</title>", found.text)
    assert f'<a href="/{env}" aria-current="true">{env}</a>' in found.text
    assert ('class="highest"' in found.text) is (env == "live")
    links = Links(found.text)
    assert links.loads[:2] == ["/-/icon.svg", "/-/console.css"]
    assert all(each.startswith("/-/") for each in links.loads)
    assert links.tags.count("script") == len(links.loads) - 2  # each is a file of ours
    assert not {"style", "iframe", "object"} & set(links.tags)
    assert all(each.startswith(("/", "#")) for each in links.links)
    assert " style=" not in found.text
    assert "default-src 'none'" in found.headers["content-security-policy"]
    assert found.headers["cache-control"] == "no-store"


def test_every_link_of_every_page_leads_somewhere(console):
    browser, tokens = console
    seen, waiting = set(), ["/"]
    with vault.bearing(tokens["ana"]):
        while waiting:
            path = waiting.pop()
            found = browser.get(path)
            assert found.status in (200, 307), (path, found.text)
            links = Links(found.text).links if found.status == 200 else [found.headers["location"]]
            new = {each for each in links if each.startswith("/dev")} - seen
            seen |= new
            waiting += new
    assert {each for each in PAGES if each.startswith("/dev")} <= seen
    assert any(each.startswith("/dev/runs/") for each in seen)


def test_home_begins_with_what_needs_a_person(console):
    browser, tokens = console
    with vault.bearing(tokens["ana"]):
        text = browser.get("/dev").text
    assert "Needs a person: 1" in text
    assert 'href="/dev/requests/2"' in text
    assert text.index("Needs a person") < text.index("<h2>Models</h2>") < text.index("<h2>Last runs</h2>")


def test_a_version_shows_its_gates_and_who_is_asked(console):
    browser, tokens = console
    with vault.bearing(tokens["ana"]):
        text = browser.get("/dev/models/days/1").text
    assert '<td>at_least</td><td><span class="status good">passed</span></td>' in text
    assert 'href="/dev/requests/2">Request 2</a> for Production waits for governance' in text


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/nowhere", 404, "This project has no environment &#39;nowhere&#39;."),
        ("/dev/models/dais", 404, "days"),
        ("/dev/models/days/9", 404, "no version of days"),
        ("/dev/models/days/one", 404, "is no number"),
        ("/dev/models/days/compare", 404, "?a=1&amp;b=2"),
        ("/dev/models/days/compare?a=1&b=1", 422, "1"),
        ("/dev/requests/99", 404, "99"),
        ("/dev/requests/99999999999999999999", 404, "is no number"),
        ("/dev/runs/zz", 404, "zz"),
        ("/dev/tables/shop.nothing", 404, "shop.nothing"),
        ("/dev/<script>alert(1)</script>", 404, "There is no such page"),
        ("/dev/tables/<script>alert(1)", 422, "&lt;script&gt;"),
        ("/dev/audit?q=<script>alert(1)</script>", 200, "&lt;script&gt;alert(1)&lt;/script&gt;"),
    ],
)
def test_what_is_not_there_is_told_with_a_way_back(console, path, status, told):
    browser, tokens = console
    with vault.bearing(tokens["ana"]):
        found = browser.get(path)
    assert (found.status, told in found.text) == (status, True), found.text
    assert "<script" not in found.text
    assert "Traceback" not in found.text
    assert 'href="/dev"' in found.text


def test_a_name_of_another_host_is_refused(console):
    browser, _ = console
    assert browser.get("/dev", host="evil.example.org").status == 400


def test_the_record_is_filtered(console):
    browser, tokens = console
    with vault.bearing(tokens["ana"]):
        found = browser.get("/dev/audit?q=VERSION.registered").text
    assert "version.registered" in found
    assert "role.granted" not in found


def test_a_state_database_that_is_gone_is_told(console, tmp_path):
    browser, _ = console
    state = tmp_path / "mini" / ".headrace" / "dev" / "state.db"
    state.write_bytes(b"this is no database" * 100)
    found = browser.get("/dev")
    assert found.status in (422, 503)
    assert "Traceback" not in found.text
    assert "alert" in found.text
