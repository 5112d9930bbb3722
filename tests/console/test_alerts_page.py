"""Alerts on the console: listed by what needs a person, one page each, and forms that keep what was written."""

import re
from datetime import timedelta
from html import unescape

import pytest

from headrace.core import vault
from headrace.core.clock import now
from headrace.operations.alerts import list_alerts, mute_alert, resolve_alert
from headrace.operations.operation import At
from headrace.operations.query_alerts import declare_query_alert, monitor_queries
from headrace.operations.saved_queries import save_query

ODD = 'it\'s "<script>alert(1)</script>"/../x & 100% 🚀'


@pytest.fixture
def alerted(console, tmp_path):
    """Three alerts on saved queries; who looks, and what is there."""
    browser, tokens = console
    at = At(env="dev", folder=tmp_path / "mini")
    with vault.bearing(tokens["eng"]):
        save_query(at, ODD, "select 0.25 as late")
        declare_query_alert(at, ODD, "late > 0.1", severity="info", owner=ODD)
        save_query(at, "count", "select 1 as n")
        declare_query_alert(at, "count", "rows > 0", severity="critical", owner="ann")
        declare_query_alert(at, "count", "n = 1")
        monitor_queries(at)
        yield browser, at


def groups(text):
    """How many alerts each part of the page has."""
    parts = re.split(r"<h2>(Open|Muted|Closed)</h2>", text)[1:]
    return {name: len(re.findall(r">Alert \d+</a>", part)) for name, part in zip(parts[::2], parts[1::2], strict=True)}


def post(browser, path, **fields):
    return browser.post(path, form=browser.form("/dev/alerts"), **fields)


def test_the_severest_come_first_then_what_is_muted_then_what_is_closed(alerted):
    browser, at = alerted
    numbers = {each.rule: each.alert for each in list_alerts(at)}
    mute_alert(at, numbers["n = 1"], until=now() + timedelta(hours=1), reason="known")
    text = browser.get("/dev/alerts").text
    assert groups(text) == {"Open": 2, "Muted": 1, "Closed": 0}
    places = [
        text.index(each) for each in ("<td>rows &gt; 0</td>", "<td>late &gt; 0.1</td>", "<h2>Muted", "<td>n = 1</td>")
    ]
    assert places == sorted(places)
    assert "by eng: known" in text
    assert "<script>alert" not in text
    assert "the answer has 1 row" in text

    resolve_alert(at, numbers["rows > 0"], reason="settled")
    assert groups(browser.get("/dev/alerts").text) == {"Open": 1, "Muted": 1, "Closed": 1}
    assert groups(browser.get("/dev/alerts?query=count").text) == {"Open": 0, "Muted": 1, "Closed": 1}
    assert groups(browser.get("/dev/alerts?model=days").text) == {"Open": 0, "Muted": 0, "Closed": 0}
    home = browser.get("/dev").text
    assert "Needs a person: 2" in home  # the request, and one alert
    assert f'href="/dev/alerts/{numbers["late > 0.1"]}">take care' in home


def test_an_alert_has_its_page_with_evidence_and_history(alerted):
    browser, at = alerted
    alert = next(each.alert for each in list_alerts(at, query=ODD))
    for path, fields in (
        ("acknowledge", {"reason": "looking <b>"}),
        ("mute", {"reason": "at night", "until": "2d"}),
        ("resolve", {"reason": "the source is back"}),
    ):
        found = post(browser, f"/dev/alerts/{alert}/{path}", **fields)
        assert (found.status, found.headers["location"]) == (303, f"/dev/alerts/{alert}")
    text = browser.get(f"/dev/alerts/{alert}").text
    assert f"<title>Alert {alert} - dev - mini</title>" in text
    assert "late is 0.25" in text
    rows = re.findall(r"<td>(opened|acknowledged|muted until \S+ \S+|resolved)</td><td>(\w+)</td><td>(.*?)</td>", text)
    assert [(what.partition(" ")[0], who, unescape(why)) for what, who, why in rows] == [
        ("resolved", "eng", "the source is back"),
        ("muted", "eng", "at night"),
        ("acknowledged", "eng", "looking <b>"),
        ("opened", "monitoring", "late is 0.25"),
    ]
    assert '<form method="post"' not in text.partition("<h2>Evidence")[0].partition("<main")[2]


@pytest.mark.parametrize(
    ("act", "fields", "status", "told"),
    [
        ("mute", {"until": "2020-01-01", "reason": "mine <b>"}, 422, "that has passed"),
        ("mute", {"until": "soon", "reason": "mine <b>"}, 422, "is not a date or time"),
        ("mute", {"until": "", "reason": "mine <b>"}, 422, "is not a date or time"),
        ("mute", {"until": "99999999d", "reason": "mine <b>"}, 422, "Write 4h"),
        ("mute", {"until": "4h", "reason": " "}, 422, "muted for a reason"),
        ("resolve", {"reason": ""}, 422, "resolved for a reason"),
    ],
)
def test_what_is_refused_comes_again_with_what_was_written(alerted, act, fields, status, told):
    browser, at = alerted
    alert = list_alerts(at)[0].alert
    found = post(browser, f"/dev/alerts/{alert}/{act}", **fields)
    assert (found.status, told in found.text) == (status, True), found.text
    assert ("mine &lt;b&gt;</textarea>" in found.text) is bool(fields["reason"].strip())
    assert [each.status for each in list_alerts(at)] == ["open"] * 3


def test_who_comes_second_is_told_and_keeps_what_was_written(alerted):
    browser, at = alerted
    alert = list_alerts(at)[0].alert
    resolve_alert(at, alert, reason="first")
    found = post(browser, f"/dev/alerts/{alert}/resolve", reason="my own <b>")
    assert found.status == 409
    assert "by eng: first" in found.text
    assert "You wrote: my own &lt;b&gt;" in found.text


def test_who_may_not_is_refused(console, alerted):
    browser, at = alerted
    alert = list_alerts(at)[0].alert
    with vault.bearing(console[1]["gov"]):
        for act in ("acknowledge", "mute", "resolve"):
            found = post(browser, f"/dev/alerts/{alert}/{act}", reason="x", until="4h")
            assert found.status == 403
    assert [each.status for each in list_alerts(at)] == ["open"] * 3


@pytest.mark.parametrize(("path", "told"), [("/dev/alerts/77", "77"), ("/dev/alerts/x", "is no number")])
def test_what_is_not_there_is_told(alerted, path, told):
    browser, _ = alerted
    found = browser.get(path)
    assert (found.status, told in found.text, 'href="/dev"' in found.text) == (404, True, True)
