"""Answers of models, and how each came about: filters, pages, redaction, the audit record, and hostile texts."""

import re
import shutil
from urllib.parse import quote

import pytest
from tests.console.answers import ELSEWHERE, HOSTILE, LONG, PLAIN, SECRET
from tests.console.conftest import Browser, Links

from headrace.console.app import create_app
from headrace.core.errors import DeclarationError, NotFoundError
from headrace.operations.audit import list_audit_entries
from headrace.operations.operation import At
from headrace.operations.trace_details import show_answer
from headrace.operations.traces import list_answers

ASKED = 64  # of which one is of elsewhere, one is of `quiet`


def test_answers_are_listed_the_latest_first_page_by_page(answered):
    folder, ids = answered
    at, before, found = At(folder=folder), None, []
    while True:
        page = list_answers(at, before=before, limit=20)
        found += page.answers
        before = page.before
        if before is None:
            break
    assert len({each.trace for each in found}) == len(found) == ASKED
    assert [each.at for each in found] == sorted((each.at for each in found), reverse=True)
    assert {each.trace for each in found} == {*ids.values(), ELSEWHERE["predictions"][0]["prediction_id"]}
    assert page.models == ("assistant", "quiet")
    plain = next(each for each in found if each.trace == ids["plain"])
    assert (plain.question, plain.model, plain.version, plain.role) == (PLAIN, "assistant", 1, "primary")
    assert "os.path.join" in plain.answer or plain.answer_length > len(plain.answer)
    assert min(plain.input_tokens, plain.output_tokens, plain.cost_dollars, plain.latency_ms) > 0
    assert sorted(plain.feedback) == ["thumbs down", "thumbs up"]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"feedback": "down"}, {"plain", "hostile"}),  # n1 was taken back
        ({"feedback": "up"}, {"plain", "n1"}),
        ({"feedback": "text"}, {"hostile", "n2"}),
        ({"feedback": "any"}, {"plain", "hostile", "n1", "n2"}),
        ({"contains": "COMPONENTS? 17"}, {"n17"}),
        ({"contains": '<script>alert("Q")'}, {"hostile"}),
        ({"contains": "\x1b[31m"}, {"hostile"}),
        ({"contains": "Answer from the passages"}, set()),  # what was sent is no question
        ({"contains": SECRET}, set()),
        ({"model": "quiet"}, {"quiet"}),
        ({"model": "quiet", "feedback": "down"}, set()),
        ({"contains": "it''; DROP TABLE x --%_"}, set()),
    ],
)
def test_answers_are_found_by_model_text_and_feedback(answered, asked, wanted):
    folder, ids = answered
    found = list_answers(At(folder=folder), limit=1000, **asked)
    assert {each.trace for each in found.answers} == {ids[each] for each in wanted}


def test_one_answer_has_its_messages_passages_calls_and_feedback(answered):
    folder, ids = answered
    found = show_answer(At(folder=folder), ids["plain"])
    assert found.inputs == {"question": PLAIN}
    assert found.passages[0].id == "a"
    assert found.passages[0].score > found.passages[1].score > 0
    (call,) = found.calls
    assert [each.role for each in call.messages] == ["system", "user"]
    assert PLAIN in call.messages[1].text
    assert (call.prompt, call.route, call.finish_reason) == ("answer", "small", found.finish_reason)
    assert (call.input_tokens, call.output_tokens) == (found.input_tokens, found.output_tokens)
    assert call.cost_dollars == pytest.approx(found.cost_dollars)
    assert {(each.kind, each.value) for each in found.words} == {("thumbs", 1.0), ("thumbs", 0.0)}
    assert show_answer(At(folder=folder), found.request, model="assistant").trace == found.trace


def test_what_is_redacted_stays_so_and_is_told(answered, pages):
    folder, ids = answered
    found = show_answer(At(folder=folder), ids["quiet"])
    assert found.inputs == {"question": None}
    assert found.question is None
    assert not found.texts_kept
    assert found.redacted == ("question",)
    browser, _ = pages
    for path in ("/dev/traces?model=quiet", f"/dev/traces/{ids['quiet']}"):
        text = browser.get(path).text
        assert "hunter2" not in text
        assert "leaves question out of the log" in text


def test_hostile_texts_are_text_and_long_ones_are_cut(pages):
    browser, ids = pages
    for path in ("/dev/traces?q=onerror", f"/dev/traces/{ids['hostile']}"):
        found = browser.get(path)
        assert "&lt;script&gt;alert(&#34;q&#34;)&lt;/script&gt; \\x1b[31mred" in found.text
        assert not {"script", "img", "b"} & set(Links(found.text).tags)
        assert "\x1b" not in found.text
        assert "\u202e" not in found.text
    listed = browser.get("/dev/traces?q=at length").text
    assert len(listed) < 20_000
    assert f"({LONG:,} characters)" in listed
    link = re.search(r'href="(/dev/traces/p/[^"]+)"', listed)[1]
    assert link.startswith(f"/dev/traces/{quote(ELSEWHERE['predictions'][0]['prediction_id'])}?model=assistant")
    shown = browser.get(f"/dev/traces/{ELSEWHERE['predictions'][0]['prediction_id'].partition('?')[0]}")
    assert shown.status == 404  # a part of an id is none
    whole = browser.get("/dev/traces/far/away").text  # by its request
    assert 20_000 < len(whole) < 40_000
    assert "<i>" not in whole
    assert "None are in the log." in whole


def test_the_list_pages_on_and_keeps_its_filters(pages):
    browser, _ = pages
    text = browser.get("/dev/traces?model=assistant&q=components").text
    older = re.search(r'href="/dev/traces\?(model=assistant&amp;q=components&amp;before=[^"]+)"', text)[1]
    rest = browser.get(f"/dev/traces?{older.replace('&amp;', '&')}").text
    first, second = (set(re.findall(r'href="/dev/traces/([\w-]+)\?', each)) for each in (text, rest))
    assert len(first) == 50
    assert len(second) == 11
    assert not first & second
    assert "Earlier answers" not in rest


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/dev/traces/nothing", 404, "no answer &#39;nothing&#39;"),
        ("/dev/traces?model=asistant", 404, "assistant"),
        ("/dev/traces?feedback=sideways", 422, "up, down, text, any"),
        ("/dev/traces?before=yesterday", 422, "the place of no answer"),
        ("/dev/traces?before=2024-01-01~99999999999999999999~x", 422, "the place of no answer"),
        ("/dev/traces?before=2024-01-01T00:00:00~0~x", 422, "the place of no answer"),
        ("/dev/traces?q=nobody+asked+this", 200, "No answer is as asked for."),
        ("/live/traces", 200, "No answer is in the log yet."),
    ],
)
def test_what_is_not_there_is_told(pages, path, status, told):
    browser, _ = pages
    found = browser.get(path)
    assert (found.status, told in found.text) == (status, True), found.text
    assert "Traceback" not in found.text


def test_reading_answers_is_in_the_record_above_the_lowest_environment(answered, tmp_path):
    folder, ids = answered
    copy = shutil.copytree(folder, tmp_path / "mini", symlinks=True)
    browser, before = Browser(create_app(copy)), _read(copy)
    for env in ("dev", "live"):
        browser.get(f"/{env}/traces?q=word")
        browser.get(f"/{env}/traces/{ids['plain']}")
    assert _read(copy) == {"dev": 0, "live": before["live"] + 2}


def _read(folder):
    """How often answers were read in each environment, by the record."""
    entries = {env: list_audit_entries(At(env=env, folder=folder)) for env in ("dev", "live")}
    return {env: [each.action for each in several].count("answer.read") for env, several in entries.items()}


def test_what_cannot_be_listed_is_refused(answered):
    folder, _ = answered
    with pytest.raises(DeclarationError, match="0 answers"):
        list_answers(At(folder=folder), limit=0)
    with pytest.raises(NotFoundError, match="model that answers 'qiet': did you mean 'quiet'"):
        show_answer(At(folder=folder), "x", model="qiet")


def test_the_commands_say_the_same(answered, headrace):
    folder, ids = answered
    listed = headrace.run(folder, "trace", "list", "--feedback", "down", "--json").json()
    assert {each["trace"] for each in listed["answers"]} == {ids["plain"], ids["hostile"]}
    shown = headrace.run(folder, "trace", "show", ids["hostile"])
    assert shown.code == 0, shown.stderr
    assert "\\x1b[31mred" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert headrace.run(folder, "trace", "show", ids["hostile"], "--json").json()["inputs"] == {"question": HOSTILE}
    assert headrace.run(folder, "trace", "show", "nothing").code == 2
