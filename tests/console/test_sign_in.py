"""Signing in: by whom a page is seen and a form is sent, what is kept when a sign-in ends, and how often one may fail."""

import shutil

import pytest

from headrace.console import sessions
from headrace.console.app import create_app
from headrace.core import vault
from headrace.operations.operation import At
from headrace.operations.requests import show_request

from .conftest import Browser


@pytest.fixture
def closed(made, tmp_path):
    """A console that shows nothing to anybody who has not signed in."""
    folder, tokens = made
    copy = shutil.copytree(folder, tmp_path / "mini", symlinks=True)
    return Browser(create_app(copy, sign_in=True)), tokens


def sign_in(browser, token, back="", env="dev"):
    return browser.post(f"/{env}/sign-in", form=browser.form(f"/{env}/sign-in"), token=token, back=back)


def test_a_person_signs_in_decides_and_signs_out(closed, tmp_path):
    browser, tokens = closed
    asked = browser.get("/dev/requests/2?x=1")
    assert (asked.status, asked.headers["location"]) == (303, "/dev/sign-in?back=%2Fdev%2Frequests%2F2%3Fx%3D1")
    assert "days" not in browser.get(asked.headers["location"]).text
    done = sign_in(browser, tokens["gov"], back="/dev/requests/2?x=1")
    assert (done.status, done.headers["location"]) == (303, "/dev/requests/2?x=1")
    cookie = done.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert tokens["gov"] not in cookie

    page = browser.get("/dev/requests/2").text
    assert "<span>gov</span>" in page
    approved = browser.post("/dev/requests/2/approve", form=browser.form("/dev/requests/2"), reason="seen")
    assert approved.status == 303
    with vault.bearing(tokens["ana"]):
        assert show_request(At(folder=tmp_path / "mini"), 2).decision.by == ("gov",)

    assert browser.post("/dev/sign-out", form=browser.form("/dev/requests/2")).status == 303
    assert browser.get("/dev/requests/2").status == 303


def test_who_has_signed_in_is_not_who_started_it(console):
    browser, tokens = console
    assert sign_in(browser, tokens["ana"]).status == 303
    refused = browser.post("/dev/requests/2/approve", form=browser.form("/dev/requests/2"), reason="mine")
    assert refused.status == 403
    assert "ana" in refused.text


def test_environments_are_signed_in_to_one_by_one(closed):
    browser, tokens = closed
    assert sign_in(browser, tokens["ana"]).status == 303
    assert browser.get("/dev").status == 200
    assert browser.get("/live").status == 303
    assert sign_in(browser, tokens["ana"], env="live").status == 403  # unknown there


def test_a_sign_in_that_ended_keeps_what_was_written(closed, monkeypatch, tmp_path):
    browser, tokens = closed
    sign_in(browser, tokens["gov"])
    form = browser.form("/dev/requests/2")
    monkeypatch.setattr(sessions, "LIFE", -1.0)
    late = browser.post("/dev/requests/2/approve", form=form, reason="half an hour of <thought>")
    assert late.status == 401
    assert "half an hour of &lt;thought&gt;" in late.text
    assert 'name="back" value="/dev/requests/2"' in late.text
    with vault.bearing(tokens["ana"]):
        assert show_request(At(folder=tmp_path / "mini"), 2).status == "open"


@pytest.mark.parametrize("token", ["", "hr_nonsense", "é", "a" * 100_000, "' or 1=1 --"])
def test_what_is_no_token_is_refused(closed, token):
    browser, _ = closed
    found = sign_in(browser, token)
    assert found.status == 403
    assert 'role="alert"' in found.text
    assert browser.get("/dev").status == 303


def test_nobody_tries_many_tokens(closed):
    browser, tokens = closed
    for number in range(sessions.TRIES):
        assert sign_in(browser, f"hr_{number}").status == 403
    more = sign_in(browser, tokens["gov"])
    assert (more.status, "retry-after" in more.headers) == (429, True)


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example/", "/dev/../../x\\y", "/live", "/dev/sign-in?back=x", "/dev/\nx"]
)
def test_one_comes_back_to_a_page_of_this_environment_alone(closed, back):
    browser, tokens = closed
    assert sign_in(browser, tokens["gov"], back=back).headers["location"] == "/dev"


def test_a_session_of_long_ago_makes_room():
    known = sessions.Sessions(required=True)
    first = known.sign_in("", "dev", "a")
    for number in range(sessions.SESSIONS):
        known.sign_in("", "dev", str(number))
    with pytest.raises(sessions.SignedOutError):
        known.token(first, "dev")


def test_the_cookie_changes_with_a_sign_in():
    known = sessions.Sessions(required=True)
    first = known.sign_in("chosen by somebody else", "dev", "a")
    second = known.sign_in(first, "live", "b")
    assert len({"chosen by somebody else", first, second}) == 3
    assert (known.token(second, "dev"), known.token(second, "live")) == ("a", "b")
    with pytest.raises(sessions.SignedOutError):
        known.token(first, "dev")


def test_whose_sign_in_ended_does_not_go_on_as_who_started_the_console(console, monkeypatch, tmp_path):
    browser, tokens = console
    with vault.bearing(tokens["gov"]):  # who started it, and may approve
        assert sign_in(browser, tokens["ana"]).status == 303
        form = browser.form("/dev/requests/2")
        monkeypatch.setattr(sessions, "LIFE", -1.0)
        late = browser.post("/dev/requests/2/approve", form=form, reason="mine")
        assert late.status == 401
        assert show_request(At(folder=tmp_path / "mini"), 2).status == "open"
        assert browser.get("/dev").status == 303
        assert browser.get("/dev/live").status == 204
        assert "Go on as who started the console" in browser.get("/dev/sign-in").text
        assert browser.post("/dev/sign-out", form=browser.form("/dev/sign-in")).status == 303
        assert "<span>gov</span>" in browser.get("/dev").text


def test_a_page_that_is_only_open_keeps_nobody_signed_in():
    known = sessions.Sessions(required=True)
    cookie = known.sign_in("", "dev", "a")
    used = known._open[cookie].used
    assert known.token(cookie, "dev", renew=False) == "a"
    assert known._open[cookie].used == used
    assert known.token(cookie, "dev") == "a"
    assert known._open[cookie].used > used


def test_a_sign_out_between_two_looks_makes_nobody_of_a_person(closed):
    browser, tokens = closed
    sign_in(browser, tokens["gov"])
    stale = dict(browser.cookies)
    browser.post("/dev/sign-out", form=browser.form("/dev/requests/2"))
    browser.cookies = stale
    assert browser.get("/dev/requests/2").status == 303
