"""The columns of a generated answer, and what a label of it holds: one statement for the task, metrics, judges and packages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

PREDICTION = "prediction"
PASSAGES, SEARCHES, CALLS = f"{PREDICTION}_passages", f"{PREDICTION}_searches", f"{PREDICTION}_calls"
FINISH_REASON = f"{PREDICTION}_finish_reason"
LANGUAGE, RETRIEVED, LATENCY = f"{PREDICTION}_language", f"{PREDICTION}_retrieved", f"{PREDICTION}_latency_ms"
TEXTS: Mapping[str, str] = {
    PREDICTION: "",
    PASSAGES: "[]",
    SEARCHES: "[]",
    CALLS: "[]",
    FINISH_REASON: "stop",
    LANGUAGE: "",
}
NUMBERS = tuple(
    f"{PREDICTION}_{name}"
    for name in ("words", "refused", "retrieved", "input_tokens", "output_tokens", "cost", "latency_ms")
)


def references(label: object) -> list[str]:
    """The right answers that a label holds; none where it is no label of this task."""
    return _texts(label, "reference")


def relevant(label: object) -> list[str]:
    """The keys of the relevant documents that a label holds."""
    return _texts(label, "relevant")


def _texts(label: object, field: str) -> list[str]:
    try:
        held = json.loads(cast("str", label))[field]
    except (TypeError, ValueError, KeyError):
        return []
    found = held if isinstance(held, list) else [held]
    return [each for each in cast("list[object]", found) if isinstance(each, str)]
