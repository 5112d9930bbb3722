"""The page on which one does what a command would do: the way from what needs a person to where it is settled."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

# The first words of a command → the page of the environment; {} is the word that follows or the value of --model.
PAGES = (
    ("request show", "requests/{}", "decide"),
    ("alert show", "alerts/{}", "take care"),
    ("runs logs", "runs/{}", "see the run"),
    ("runs show", "runs/{}", "see the run"),
    ("traffic show", "endpoints/{}", "see the traffic"),
    ("traffic history", "endpoints/{}", "see the traffic"),
    ("run deploy", "models/{}", "see the model"),
    ("run monitor", "monitors/{}", "see the monitor"),
    ("run publish", "features", "see the features"),
    ("model history", "models/{}", "see the model"),
    ("model show", "models/{}", "see the model"),
    ("table show", "tables/{}", "see the table"),
)


def next_page(command: str, env: str) -> tuple[str, str] | None:
    """The address of a page and what one does there; None where a command alone does it."""
    try:
        words = shlex.split(command.partition(";")[0])
    except ValueError:
        return None
    for begin, page, does in PAGES:
        given = ["headrace", *begin.split()]
        if words[: len(given)] != given:
            continue
        if "{}" not in page:
            return f"/{env}/{page}", does
        name = _subject(words[len(given) :])
        return None if name is None else (f"/{env}/{page.format(quote(name, safe=''))}", does)
    return None


def _subject(words: Sequence[str]) -> str | None:
    if "--model" in words[:-1]:
        return words[words.index("--model") + 1]
    return words[0] if words and not words[0].startswith("-") else None
