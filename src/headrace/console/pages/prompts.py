"""Prompts with their texts, what differs between two of them, and what calls to language models cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.routing import Route

from headrace.console.handlers import reads
from headrace.console.rendering import page
from headrace.operations.llm import llm_budgets, llm_cost, llm_routes
from headrace.operations.prompts import compare_prompt_texts, list_prompts, show_prompt

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.operations.operation import At
    from headrace.operations.prompts import PromptDifference, PromptReport

LINES = 2_000  # of a difference
CLASSES = {"+": "added", "-": "removed", "@": "place"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a unified diff.

    Attributes:
        kind: `added`, `removed`, `place`, or empty for one that both have.
        text: with the sign that begins it.
    """

    kind: str
    text: str


def index(request: Request, at: At) -> Response:
    """Every prompt with its newest text, who uses it, and what it is worth."""
    return page(request, "prompts", title="Prompts", found=list_prompts(at))


def show(request: Request, at: At) -> Response:
    """The texts of a prompt, and what differs between two of them: `?a=DIGEST&b=DIGEST`, by default the newest two."""
    prompt = show_prompt(at, str(request.path_params["name"]))
    difference = _difference(request, at, prompt)
    return page(
        request,
        "prompt",
        title=prompt.name,
        prompt=prompt,
        difference=difference,
        lines=[] if difference is None else diff_lines(difference.diff)[:LINES],
    )


def costs(request: Request, at: At) -> Response:
    """What calls to language models did cost, by route, model and prompt, and what the budgets of today have left."""
    return page(
        request,
        "costs",
        title="Costs",
        budgets=llm_budgets(at),
        routes=llm_routes(at),
        reports=[(name, llm_cost(at, by=(name,))) for name in ("route", "application", "prompt")],
    )


def diff_lines(diff: str) -> list[Line]:
    """The lines of a unified diff; its two first ones name the texts."""
    return [
        Line(kind=CLASSES.get(each[:1], "") if number > 1 else "place", text=each)
        for number, each in enumerate(diff.split("\n") if diff else [])
    ]


def _difference(request: Request, at: At, prompt: PromptReport) -> PromptDifference | None:
    a, b = (request.query_params.get(side, "") for side in ("a", "b"))
    if len(prompt.texts) > 1:
        b = b or prompt.texts[0].digest
        a = a or next((each.digest for each in prompt.texts if each.digest != b), "")
    return compare_prompt_texts(at, prompt.name, a, b) if a and b else None


ROUTES = [
    Route("/{env}/prompts", reads(index)),
    Route("/{env}/prompts/{name}", reads(show)),
    Route("/{env}/costs", reads(costs)),
]
