"""A message with feedback, as a server takes it: from the JSON of its body to the rows that it becomes.

{"prediction_id": "…", "thumbs": "down", "correction": "It lands at 12:40.", "id": "click-17", "user": "u-7"}
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any, cast

from headrace.core.errors import DataError
from headrace.core.ids import digest
from headrace.llm.feedback.declarations import EXPLICIT, IMPLICIT, SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from headrace.llm.feedback.declarations import Feedback

TEXT = 10_000  # characters of a correction or a comment
BODY = 2**18  # bytes of a message: its texts, each character escaped
NAME = 200  # characters of a user's name
IDENTIFIER = re.compile(r"[!-~]{1,128}")
FIELDS = ("prediction_id", *EXPLICIT, *IMPLICIT, "id", "user", "version", "source")
THUMBS: dict[object, float] = {"up": 1.0, "down": 0.0}
LARGEST = 2**63


class TooLongError(DataError):
    """A text of a message is longer than it may be."""


def rows(given: object, declared: Feedback, *, model: str, api_key: str | None, at: datetime) -> list[dict[str, Any]]:
    """The rows of a message, one for each kind that it has, without the moment of their ingestion.

    Args:
        given: what its JSON holds.
        declared: what the deployment takes.
        model: that answered.
        api_key: the name of the sender's API key; None without one.
        at: when it came.

    Raises:
        TooLongError: a text is too long.
        DataError: it is no such message; `what` says why.
    """
    message = _fields(given, declared)
    prediction = message.get("prediction_id")
    if not isinstance(prediction, str) or not IDENTIFIER.fullmatch(prediction):
        raise DataError("'prediction_id' must be the id that came with the answer: 1 to 128 visible ASCII characters.")
    identity = message.get("id")
    if identity is not None and not (isinstance(identity, str) and IDENTIFIER.fullmatch(identity)):
        raise DataError("'id' must be 1 to 128 visible ASCII characters.")
    version = message.get("version")
    if version is not None and (not isinstance(version, int) or isinstance(version, bool) or not 0 < version < LARGEST):
        raise DataError("'version' must be the number of the version that answered.")
    source = message.get("source", "api")
    if source not in SOURCES:
        raise DataError(f"'source' must be one of {', '.join(SOURCES)}.")
    user = _user(message.get("user"), model)
    found: list[dict[str, Any]] = []
    for kind in declared.takes:
        if message.get(kind) is None:
            continue
        value, text = _said(kind, message[kind], declared)
        who = [model, prediction, kind, user, api_key]
        found.append(
            {
                "feedback_id": digest([*who, "id", identity] if identity else [*who, value, text]),
                "prediction_id": prediction,
                "model": model,
                "model_version": version,
                "kind": kind,
                "value": value,
                "text": text,
                "user": user,
                "api_key": api_key,
                "source": source,
                "at": at.isoformat(),
                "once": identity is not None,
            }
        )
    if not found:
        raise DataError(f"there is no feedback in it: give one of {', '.join(declared.takes)}.")
    return found


def _fields(given: object, declared: Feedback) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise DataError("feedback is a JSON object.")
    message = cast("dict[str, Any]", given)
    for name in message:
        if name not in FIELDS:
            raise DataError(f"{_shown(name)} is no field of feedback: there is {', '.join(FIELDS)}.")
        if name in (*EXPLICIT, *IMPLICIT) and name not in declared.takes and message[name] is not None:
            raise DataError(f"{name!r} is not declared for this model: it takes {', '.join(declared.takes)}.")
    return message


def _said(kind: str, given: object, declared: Feedback) -> tuple[float | None, str | None]:
    """The value and the text of a kind."""
    if kind in ("correction", "text"):
        return None, _text(kind, given)
    if kind == "thumbs":
        if not isinstance(given, str) or given not in THUMBS:
            raise DataError('\'thumbs\' must be "up" or "down".')
        return THUMBS[given], None
    if kind == "score":
        low, high = declared.scale
        if not isinstance(given, int | float) or isinstance(given, bool) or not low <= given <= high:
            raise DataError(f"'score' must be a number from {low:g} to {high:g}.")
        return float(given), None
    if given is not True:
        raise DataError(f"{kind!r} must be true.")
    return 1.0, None


def _text(name: str, given: object) -> str:
    if not isinstance(given, str) or not given.strip():
        raise DataError(f"{name!r} must be a text that is not empty.")
    if len(given) > TEXT:
        raise TooLongError(f"{name!r} may have {TEXT:,} characters; this one has {len(given):,}.")
    if any(_is_control(each) for each in given):
        raise DataError(f"{name!r} holds control characters.")
    return given


def _user(given: object, model: str) -> str | None:
    """A pseudonym: the same for one user of a model, and not the name that was sent."""
    if given is None:
        return None
    if not isinstance(given, str) or not given.strip() or any(_is_control(each) for each in given):
        raise DataError("'user' must be a text without control characters.")
    if len(given) > NAME:
        raise TooLongError(f"'user' may have {NAME} characters.")
    return digest(["user", model, unicodedata.normalize("NFC", given.strip())])


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\r\t"


def _shown(name: str) -> str:
    return ascii(name if len(name) <= 40 else f"{name[:40]}…")
