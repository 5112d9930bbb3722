"""What a person should know of the endpoints that answered: notes of a training, from the calls of its answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from headrace.chains.gateways import current
from headrace.llm.gateway.call import is_same_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def endpoint_notes(calls: Iterable[str], declared: Sequence[str]) -> list[str]:
    """Answers of other models than are configured, and of fallbacks.

    Args:
        calls: of each answer, as JSON.
        declared: the routes that the model names; an answer of one of them is of no fallback.

    Returns:
        A sentence each; none where no routes are configured.
    """
    answers = [[(call["route"], call["model"]) for call in json.loads(each) if call["route"]] for each in calls]
    return [
        *_other_models({each for answer in answers for each in answer}),
        *_fallbacks([{route for route, _ in answer} for answer in answers], declared),
    ]


def _other_models(said: set[tuple[str, str]]) -> list[str]:
    """Models that endpoints say they have, where another one is configured; a dated variant is the same one."""
    gateway = current()
    wanted = {route: gateway.identity(route)["model"] for route, _ in said} if gateway else {}
    return [
        f"route {route} answers as {model!r}, and {wanted[route]!r} is configured: whose answers are these?"
        for route, model in sorted(said)
        if route in wanted and not is_same_model(wanted[route], model)
    ]


def _fallbacks(answers: Sequence[set[str]], declared: Sequence[str]) -> list[str]:
    """Routes that answered in the place of one that the model names: the figures are theirs, too."""
    gateway = current()
    if gateway is None:
        return []
    of: dict[str, str] = {}
    for route in declared:
        of |= {name: route for name in gateway.fallbacks(route) if name not in declared and name not in of}
    counts = {name: sum(name in routes for routes in answers) for name in of}
    return [
        f"{count:,} of {len(answers):,} answers came from the fallback {name!r} of route {of[name]!r}"
        for name, count in counts.items()
        if count
    ]
