"""Every page in a real browser: axe finds nothing serious, nothing scrolls sideways, in light and in the dark."""

import re
from html import unescape

import pytest
from axe_playwright_python.sync_playwright import Axe
from tests.support import browser

from .conftest import running

SERIOUS = {"serious", "critical"}
PHONE, LAPTOP = {"width": 375, "height": 700}, {"width": 1280, "height": 800}


def pages(page, address):
    """Every page that a link of another one leads to, one of a kind: what differs in a name or number alone is the same."""
    kinds, waiting = {}, [f"{address}/dev"]
    while waiting:
        path = waiting.pop(0)
        kind = re.sub(r"/(?:[0-9a-f]{20}|[^/?]*[0-9.][^/?]*)(?=[/?]|$)|\?.*", "/N", path.removeprefix(address))
        if kind in kinds or "/card" in path or "/report" in path or "export" in path:
            continue
        kinds[kind] = path
        page.goto(path)
        found = re.findall(r'<a[^>]* href="(/dev[^"#]*)"', page.content())
        waiting += [address + unescape(each) for each in found]
    return list(kinds.values())


@pytest.fixture
def opened(made, tmp_path):
    with running(made, tmp_path) as (address, _), browser.page() as page:
        yield page, pages(page, address)


def test_axe_finds_nothing_serious_and_a_phone_scrolls_one_way(opened):
    page, found = opened
    assert len(found) > 8, found
    wrong = []
    for path in found:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(LAPTOP)
            page.goto(path)
            wrong += [
                (path, scheme, each["id"], each["impact"], each["nodes"][0]["html"][:200])
                for each in Axe().run(page).response["violations"]
                if each["impact"] in SERIOUS
            ]
        page.set_viewport_size(PHONE)
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > PHONE["width"]:
            wrong.append((path, "phone", wide))
    assert wrong == []


def test_the_pages_about_answers_are_as_accessible(answered, tmp_path):
    folder, ids = answered
    paths = (
        "prompts",
        "prompts/answer",
        "costs",
        "traces",
        f"traces/{ids['hostile']}",
        "feedback",
        "models/assistant/1",
    )
    wrong = []
    with running((folder, {"gov": ""}), tmp_path) as (address, _), browser.page() as page:
        for path in paths:
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size(LAPTOP)
                page.goto(f"{address}/dev/{path}")
                wrong += [
                    (path, scheme, each["id"], each["nodes"][0]["html"][:200])
                    for each in Axe().run(page).response["violations"]
                    if each["impact"] in SERIOUS
                ]
            page.set_viewport_size(PHONE)
            if (wide := page.evaluate("document.documentElement.scrollWidth")) > PHONE["width"]:
                wrong.append((path, "phone", wide))
    assert wrong == []
