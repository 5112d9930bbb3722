"""Debian's Chromium without a screen, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager

import pytest

# Nothing but the page under test: no sandbox, which root has not, and no calls to anybody else.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def page():
    """A page of a browser of its own. What the page's scripts raise fails the test.

    Without a Chromium the test is skipped on a developer's machine and fails in CI.
    """
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("there is no Chromium on this machine: apt-get install chromium")
        pytest.skip("there is no Chromium on this machine")
    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        opened = browser.new_page()
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        try:
            yield opened
        finally:
            browser.close()
    assert wrong == []
