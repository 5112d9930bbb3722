"""What people say of answers: rates with intervals, and their latest comments with the answers that they are on."""

import re

from tests.console.conftest import Links

from headrace.operations.feedback import feedback_models, list_feedback
from headrace.operations.operation import At


def test_comments_and_corrections_are_a_queue_that_leads_to_their_answers(answered, pages):
    folder, ids = answered
    browser, _ = pages
    assert feedback_models(At(folder=folder)) == ("assistant",)
    said = list_feedback(At(folder=folder), "assistant", texts=True)
    assert {(each.kind, each.prediction_id) for each in said} == {("text", ids["hostile"]), ("correction", ids["n2"])}
    text = browser.get("/dev/feedback").text
    for each in ("hostile", "n2"):
        path = f"/dev/traces/{ids[each]}?model=assistant"
        assert f'href="{path}"' in text
        assert browser.get(path).status == 200
    assert f"/dev/traces/{ids['plain']}" not in text  # thumbs alone are no comment


def test_rates_stand_by_version_with_their_interval(pages):
    browser, _ = pages
    text = browser.get("/dev/feedback").text
    row = re.search(r"<td>thumbs</td>(.*?)</tr>", text, re.DOTALL)[1]
    assert re.findall(r">([\d.]+ %[^<]*)<", row) == ["50.0 %", "15.0 % to 85.0 %"]
    assert "headrace feedback to-dataset assistant gold.examples --env dev" in text


def test_a_comment_is_text(pages):
    browser, _ = pages
    text = browser.get("/dev/feedback?model=assistant").text
    assert "&lt;b&gt;bad&lt;/b&gt; \\u202eanswer" in text
    assert "b" not in Links(text).tags


def test_a_model_without_feedback_and_an_environment_without_code_are_told(pages):
    browser, _ = pages
    found = browser.get("/dev/feedback?model=quiet")
    assert (found.status, "&#39;assistant&#39;" in found.text) == (404, True)
    other = browser.get("/live/feedback")
    assert other.status == 200
    assert "live runs releases only" in other.text
