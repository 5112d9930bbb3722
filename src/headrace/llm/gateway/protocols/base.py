"""What the gateway needs of a protocol: pure functions over bodies, without any connection."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from headrace.core.errors import DeclarationError, MalformedAnswerError

if TYPE_CHECKING:
    from headrace.environments.llm import LlmRoute
    from headrace.llm.gateway.requests import ChatRequest, FinishReason

MOST_TOKENS = 4_096  # of an answer, where a limit has to be sent and none is declared

try:
    import orjson
except ModuleNotFoundError:
    orjson = None


def dumps(value: Any) -> bytes:
    """Writes JSON; half a surrogate pair is escaped.

    Raises:
        DeclarationError: something in it is no JSON.
    """
    try:
        if orjson is not None:
            with suppress(TypeError):
                return orjson.dumps(value)
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise DeclarationError(f"a request that is no JSON: {error}.") from None


def loads(data: bytes) -> Any:
    """Reads JSON.

    Raises:
        ValueError: it is none.
    """
    if orjson is not None:
        with suppress(ValueError):  # it refuses half a surrogate pair, which a model may well repeat
            return orjson.loads(data)
    return json.loads(data)


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedAnswer:
    """What an answer says.

    Attributes:
        text: the whole text.
        finish_reason: why it ended.
        model: the model that it names; empty for none.
        input_tokens: None where it does not say.
        output_tokens: None where it does not say.
    """

    text: str
    finish_reason: FinishReason
    model: str
    input_tokens: int | None
    output_tokens: int | None


@dataclass(kw_only=True, slots=True)
class StreamState:
    """What a stream has said so far.

    Attributes:
        model: the model that it names.
        finish_reason: None until the stream says why it ends.
        input_tokens: None until it says.
        output_tokens: None until it says.
        done: whether it has come to its proper end.
    """

    model: str = ""
    finish_reason: FinishReason | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    done: bool = False


class EndpointProtocol(Protocol):
    """One protocol. Functions that read raise `MalformedAnswerError` for what they do not understand."""

    @property
    def chat_path(self) -> str:
        """What follows the route's URL."""
        ...

    def headers(self, key: str | None) -> dict[str, str]:
        """Returns the headers of each request; the key is in one of them alone."""
        ...

    def body(self, route: LlmRoute, request: ChatRequest, *, stream: bool) -> tuple[dict[str, Any], list[str]]:
        """Returns the body of a request, and the settings that the protocol cannot send."""
        ...

    def answer(self, body: Any) -> ParsedAnswer:
        """Reads an answer."""
        ...

    def event(self, data: Any, state: StreamState) -> str:
        """Reads one event of a stream: returns the text in it, which may be empty, and notes the rest in the state."""
        ...


def most_tokens(route: LlmRoute, request: ChatRequest) -> int | None:
    """Returns the most tokens of an answer: the smaller one of the request's and the route's limit."""
    limits = [each for each in (request.max_tokens, route.max_tokens) if each is not None]
    return min(limits) if limits else limit_of_route(route)


def limit_of_route(route: LlmRoute) -> int | None:
    """Returns the most tokens of an answer to a request that sets no limit.

    A route with an output price always has one, because its calls reserve what they may cost.
    """
    if route.max_tokens is not None:
        return route.max_tokens
    return MOST_TOKENS if route.output_price or route.tokens_per_minute else None


def mapping(value: Any, what: str) -> dict[str, Any]:
    """Returns the value, which must be an object of JSON."""
    if not isinstance(value, dict):
        raise MalformedAnswerError(f"{what} is not an object")
    return cast("dict[str, Any]", value)


def text(value: Any) -> str:
    """Returns a text; absent and anything else is an empty one."""
    return value if isinstance(value, str) else ""


def count(value: Any) -> int | None:
    """Returns a number of tokens; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None
