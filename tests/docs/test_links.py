"""Links in Markdown, as a git host follows them: from the file that they are in, to files of the repository."""

import re
from functools import cache
from pathlib import Path

import pytest
from docs.generate.layout import FENCE, LINK

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
HEADING = re.compile(r"^#+ (.+?)\s*$", re.MULTILINE)


@cache
def text(path):
    return FENCE.sub("", path.read_text(encoding="utf-8"))


@cache
def anchors(path):
    """The anchors of headings: small letters, without punctuation, a hyphen for each space, numbered where they repeat."""
    found = {}
    for heading in HEADING.findall(text(path)):
        plain = LINK.sub(r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {slug if not number else f"{slug}-{number}" for slug, most in found.items() for number in range(most + 1)}


def broken(path):
    """The links of a page that lead nowhere."""
    for match in LINK.finditer(text(path)):
        target, _, anchor = match[2].partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        there = (path.parent / target) if target else path
        if not there.exists() or (anchor and (there.suffix != ".md" or anchor not in anchors(there))):
            yield match[2]


def test_there_are_links():
    assert len(PAGES) > 50
    assert sum(len(LINK.findall(text(path))) for path in PAGES) > 80


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(path):
    assert list(broken(path)) == []


def test_broken_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`, three\n\n[a](page.md#one-two-three) [b](page.md#four) [c](gone.md) [d](https://x.org)\n"
    )

    assert list(broken(page)) == ["page.md#four", "gone.md"]
