"""From a declaration to an embedder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError
from headrace.core.ids import digest
from headrace.llm.embedding.called import CalledEmbedder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.llm.embedding.base import Embedder
    from headrace.llm.embedding.declarations import Embedding


def open_embedder(
    declaration: Embedding, *, call: Callable[[Sequence[str]], object] | None = None, model: str = ""
) -> Embedder:
    """The embedder that is declared.

    Args:
        declaration: what is declared.
        call: for a route: sends texts to its endpoint and returns their vectors, also for several threads at once. Defaults to none.
        model: for a route: the model that the endpoint runs, which is part of the vectors' identity. Defaults to unknown.

    Raises:
        MissingExtraError: a built-in model, and `headrace[llm]` is not installed.
        ConfigError: a route, and nothing to reach it with.
    """
    if declaration.model is not None:
        from headrace.llm.embedding.builtin import MiniLM

        return MiniLM()
    if declaration.function is not None:
        called = declaration.function
        return CalledEmbedder(declaration.title, declaration.size, declaration.identity, called, in_turn=True)
    if call is None:
        raise ConfigError(
            f"the embedding of route {declaration.route!r} has no gateway to go through.",
            hint="Declare the route, or use hr.Embedding('minilm').",
        )
    return CalledEmbedder(declaration.title, declaration.size, digest([declaration.identity, model]), call)
