"""Texts of endpoints, fit to be shown: short, and without the key that was sent."""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "…"
QUOTED = 200  # characters
READ = 4_096  # bytes of an error's body
SHORTEST = 12  # characters of a key that is looked for in answers: shorter ones are placeholders such as "none"


def redact(text: str, keys: Iterable[str]) -> str:
    """Returns the text without the keys in any form in which an endpoint may repeat them."""
    for key in keys:
        for form in _forms(key):
            text = text.replace(form, HIDDEN)
    return text


def quoted(body: bytes, keys: Iterable[str]) -> str:
    """Returns what a body says, in at most 200 characters, for the message of an error."""
    secrets = [key for key in keys if key]
    text = _said(body)
    cut = len(body) >= READ
    text = redact(text, secrets)
    if cut and secrets:  # the end may hold the beginning of a key
        longest = max(len(form) for key in secrets for form in _forms(key))
        text = text[: max(0, len(text) - longest)]
    text = "".join(each if each.isprintable() else " " for each in text).strip()
    return text if len(text) <= QUOTED else f"{text[: QUOTED - 1]}…"


def redacted_answer(text: str, keys: Iterable[str]) -> str:
    """Returns the text of an answer without the keys. One below 12 characters may be a word of it, and is left there."""
    return redact(text, _secrets(keys))


class RedactedStream:
    """The same for an answer that comes piece by piece: the beginning of a key is held back until more has come.

    Args:
        keys: that must not be shown.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._forms = tuple(form for key in _secrets(keys) for form in _forms(key))
        self._held = ""

    def add(self, text: str) -> str:
        """Takes a piece, and returns what can be shown now."""
        if not self._forms:
            return text
        text = self._held + text
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        held = max(_overlap(text, form) for form in self._forms)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def end(self) -> str:
        """Returns what is still held back once the answer is complete: the beginning of a key that did not go on."""
        rest, self._held = self._held, ""
        return rest


def _secrets(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(key for key in keys if len(key) >= SHORTEST)


def _overlap(text: str, form: str) -> int:
    """How many characters at the end of a text are the beginning of a form."""
    most = min(len(text), len(form) - 1)
    place = text.find(form[0], len(text) - most) if most else -1
    while place >= 0 and not form.startswith(text[place:]):
        place = text.find(form[0], place + 1)
    return len(text) - place if place >= 0 else 0


def _said(body: bytes) -> str:
    """The message in an error of either protocol, or else the whole text."""
    text = body.decode(errors="replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, dict):
        error = cast("dict[str, Any]", value).get("error", cast("dict[str, Any]", value))
        message = cast("dict[str, Any]", error).get("message") if isinstance(error, dict) else error
        if isinstance(message, str):
            return message
    return json.dumps(value, ensure_ascii=False)


@lru_cache(maxsize=32)
def _forms(key: str) -> tuple[str, ...]:
    """The longest first: a short one may be a part of a long one."""
    if not key:
        return ()
    data = key.encode()
    encoded = base64.b64encode(data).decode().rstrip("=")
    forms = {key, quote(key), quote(key, safe=""), json.dumps(key)[1:-1], encoded, data.hex(), key[::-1]}
    return tuple(sorted(forms, key=len, reverse=True))
