"""Prompts with their texts, what differs between two, and what calls cost."""

import re

import pytest
from tests.support import assistant

from headrace.console.pages.prompts import diff_lines
from headrace.operations.operation import At
from headrace.operations.prompts import compare_prompt_texts, list_prompts, show_prompt


def test_a_prompt_says_which_versions_carry_each_text_and_what_it_costs(answered):
    folder, _ = answered
    (prompt,) = list_prompts(At(folder=folder)).prompts
    new, old = prompt.texts
    assert (prompt.name, old.text, new.text) == ("answer", assistant.PROMPT, assistant.SHORT)
    assert [(each.model, each.version, each.stage) for each in new.used_by] == [("assistant", 2, "None")]
    assert {(each.model, each.version, each.stage) for each in old.used_by} == {
        ("assistant", 1, "Production"),
        ("quiet", 1, "Production"),
    }
    assert (new.declared, old.declared) == (True, False)
    assert new.calls == len(assistant.QUESTIONS)
    assert old.calls > 2 * len(assistant.QUESTIONS)
    assert old.cost_per_thousand_dollars > new.cost_per_thousand_dollars > 0
    assert new.used_by[0].metrics["answer_f1"] > old.used_by[-1].metrics["answer_f1"]


def test_two_texts_are_compared_by_the_beginnings_of_their_digests(answered):
    folder, _ = answered
    new, old = show_prompt(At(folder=folder), "answer").texts
    found = compare_prompt_texts(At(folder=folder), "answer", old.digest[:8], new.digest)
    assert (found.a, found.b, found.sections, found.inputs) == (old.digest, new.digest, ("system",), ())
    kinds = {each.text: each.kind for each in diff_lines(found.diff)}
    assert kinds["-Answer from the passages."] == "removed"
    assert kinds["+Answer from the passages in one sentence, directly, word for word."] == "added"
    assert kinds[f"--- answer {old.digest[:8]}"] == "place"
    assert kinds[" # system"] == ""


def test_the_pages_show_it(pages):
    browser, _ = pages
    listed = browser.get("/dev/prompts").text
    assert '<a href="/dev/models/assistant/2">assistant 2</a>' in listed
    shown = browser.get("/dev/prompts/answer").text
    assert '<span class="added">+Answer from the passages in one sentence' in shown
    assert '<span class="removed">-Answer from the passages.' in shown
    assert '<a href="/dev/models/quiet/1">quiet 1</a> <span class="status good">Production</span>' in shown
    a, b = re.search(r'href="\?a=(\w{32})&amp;b=(\w{32})#', shown).groups()
    back = browser.get(f"/dev/prompts/answer?a={b}&b={a}").text
    assert '<span class="removed">-Answer from the passages in one sentence' in back
    assert "Both have the same text." in browser.get(f"/dev/prompts/answer?a={a}&b={a}").text


def test_costs_stand_beside_budgets(pages):
    browser, _ = pages
    text = browser.get("/dev/costs").text
    assert re.search(r"<td>day</td>.*\$5\.00</td>.*\$4\.9\d.*within", text, re.DOTALL)
    for told in ("Cost by route", "<td>small</td>", "<td>assistant</td>", "per 1,000 calls"):
        assert told in text


def test_a_version_that_answers_shows_prompt_route_and_judges(pages):
    browser, _ = pages
    text = browser.get("/dev/models/assistant/1").text
    assert re.search(r'<a href="/dev/prompts/answer#t\w{8}">answer</a>', text)
    assert "<td>recall@2</td>" in text
    assert "No gate has tried injections on it" in text


@pytest.mark.parametrize("path", ["prompts/nothing", "prompts/answer?a=zz", "prompts/<script>"])
def test_what_is_not_there_is_told(pages, path):
    browser, _ = pages
    found = browser.get(f"/dev/{path}")
    assert found.status == 404
    assert "<script>" not in found.text
    assert "Traceback" not in found.text


def test_a_project_without_language_models_has_no_such_pages_in_its_navigation(console, pages):
    browser, _ = console
    other, _ = pages
    for path in ("/prompts", "/traces", "/feedback"):
        assert f'href="/dev{path}"' not in browser.get("/dev/tables").text
        assert f'href="/dev{path}"' in other.get("/dev/tables").text
        assert browser.get(f"/dev{path}").status == 200
