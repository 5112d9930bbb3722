"""What a function that answers takes and uses."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from headrace.core.errors import DeclarationError
from headrace.llm.gateway.declarations import Route
from headrace.llm.index.declarations import VectorIndex
from headrace.llm.prompts.declarations import Prompt

if TYPE_CHECKING:
    from collections.abc import Sequence

Use = Prompt | VectorIndex | Route
CONTEXT = "ctx"
HOW = "def answer(question: str, ctx: hr.LLMContext) -> str: …"
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def check_predict(said: str, function: object) -> tuple[str, ...]:
    """The inputs of a function that answers: its parameters but the context.

    Raises:
        DeclarationError: it is no function, or has parameters that no input can be given for.
    """
    if not callable(function) or isinstance(function, type):
        raise DeclarationError(f"{said}: predict={function!r} is no function.", hint=HOW)
    parameters = inspect.signature(function).parameters
    names = [name for name in parameters if name != CONTEXT]
    odd = [name for name, each in parameters.items() if each.kind not in NAMED]
    if odd or not names or CONTEXT not in parameters:
        missing = f"no parameter {CONTEXT!r}" if CONTEXT not in parameters else "no input"
        raise DeclarationError(
            f"{said}: predict={getattr(function, '__name__', function)!r} has {f'the parameter {odd[0]!r}, which is not taken by its name' if odd else missing}.",
            hint=HOW,
        )
    return tuple(names)


def check_uses(said: str, uses: object) -> None:
    """Refuses what is no prompt, index or route, two of one name, and a second route.

    Raises:
        DeclarationError: something is.
    """
    if not isinstance(uses, list | tuple):
        raise DeclarationError(f"{said}: uses={uses!r} is no list.", hint='uses=[prompt, index, hr.Route("small")]')
    for each in uses:
        if not isinstance(each, Use):
            raise DeclarationError(
                f"{said}: uses= has {each!r}, which is no prompt, vector index or route.",
                hint='uses=[prompt, index, hr.Route("small")]',
            )
    names = [each.name for each in uses if not isinstance(each, Route)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DeclarationError(f"{said}: uses= has {twice!r} twice.", hint="Once is enough.")
    if sum(isinstance(each, Route) for each in uses) > 1:
        raise DeclarationError(
            f"{said}: uses= has more than one route.",
            hint='One route tries models in turn: hr.Route("small", "large").',
        )


def prompts(uses: Sequence[Use]) -> tuple[Prompt, ...]:
    """The prompts among what is used."""
    return tuple(each for each in uses if isinstance(each, Prompt))


def indexes(uses: Sequence[Use]) -> tuple[VectorIndex, ...]:
    """The vector indexes among what is used."""
    return tuple(each for each in uses if isinstance(each, VectorIndex))


def route(uses: Sequence[Use]) -> Route | None:
    """The route among what is used."""
    return next((each for each in uses if isinstance(each, Route)), None)
