"""What a user declares about embeddings."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from types import FunctionType
from typing import TYPE_CHECKING

from headrace.core.declaration import Location, caller, check_whole
from headrace.core.errors import DeclarationError
from headrace.core.ids import digest
from headrace.environments.function_digest import function_digest, place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BUILT_IN = {"minilm": 384}
LONGEST = 16_384  # numbers of a vector


@dataclass(frozen=True)
class Embedding:
    """How texts become vectors: one of a built-in model, a function, and an endpoint.

    Args:
        model: a built-in model. `"minilm"` is all-MiniLM-L6-v2, which runs on this machine, without the network: 384 numbers, English, the
            first 256 tokens of a text. Needs `headrace[llm]`.
        function: takes a list of texts and returns as many vectors, as an array or lists of numbers. They are scaled to length 1. It is
            called by one thread at a time.
        route: the name of a route of the gateway to an endpoint that speaks OpenAI's protocol. The model of the route is part of the
            vectors' identity, and its address is not: another model means that an index is embedded anew.
        dimension: how many numbers a vector has, up to 16,384; needed with `function` and `route`.

    Raises:
        DeclarationError: none or several of the three, a model that is not built in, or no dimension.

    Example:
        >>> hr.Embedding("minilm").size
        384
        >>> def lengths(texts):
        ...     return [[1, len(text)] for text in texts]
        >>> hr.Embedding(function=lengths, dimension=2).size
        2
        >>> hr.Embedding("maxilm")
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: Embedding('maxilm') is no built-in model.
        There is 'minilm'. For another: hr.Embedding(function=…, dimension=…) or hr.Embedding(route=…, dimension=…).
    """

    model: str | None = None
    _: KW_ONLY
    function: Callable[[Sequence[str]], object] | None = None
    route: str | None = None
    dimension: int | None = None
    where: Location = field(default_factory=caller, compare=False, repr=False)

    def __post_init__(self) -> None:
        if sum(each is not None for each in (self.model, self.function, self.route)) != 1:
            raise DeclarationError(
                f"{self.where}: an embedding needs one of a built-in model, function= and route=.",
                hint='hr.Embedding("minilm") needs nothing else.',
            )
        if self.model is not None:
            if self.model not in BUILT_IN:
                raise DeclarationError(
                    f"Embedding({self.model!r}) is no built-in model.",
                    hint="There is 'minilm'. For another: hr.Embedding(function=…, dimension=…) or hr.Embedding(route=…, dimension=…).",
                )
            if self.dimension not in (None, BUILT_IN[self.model]):
                raise DeclarationError(
                    f"Embedding({self.model!r}, dimension={self.dimension!r}) is not possible: "
                    f"its vectors have {BUILT_IN[self.model]} numbers."
                )
            return
        check_whole("Embedding", 1, LONGEST, dimension=self.dimension)
        if self.function is not None and not isinstance(self.function, FunctionType):
            raise DeclarationError(
                f"Embedding(function={self.function!r}) is not possible.",
                hint="Give a function: its text is the identity of the vectors.",
            )
        if self.route is not None and not (isinstance(self.route, str) and self.route):
            raise DeclarationError(f"Embedding(route={self.route!r}) is not possible.", hint="Write the route's name.")

    @property
    def size(self) -> int:
        """How many numbers a vector has."""
        return BUILT_IN[self.model] if self.model is not None else self.dimension or 0

    @property
    def title(self) -> str:
        """What messages call it: the model, the place of the function, or the route."""
        if isinstance(self.function, FunctionType):
            return place(self.function)
        return self.model or f"route {self.route}"

    @property
    def identity(self) -> str:
        """What is declared, as a digest: the model, the text of the function, or the route; and the dimension."""
        if isinstance(self.function, FunctionType):
            return digest(["function", function_digest(self.function), self.size])
        return digest([self.model or "", self.route or "", self.size])
