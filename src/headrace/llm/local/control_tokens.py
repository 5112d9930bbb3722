"""The tokens of a conversation, in which nobody but the model's template begins and ends a turn.

A tokenizer reads `<|im_end|>` as a control token wherever it stands, also in a question. So control tokens in contents are taken
out before the template sees them, and come back as the ordinary tokens of their letters. A conversation without them has the
tokens that its template and tokenizer give it.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Messages = Sequence[dict[str, str]]


def encode(
    messages: Messages,
    *,
    render: Callable[[Messages], str],
    tokens_of: Callable[[str], list[int]],
    controls: Iterable[str],
) -> list[int]:
    """The tokens of a conversation up to where its answer begins.

    Args:
        messages: whose contents may hold anything.
        render: the template: the conversation as one text.
        tokens_of: the tokenizer, which reads control tokens in a text as such.
        controls: the control tokens, as texts.
    """
    known = re.compile("|".join(re.escape(each) for each in sorted(controls, key=len, reverse=True)) or r"(?!)")
    taken: dict[str, str] = {}

    def take(found: re.Match[str]) -> str:
        mark = f"control{secrets.token_hex(16)}"
        taken[mark] = found[0]
        return mark

    safe = [{**each, "content": known.sub(take, each["content"])} for each in messages]
    text = render(safe)
    if not taken:
        return tokens_of(text)
    found: list[int] = []
    for part in re.split(f"({'|'.join(taken)})", text):
        found += tokens_of(part) if part not in taken else _spelled(taken[part], known, tokens_of)
    return found


def _spelled(control: str, known: re.Pattern[str], tokens_of: Callable[[str], list[int]]) -> list[int]:
    """A control token as ordinary text: its first character apart from the others, so that the tokenizer does not see it."""
    rest = control[1:]
    return tokens_of(control[:1]) + (_spelled(rest, known, tokens_of) if known.search(rest) else tokens_of(rest))
