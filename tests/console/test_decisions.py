"""What is done in the console: by whom it may be done, once, with its reason, and from a page of this console."""

import pytest

from headrace.core import vault
from headrace.operations.operation import At
from headrace.operations.requests import show_request


def asked(tmp_path):
    return show_request(At(folder=tmp_path / "mini"), 2)


def test_a_second_person_approves_with_a_reason(console, tmp_path):
    browser, tokens = console
    with vault.bearing(tokens["gov"]):
        done = browser.post("/dev/requests/2/approve", form=browser.form("/dev/requests/2"), reason="looked at <it>")
        assert (done.status, done.headers["location"]) == (303, "/dev/requests/2")
        shown = browser.get("/dev/requests/2").text
    assert "looked at &lt;it&gt;" in shown
    assert "<form" not in shown
    with vault.bearing(tokens["gov"]):
        assert asked(tmp_path).decision.by == ("gov",)


def test_rejecting_takes_a_reason_and_what_was_written_stays(console, tmp_path):
    browser, tokens = console
    with vault.bearing(tokens["gov"]):
        empty = browser.post("/dev/requests/2/reject", form=browser.form("/dev/requests/2"), reason="  ")
        assert (empty.status, "reason" in empty.text) == (422, True)
        done = browser.post("/dev/requests/2/reject", form=browser.form("/dev/requests/2"), reason="too coarse")
        assert done.status == 303
        assert asked(tmp_path).status == "rejected"
        again = browser.post("/dev/requests/2/approve", form=browser.form("/dev/models"), reason="kept text")
    assert again.status in (403, 422)


@pytest.mark.parametrize("who", ["eng", "ana"])
def test_who_may_not_approve_is_told_and_keeps_the_text(console, tmp_path, who):
    browser, tokens = console
    with vault.bearing(tokens[who]):
        found = browser.post("/dev/requests/2/approve", form=browser.form("/dev/requests/2"), reason="my long text")
        assert found.status == 403
        assert 'role="alert"' in found.text
        assert "my long text</textarea>" in found.text
        assert asked(tmp_path).status == "open"


def test_two_decide_and_one_is_told(console, tmp_path):
    browser, tokens = console
    with vault.bearing(tokens["gov"]):
        form = browser.form("/dev/requests/2")
        assert browser.post("/dev/requests/2/reject", form=form, reason="first").status == 303
        late = browser.post("/dev/requests/2/approve", form=form, reason="second")
        assert late.status in (403, 409)
        assert asked(tmp_path).status == "rejected"


def test_a_form_of_elsewhere_does_nothing(console, tmp_path):
    browser, tokens = console
    with vault.bearing(tokens["gov"]):
        for sent in ({}, {"form": "0" * 64}, {"form": "é"}):
            found = browser.post("/dev/requests/2/approve", reason="forged", **sent)
            assert (found.status, "Nothing was done" in found.text) == (403, True)
        huge = browser.post("/dev/requests/2/approve", form=browser.form("/dev/requests/2"), reason="x" * 2_000_000)
        assert huge.status == 413
        assert browser.get("/dev/requests/2/approve").status == 405
        assert asked(tmp_path).status == "open"


def test_an_alert_that_is_not_there_is_not_taken_care_of(console):
    browser, tokens = console
    with vault.bearing(tokens["eng"]):
        found = browser.post("/dev/alerts/7/acknowledge", form=browser.form("/dev/requests/2"), reason="x")
    assert (found.status, "7" in found.text) == (404, True)
