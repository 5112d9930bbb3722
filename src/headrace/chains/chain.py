"""A chain: a function that answers, with the prompts and indexes that it uses as they were when it was made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from headrace.chains.answer import Answer
from headrace.chains.context import LLMContext
from headrace.core.clock import NANOSECONDS_PER_MILLISECOND
from headrace.core.errors import DataError, UserCodeError
from headrace.environments.user_code import running

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from headrace.llm.gateway.declarations import Route
    from headrace.llm.gateway.gateway import Gateway
    from headrace.llm.index.search import Index
    from headrace.llm.prompts.version import PromptVersion

LONGEST = 1_000_000  # characters of an input


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A function and what it uses.

    Attributes:
        name: of the model.
        function: the user's.
        inputs: its parameters but the context.
        prompts: by name.
        indexes: by name, open.
        route: None where it calls no language model.
        routes: route → its protocol, address and model as they were when the chain was made; fallbacks are among them.
    """

    name: str
    function: Callable[..., object]
    inputs: tuple[str, ...]
    prompts: Mapping[str, PromptVersion] = field(default_factory=dict[str, "PromptVersion"])
    indexes: Mapping[str, Index] = field(default_factory=dict[str, "Index"])
    route: Route | None = None
    routes: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, "Mapping[str, str]"])

    def answer(
        self,
        inputs: Mapping[str, object],
        gateway: Gateway | None,
        *,
        user: str = "",
        version: int | None = None,
        planted: Sequence[str] = (),
    ) -> Answer:
        """Answers one row.

        Args:
            inputs: a text for each input.
            gateway: to the routes; None where none are configured.
            user: who asks; empty for nobody.
            version: of the model, for the record of usage.
            planted: documents that each search finds first: what an attack would have put into the index. Defaults to none.

        Raises:
            DataError: an input is no text.
            UserCodeError: the function raised, or returned something else than a text.
            HeadraceError: what the gateway, an index or a prompt raises.
        """
        return self.stream(inputs, gateway, user=user, version=version, planted=planted).whole()

    def stream(
        self,
        inputs: Mapping[str, object],
        gateway: Gateway | None,
        *,
        user: str = "",
        version: int | None = None,
        planted: Sequence[str] = (),
    ) -> ChainStream:
        """The same, piece by piece, where the function yields pieces."""
        given = {name: _text(name, inputs.get(name)) for name in self.inputs}
        context = LLMContext(
            self.name,
            prompts=self.prompts,
            indexes=self.indexes,
            route=self.route,
            gateway=gateway,
            user=user,
            version=version,
            planted=planted,
        )
        return ChainStream(self._pieces(given, context), context)

    def _pieces(self, given: Mapping[str, str], context: LLMContext) -> Generator[str]:
        with running(f"predict of model {self.name!r}"):
            made = self.function(**given, ctx=context)
            if isinstance(made, Iterator):
                for piece in cast("Iterator[object]", made):
                    yield self._piece(piece)
            else:
                yield self._piece(made)

    def _piece(self, made: object) -> str:
        if not isinstance(made, str):
            raise UserCodeError(
                f"predict of model {self.name!r} returned {type(made).__name__}, and an answer is a text.",
                hint="return ctx.complete(…), or yield pieces of text.",
            )
        return made


class ChainStream(Iterator[str]):
    """An answer that is being made, piece by piece.

    Attributes:
        began: by the monotonic clock, in nanoseconds.
    """

    def __init__(self, pieces: Generator[str], context: LLMContext) -> None:
        self.began = time.monotonic_ns()
        self._made: list[str] = []
        self._pieces, self._context = pieces, context
        self._ended: int | None = None

    def __next__(self) -> str:
        """The next piece."""
        try:
            piece = next(self._pieces)
        except BaseException:
            self._ended = self._ended or time.monotonic_ns()
            raise
        self._made.append(piece)
        return piece

    def close(self) -> None:
        """Ends the answer, and its calls of language models."""
        self._pieces.close()

    def whole(self) -> Answer:
        """The answer after its last piece."""
        for _ in self:
            pass
        return self.answer()

    def answer(self, finish_reason: str = "") -> Answer:
        """What there is of the answer so far; any thread may ask.

        Args:
            finish_reason: why there is no more of it. Defaults to what the last call of a language model says.
        """
        calls = tuple(self._context.calls)
        return Answer(
            text="".join(self._made),
            passages=tuple(self._context.passages),
            calls=calls,
            latency_ms=((self._ended or time.monotonic_ns()) - self.began) / NANOSECONDS_PER_MILLISECOND,
            searches=tuple(self._context.searches),
            finish_reason=finish_reason or (calls[-1].finish_reason if calls else "") or "stop",
        )


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        told = "missing" if value is None or value != value else type(value).__name__  # noqa: PLR0124  # NaN
        raise DataError(f"the input {name!r} is {told}; it is a text.")
    if len(value) > LONGEST:
        raise DataError(f"the input {name!r} has {len(value):,} characters; at most {LONGEST:,} are taken.")
    return value
