"""The pictures of the console in the README, from the folder that `make demo` has made: `python -m docs.generate.screenshots flights`.

It starts the console of that folder and needs a Chromium on this machine.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ASSETS = Path(__file__).parent.parent / "assets"
SIZE = {"width": 1280, "height": 800}
PAGES = {  # file → page of prod
    "console-home": "",
    "console-model": "/models/arrival_delay",
    "console-monitor": "/monitors/arrival_delay",
}


def take(project: Path, into: Path) -> None:
    """Writes a picture of each page.

    Args:
        project: the folder that the demo has made.
        into: a folder.
    """
    command = [sys.executable, "-m", "headrace.cli", "console", "--port", "0"]
    with subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True) as console:
        assert console.stderr is not None
        try:
            said = console.stderr.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+", said)
            if address is None:
                raise SystemExit(f"the console of {project} did not start: {said}")
            _pictures(address[0], into)
        finally:
            console.terminate()


def _pictures(address: str, into: Path) -> None:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("there is no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        for name, path in PAGES.items():
            answer = page.goto(f"{address}/prod{path}")
            if answer is None or answer.status != 200:
                raise SystemExit(f"{path} was not answered: {answer and answer.status}")
            page.screenshot(path=into / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    take(Path(sys.argv[1] if len(sys.argv) > 1 else "flights"), ASSETS)
