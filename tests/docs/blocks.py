"""The code blocks of the documentation pages, with the line on which each begins."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(.*)$")


@dataclass(frozen=True)
class Block:
    """One fenced block. `line` is that of its first line of text; `title` is the file that a reader writes it to."""

    page: Path
    line: int
    language: str
    title: str
    text: str

    @property
    def where(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page):
    """The blocks of one page, from its top to its bottom."""
    found, opened = [], None
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        fence = FENCE.match(line)
        if opened is None:
            opened = (fence, number) if fence else None
        elif fence:
            assert fence[2] == "", f"{page}:{opened[1]}: the block does not end before line {number}"
            indent, info = opened[0].groups()
            words = info.split(maxsplit=1)
            title = re.search(r'title="([^"]*)"', info)
            text = "\n".join(each.removeprefix(indent) for each in lines[opened[1] : number - 1])
            found.append(Block(page, opened[1] + 1, words[0] if words else "", title[1] if title else "", text + "\n"))
            opened = None
    assert opened is None, f"{page}:{opened[1]}: the block does not end"
    return found


@dataclass(frozen=True)
class Typed:
    """A command as a reader types it after `$`, and the output that the page shows for it."""

    where: str
    line: str
    output: str


def typed(block):
    """The commands of a console block. A line that ends with a backslash goes on in the next one."""
    found, lines, number = [], block.text.splitlines(), 0
    while number < len(lines):
        start = number
        if not lines[start].startswith("$ "):
            found.append((start, None, lines[start]))
            number += 1
            continue
        while lines[number].endswith("\\"):
            number += 1
        command = " ".join(each.rstrip("\\").strip() for each in lines[start : number + 1])
        found.append((start, command.removeprefix("$ "), ""))
        number += 1
    commands = []
    for start, command, text in found:
        if command is not None:
            commands.append((start, command, []))
        elif commands:
            commands[-1][2].append(text)
        elif text.strip():
            raise AssertionError(f"{block.where}: output without a command: {text}")
    path = block.page.relative_to(ROOT)
    return [Typed(f"{path}:{block.line + start}", command, "\n".join(out)) for start, command, out in commands]
