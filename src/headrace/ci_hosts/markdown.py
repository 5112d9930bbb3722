"""Texts of others in a comment: as Markdown and HTML that show them and do nothing else.

Every ASCII character that could begin something is a numeric character reference, which CommonMark takes for literal
text. What hosts look for in the text that is left afterwards (`@name`, `#12`, `!34`, `~label`) is cut by a zero-width
space. Quick actions of GitLab (`/close`) are looked for in the source, where no slash is.
"""

from __future__ import annotations

import re

from headrace.core import credentials
from headrace.core.text import counted, visible

ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")
ACTIVE = re.compile(r"[^\w\s]|_", re.ASCII)
REFERENCES = "@#!~%$&^*:\uff20"  # begin a mention, a reference or an emoji of a host, also as `@` in full width
CUT = "&#8203;"  # a zero-width space
LONGEST = 20_000  # characters of a line that is looked through for credentials


def plain(text: str) -> str:
    """A text of a program's output: without colours, control characters and credentials; very long lines are left out."""
    lines = ANSI.sub("", text.replace("\r\n", "\n")).replace("\r", "\n").split("\n")
    return "\n".join(map(_line, lines))


def _line(line: str) -> str:
    if len(line) > LONGEST:  # a part of it might be a part of a credential, which is not detected
        return f"… a line of {counted(len(line), 'character')}"
    return visible(credentials.hidden(line))


def cell(text: str, *, longest: int) -> str:
    """One line of plain text, for a cell of a table or a sentence; cut to a number of characters before it is escaped."""
    line = " ".join(plain(text[: 4 * longest]).split())
    return escaped(line if len(line) <= longest else f"{line[: longest - 1]}…")


def escaped(text: str) -> str:
    """A text that is only shown, wherever it stands in Markdown or in HTML."""
    return "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character in REFERENCES:
        return f"&#{ord(character)};{CUT}"
    if not character.isascii() or not ACTIVE.fullmatch(character):
        return character
    return f"&#{ord(character)};"
