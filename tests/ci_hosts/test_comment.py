"""The comment as Markdown shows it: nothing that is in a report does anything but be shown."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from tests.support.merge_requests import PASSED, STEPS, document

from headrace.ci_hosts.comment import comment, length, marker
from headrace.ci_hosts.markdown import plain
from headrace.ci_hosts.report import IntegrationReport, StepReport
from headrace.core.clock import instant
from headrace.core.text import visible

OURS = {"h3", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "pre", "code"}
MENTION = re.compile(r"[@\uff20#!~%$&^][^\s\u200b]")


def report(**changes):
    found = document(**changes)
    moments = {key: instant(found[key]) for key in ("started_at", "finished_at")}
    steps = tuple(StepReport(**{**step, "result": step["result"]}) for step in found["steps"])
    return IntegrationReport(**{**found, **moments, "steps": steps})


class Page(HTMLParser):
    """The elements, and the text of each kind of element."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.comments, self.open, self.texts = [], [], [], {}
        self.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, [name for name, _ in attrs if name != "style"]))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_comment(self, data):
        self.comments.append(data)

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts[tag] = self.texts.get(tag, "") + data


def failing(**changes):
    return [{**STEPS[1], **changes}]


def test_a_test_that_passed():
    text = comment(report(**PASSED), limit=65_536)
    page = Page(text)

    assert text.startswith("<!-- headrace:integration:shop:staging -->\n")
    assert "✅ Passed: 1 step in 90.0 s." in page.texts["p"]
    assert (
        "Commit 0123456789ab, tree fedcba987654, no lock file; signed by ci; finished 2024-01-31 12:01:30"
        in page.texts["p"]
    )
    assert page.texts["td"] == "refresh✅ passed1.2 s4 tables"
    assert "details" not in page.texts


def test_a_test_that_failed():
    page = Page(comment(report(), limit=65_536))

    assert "Failed at step train: no labelled decision" in page.texts["p"]
    assert "not signed" in page.texts["p"]
    assert page.texts["pre"].strip() == "reading\nno labelled decision"
    assert page.texts["summary"] == "Log of train"
    assert "train failed" in page.texts["td"]


def test_a_test_that_failed_outside_of_its_steps():
    assert "no step says why" in comment(report(steps=[]), limit=65_536)


ATTACKS = [
    "</pre></details><script>alert(1)</script>",
    "```\n~~~\n# title\n",
    "@maria @shop/all \uff20eve",
    "![x](http://evil/x.png) [a](javascript:alert(1)) <img src=x onerror=y>",
    "\n/close\n/merge\n/assign @maria",
    "| a | b |\n| --- | --- |\n",
    "<!-- headrace:integration:shop:prod -->",
    "&lt;b&gt; &#60;b&#62; &commat;maria",
    "fixes #12, !34, ~label, %3, $5, &9, :tada:",
    "\x1b[31mred\x1b[0m \u202eesrever\u200b \x00",
    "---\n***\n> quote\n1. one\n\n\n    code",
    "[[_TOC_]] ::include{file=x} $$x$$ ^note",
    "\ud800 \\",
]


@pytest.mark.parametrize("text", ATTACKS)
@pytest.mark.parametrize("where", ["log", "summary", "reason", "step"])
def test_no_text_breaks_out(text, where):
    _check(comment(report(steps=failing(**{"step": "s", where: f"before {text} after"})), limit=65_536))


@pytest.mark.parametrize("key", ["project", "environment", "commit", "tree", "lock", "signed_by"])
@pytest.mark.parametrize("text", ATTACKS)
def test_no_name_breaks_out(key, text):
    changed = report(**{key: text})
    _check(comment(changed, limit=65_536))
    assert marker(changed).count("-->") == marker(changed).count("<!--") == 1


@given(st.text(max_size=300), st.text(max_size=60))
def test_drawn_texts_do_not_break_out(log, name):
    _check(
        comment(report(project=name or "p", steps=failing(log=log, summary=log, reason=log, step=name)), limit=65_536)
    )


def _check(text):
    text.encode()  # no lone surrogate
    page, source = Page(text), text.partition("\n")[2]
    assert {tag for tag, _ in page.elements} <= OURS
    assert all(not attributes for _, attributes in page.elements)
    assert len(page.comments) == 1
    for shown in page.texts.values():
        assert MENTION.findall(shown) == []
    assert re.search(r"^\s*/|@|\uff20", source, re.MULTILINE) is None
    assert visible(text) == text


def test_a_log_is_shown_as_it_was():
    log = 'File "a.py", line 3\n\n    x = a[0] * b & c  # <here>\nValueError: `x`'
    page = Page(comment(report(steps=failing(log=log)), limit=65_536))
    assert page.texts["pre"].strip("\n").replace("\u200b", "") == log


def test_colours_are_taken_away_and_credentials_hidden():
    log = "\x1b[1;31mError\x1b[0m postgresql://ann:hunter22@db/x password=hunter23\r\ndone"
    assert plain(log).startswith("Error postgresql://ann:…@db/x")
    text = comment(report(steps=failing(log=log, reason=log, summary=log)), limit=65_536)
    assert "hunter" not in text


def test_a_credential_at_the_place_where_a_log_is_cut_is_not_shown():
    log = "start\n" + "password=" + "s3cret" * 20_000 + "\n" + "last line"
    text = comment(report(steps=failing(log=log)), limit=65_536)
    assert "s3cret" not in text
    assert "last&" in text.replace(" ", "&")


@pytest.mark.parametrize("limit", [65_536, 1_000_000])
@pytest.mark.parametrize("unit", ["a", "|", "💥", "\x00", "@"])
def test_whatever_is_long_is_cut(limit, unit):
    steps = [
        {**STEPS[0], "step": f"{number}{unit * 500}", "summary": unit * 5000, "result": "passed"}
        for number in range(2000)
    ]
    steps.append({**STEPS[1], "step": "the last", "log": f"{unit * 900}\n" * 3000, "reason": unit * 100_000})
    text = comment(report(steps=steps, project=unit * 1000, signed_by=unit * 1000), limit=limit)

    assert length(text) <= limit
    assert "more steps not shown" in text
    assert "| the last | ❌ failed |" in text
    assert "<details>" in text
