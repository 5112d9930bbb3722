"""The site as `make docs` builds it: without the network, without anything from elsewhere, without a broken link."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from docs.generate import layout

ROOT = Path(__file__).parents[2]
BUILD = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise RuntimeError(f"the build asks the network: {event} {arguments}")

sys.addaudithook(refuse)
from mkdocs.__main__ import cli
cli(["build", "--strict", "--site-dir", sys.argv[1]])
"""
LOADED = {  # what a browser fetches by itself
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "img": "src",
    "link": "href",
    "script": "src",
    "source": "src",
    "video": "src",
}
CODE = ("code", "pre", "script", "style")
LEFT = re.compile(
    r"\]\(|\*\*|```|^\|.*\|$|\n[-*] |\\_", re.MULTILINE
)  # links, bold, fences, tables and lists of Markdown
FOREIGN = re.compile(r"(https?:)?//")


class Html(HTMLParser):
    """What a page loads, where it leads, and the anchors that it has."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.links, self.anchors = [], [], set()
        self.prose, self._code = [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag in LOADED and LOADED[tag] in found:
            self.loads.append(found[LOADED[tag]])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        self._code += tag in CODE

    def handle_endtag(self, tag):
        self._code -= tag in CODE

    def handle_data(self, data):
        if not self._code:
            self.prose.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site, and what its pages hold."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, {path: Html(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}


def test_every_page_is_built(site):
    folder, _ = site
    sources = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    expected = {path.with_suffix(".html") for path in [*sources, *map(Path, layout.reference())]}

    assert {path for path in expected if not (folder / path).is_file()} == set()


def test_pages_load_nothing_from_elsewhere(site):
    folder, pages = site
    loaded = [(path.name, each) for path, page in pages.items() for each in page.loads]
    styles = [(path.name, each) for path in folder.rglob("*.css") for each in _of_style(path.read_text("utf-8"))]

    assert len(loaded) > len(pages)
    assert [each for each in (*loaded, *styles) if FOREIGN.match(each[1])] == []


def _of_style(text):
    return re.findall(r"""(?:url\(|@import\s+)["']?([^"')\s]+)""", text)


def test_what_pages_load_is_there(site):
    folder, pages = site
    missing = [
        (path.relative_to(folder), each)
        for path, page in pages.items()
        for each in page.loads
        if not each.startswith("data:")
        and path.name != "404.html"
        and not (path.parent / urlsplit(each).path).is_file()
    ]

    assert missing == []


def test_every_link_leads_to_a_page_and_an_anchor(site):
    folder, pages = site
    links = [(path, each) for path, page in pages.items() if path.name != "404.html" for each in page.links]
    inside = [(path, urlsplit(each)) for path, each in links if not urlsplit(each).scheme and each != "."]
    broken = []
    for path, link in inside:
        there = path if not link.path else Path(os.path.normpath(path.parent / unquote(link.path)))
        if there not in pages or (link.fragment and unquote(link.fragment) not in pages[there].anchors | {"__top"}):
            broken.append((path.relative_to(folder).as_posix(), link.geturl()))

    assert len(inside) > 1000
    assert broken == []


def test_no_markdown_is_left_in_the_prose_of_a_page(site):
    """As of a list without an empty line before it, which a git host shows as a list."""
    folder, pages = site
    left = [
        (path.relative_to(folder).as_posix(), each)
        for path, page in pages.items()
        for each in page.prose
        if LEFT.search(each)
    ]

    assert left == []


def test_a_site_without_some_pages_has_a_navigation():
    listed = str(layout.navigation())

    assert [name for name in layout.BOXES if f"'{name}.md'" not in listed] == []
    for name in ("tutorial.md", "concepts.md", *(f"guides/{each}.md" for each in layout.GUIDES)):
        assert (name in listed) == (ROOT / "docs" / name).is_file()
