"""Docstrings in Google's form as records, and as Markdown."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from textwrap import dedent

LISTED = ("Args", "Attributes", "Raises")
WRITTEN = ("Returns", "Yields", "Example", "Examples")
SECTION = re.compile(rf"({'|'.join((*LISTED, *WRITTEN))}):")
ENTRY = re.compile(r" {4}(\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*)(?: \([^)]*\))?: ?(.*)")
CODE = re.compile(r"(``.+?``|`[^`]+`)", re.DOTALL)
OPTION = re.compile(r" *# doctest: .*")
BULLET = re.compile(r"[-*] |\d+\. ")


@dataclass(frozen=True, kw_only=True)
class Docstring:
    """The parts of a docstring.

    Attributes:
        text: what comes before the first section.
        listed: `Args`, `Attributes` and `Raises`, each a name with its description.
        written: `Returns`, `Yields` and `Example`, each as text.
    """

    text: str
    listed: dict[str, dict[str, str]] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)

    def described(self) -> dict[str, str]:
        """The arguments and the attributes, without the stars of `*columns`."""
        entries = {**self.listed.get("Attributes", {}), **self.listed.get("Args", {})}
        return {name.strip("*"): text for name, text in entries.items()}


def parse(value: object) -> Docstring:
    """Reads the docstring of an object; one without a docstring has an empty text."""
    return parse_text(inspect.getdoc(value) or "")


def parse_text(text: str) -> Docstring:
    """Reads the text of a docstring."""
    before: list[str] = []
    sections: dict[str, list[str]] = {}
    lines = before
    for line in text.splitlines():
        if SECTION.fullmatch(line):
            lines = sections.setdefault(line[:-1], [])
        elif line and not line[0].isspace() and lines is not before:  # prose after a section
            lines = before
            before += ["", line]
        else:
            lines.append(line)
    listed = {name: _entries(sections[name]) for name in LISTED if name in sections}
    written = {name: dedent("\n".join(sections[name])).strip() for name in WRITTEN if name in sections}
    return Docstring(text="\n".join(before).strip(), listed=listed, written=written)


def _entries(lines: list[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        if match := ENTRY.fullmatch(line):
            current = [match[2]]
            for name in match[1].split(", "):
                found[name] = current
        else:
            current.append(line.strip())
    return {name: " ".join(" ".join(text).split()) for name, text in found.items()}


def markdown(text: str) -> str:
    """Prose as Markdown: outside of code, `<` and `_` stand for themselves, and a list has an empty line before it."""
    parts = CODE.split(text)
    plain = [part if CODE.fullmatch(part) else part.replace("<", "&lt;").replace("_", r"\_") for part in parts]
    lines: list[str] = []
    for line in "".join(plain).splitlines():
        if BULLET.match(line) and lines and lines[-1] and not (BULLET.match(lines[-1]) or lines[-1][0] == " "):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def sections(doc: Docstring, *, described: dict[str, str] | None = None) -> list[str]:
    """The sections of a docstring as Markdown, without its text.

    Args:
        doc: the docstring.
        described: the arguments, where they are other than those of the docstring itself.
    """
    blocks: list[str] = []
    arguments = doc.listed.get("Args", {}) if described is None else described
    for title, entries in (("Arguments", arguments), ("Attributes", doc.listed.get("Attributes", {}))):
        if entries:
            blocks += [f"**{title}**", definitions(entries)]
    for title in ("Returns", "Yields"):
        if title in doc.written:
            blocks += [f"**{title}**", markdown(doc.written[title])]
    if raises := doc.listed.get("Raises"):
        blocks += ["**Raises**", definitions(raises)]
    for title in ("Example", "Examples"):
        if title in doc.written:
            blocks += ["**Example**", example(doc.written[title])]
    return blocks


def definitions(entries: dict[str, str]) -> str:
    """Names with their descriptions, as a definition list."""
    return "\n\n".join(f"`{name}`\n:   {markdown(sentence(text))}" for name, text in entries.items())


def sentence(text: str) -> str:
    """A text that begins with a capital letter, unless it begins with code."""
    return text[:1].upper() + text[1:]


def example(text: str) -> str:
    """An example as Markdown: sessions with `>>>` as blocks of code, and prose between them; without any, all is code."""
    if ">>>" not in text:
        return f"```python\n{text}\n```"
    blocks: list[str] = []
    session: list[str] = []
    for part in [*re.split(r"\n\s*\n", text), ""]:
        if part.startswith(">>>"):
            session.append(OPTION.sub("", part))
            continue
        if session:
            blocks.append("```pycon\n" + "\n\n".join(session) + "\n```")
            session = []
        blocks.append(markdown(part))
    return "\n\n".join(blocks).strip()


def cell(text: str) -> str:
    """A text as the cell of a table."""
    return " ".join(markdown(sentence(text)).split()).replace("|", "\\|")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table of Markdown, whose cells are Markdown already."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
