r"""Splits the source of a prompt into sections, one a message: before any value is known, so that no value can add one.

A section begins with a line that is `# system`, `# user` or `# assistant` and nothing else, also within a code fence.
A backslash before a `#` at the beginning of a line is taken away: `\# user` stands for the text `# user`.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import DeclarationError
from headrace.llm.prompts.messages import ROLES, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HEADING = re.compile(r"# (system|user|assistant)[ \t]*")
ONE_WORD = re.compile(r"#[ \t]*([A-Za-z]+)[ \t]*:?[ \t]*")
ESCAPED = re.compile(r"^\\(?=\\*#)", re.MULTILINE)
ESCAPABLE = re.compile(r"^(?=\\+#|#[ \t]*[A-Za-z]+[ \t]*:?[ \t]*$)", re.MULTILINE)
_BACKSLASH = r"\\"
EXAMPLE = "For example:\n# system\nAnswer in one sentence.\n# user\nQuestion: {{ question }}"


@dataclass(frozen=True)
class Section:
    """One section of a prompt.

    Attributes:
        role: of its message.
        text: its template, without blank lines around it.
        line: of the file, where the text begins; from 1.
    """

    role: Role
    text: str
    line: int


def split(source: str) -> tuple[Section, ...]:
    """The sections of a prompt, in their order.

    Raises:
        DeclarationError: text before the first section, no section `user`, an empty one, or a `system` that is not the first.
            The message begins with `line N:` where there is one.
    """
    lines = source.split("\n")
    starts: list[tuple[int, Role]] = [
        (number, role) for number, line in enumerate(lines) if (role := _role(line, number + 1))
    ]
    before = lines[: starts[0][0]] if starts else lines
    for number, line in enumerate(before, start=1):
        if line.strip():
            raise DeclarationError(
                f"line {number}: {line.strip()[:60]!r} comes before the first section of the prompt.",
                hint=f"Begin with a line that is '# system' or '# user'. {EXAMPLE}",
            )
    ends = [*(number for number, _ in starts), len(lines)][1:]
    sections = tuple(
        _section(role, lines[start + 1 : end], start + 1) for (start, role), end in zip(starts, ends, strict=True)
    )
    _check_order(sections)
    return sections


def join(sections: Iterable[tuple[Role, str]]) -> str:
    """The source of which `split` makes these roles and texts, whatever the texts contain."""
    return "\n\n".join(f"# {role}\n{ESCAPABLE.sub(_BACKSLASH, text)}" for role, text in sections) + "\n"


def _role(line: str, number: int) -> Role | None:
    """The role that a line begins, if it begins one."""
    if found := HEADING.fullmatch(line):
        return next(role for role in ROLES if role == found[1])
    word = ONE_WORD.fullmatch(line)
    if word and (near := difflib.get_close_matches(word[1].lower(), ROLES, n=1, cutoff=0.8)):
        raise DeclarationError(
            f"line {number}: {line.strip()!r} is no section.",
            hint=f"Write '# {near[0]}', with nothing else in the line.",
        )
    return None


def _section(role: Role, lines: Sequence[str], heading: int) -> Section:
    filled = [number for number, line in enumerate(lines) if line.strip()]
    if not filled:
        raise DeclarationError(f"line {heading}: the section '# {role}' is empty.", hint="Write its text or remove it.")
    inside = lines[filled[0] : filled[-1] + 1]
    return Section(role, ESCAPED.sub("", "\n".join(inside)), heading + 1 + filled[0])


def _check_order(sections: Sequence[Section]) -> None:
    for section in sections[1:]:
        if section.role == "system":
            raise DeclarationError(
                f"line {section.line - 1}: '# system' is not the first section.",
                hint="A prompt has one section of instructions, at its beginning.",
            )
    if not any(section.role == "user" for section in sections):
        raise DeclarationError("the prompt has no section '# user'.", hint=EXAMPLE)
