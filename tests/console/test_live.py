"""An open page follows what changes, keeps what somebody writes, and says so when its console is gone."""

import re

import pytest
from tests.support import browser

from headrace.core import vault
from headrace.operations.operation import At
from headrace.operations.requests import reject_request

from .conftest import running

WITHIN = 30_000  # milliseconds


@pytest.fixture
def opened(made, tmp_path):
    """A page of a console, its address, its process, and where its project is."""
    with running(made, tmp_path) as (address, server), browser.page() as page:
        yield page, address, server, At(folder=tmp_path / "mini")


def test_what_changes_comes_by_itself(opened, made):
    page, address, _, at = opened
    page.goto(f"{address}/dev")
    assert "days version 1 asks for Production" in page.locator("main").inner_text()
    page.evaluate("window.stays = true")
    with vault.bearing(made[1]["gov"]):
        reject_request(at, 2, reason="too coarse")
    page.get_by_text("transition.rejected").wait_for(timeout=WITHIN)
    assert "days version 1 asks for Production" not in page.locator("main").inner_text()
    assert page.evaluate("window.stays")  # the page was not loaded again


def test_what_somebody_writes_is_not_replaced(opened, made):
    page, address, _, at = opened
    page.goto(f"{address}/dev/requests/2")
    page.get_by_label("Reason").fill("half a sentence")
    with page.expect_event("console", lambda said: "kept" in said.text, timeout=WITHIN):
        page.evaluate(
            "document.addEventListener('htmx:beforeRequest', (e) => setTimeout(() => console.log(e.defaultPrevented ? 'kept' : 'replaced')))"
        )
        with vault.bearing(made[1]["gov"]):
            reject_request(at, 2, reason="too coarse")
    assert page.get_by_label("Reason").input_value() == "half a sentence"
    page.get_by_role("button", name="Approve").click()
    assert page.get_by_role("alert").first.inner_text()
    assert "You wrote: half a sentence" in page.locator("main").inner_text()


def test_a_console_that_is_gone_is_told(opened):
    page, address, server, _ = opened
    page.goto(f"{address}/dev")
    lost = page.locator("#lost")
    assert not lost.is_visible()
    server.kill()
    lost.wait_for(timeout=WITHIN)
    assert re.search(r"as of \d{4}-\d\d-\d\d", lost.inner_text())


def test_the_stream_of_an_environment_that_is_not_there(console):
    asked, _ = console
    assert asked.get("/nowhere/live").status == 404


def test_a_choice_that_somebody_changes_is_written(opened):
    page, address, _, _ = opened
    page.goto(f"{address}/dev")
    for name, options in {"plain": "<option>a<option>b", "said": "<option>a<option selected>b<option>c"}.items():
        page.evaluate(f"document.querySelector('main').innerHTML = '<select id={name}>{options}</select>'")
        assert page.evaluate("isWritten()") is False
        page.locator(f"#{name}").evaluate(
            "each => { each.value = each.options[each.selectedIndex - 1 in each.options ? 0 : 1].value; }"
        )
        assert page.evaluate("isWritten()") is True
        page.locator(f"#{name}").evaluate("each => { each.value = each.id === 'said' ? 'b' : 'a'; }")
        assert page.evaluate("isWritten()") is False
