"""What is asked of a language model, and what it answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from headrace.core.errors import DeclarationError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FinishReason = Literal["stop", "length", "content_filter", "tool_calls", "other"]
UNFINISHED = ("cancelled", "error")  # why an answer is not whole: nobody waited for the rest, or a call failed
ROLES = ("system", "user", "assistant")
HINT = 'For example: ChatRequest([{"role": "user", "content": "Hello"}]).'


class ChatMessage(Protocol):
    """A message: what has a role and a text. A mapping with the two keys will do as well."""

    @property
    def role(self) -> str:
        """`system`, `user` or `assistant`."""
        ...

    @property
    def content(self) -> str:
        """The text."""
        ...


@dataclass(frozen=True)
class Message:
    """A message with its role and its text.

    Attributes:
        role: `system`, `user` or `assistant`.
        content: the text.
    """

    role: str
    content: str


@dataclass(frozen=True)
class ChatRequest:
    """A request, whatever route it is sent over.

    Attributes:
        messages: in order; after it is made, each is a `Message`.
        temperature: 0 and up; None leaves it to the endpoint. Anthropic's protocol has none.
        max_tokens: the most tokens of the answer; the route's limit holds as well.
        stop: texts before which the answer ends.
        response_format: as OpenAI writes it: `{"type": "json_schema", "json_schema": {…}}`.
        seed: for endpoints that repeat an answer for the same one.
        top_p: the share of probability that tokens are drawn from.

    Raises:
        DeclarationError: there is no message, or one has no known role or no text.
    """

    messages: Sequence[ChatMessage | Mapping[str, str]]
    temperature: float | None = field(default=None, kw_only=True)
    max_tokens: int | None = field(default=None, kw_only=True)
    stop: Sequence[str] = field(default=(), kw_only=True)
    response_format: Mapping[str, Any] | None = field(default=None, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    top_p: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.messages, str) or not self.messages:
            raise DeclarationError("a request without messages.", hint=HINT)
        object.__setattr__(self, "messages", tuple(map(_message, self.messages)))
        object.__setattr__(self, "stop", (self.stop,) if isinstance(self.stop, str) else tuple(self.stop))
        if self.max_tokens is not None and self.max_tokens < 1:
            raise DeclarationError(f"ChatRequest(max_tokens={self.max_tokens!r}) is not possible.", hint="1 or more.")

    @property
    def plain_messages(self) -> list[dict[str, str]]:
        """The messages as JSON has them."""
        return [{"role": each.role, "content": each.content} for each in self.texts]

    @property
    def texts(self) -> tuple[Message, ...]:
        """The messages."""
        return self.messages  # pyright: ignore[reportReturnType]  # __post_init__ made them


def _message(given: ChatMessage | Mapping[str, str]) -> Message:
    if isinstance(given, Message):
        role, content = given.role, given.content
    elif isinstance(given, Mapping):
        role, content = given.get("role"), given.get("content")
    else:
        role, content = getattr(given, "role", None), getattr(given, "content", None)
    if role not in ROLES or not isinstance(content, str):
        raise DeclarationError(f"a message with the role {role!r} and a {type(content).__name__}.", hint=HINT)
    return Message(role, content)


@dataclass(frozen=True, kw_only=True)
class Completion:
    """An answer.

    Attributes:
        text: what was answered.
        finish_reason: `stop`, or `length` where the limit of tokens cut it.
        route: the route that answered; empty where a function did.
        model: the model, as the answer names it.
        input_tokens: that were sent, over all attempts.
        output_tokens: that were answered, over all attempts.
        cost_nano: of all attempts, in nano-dollars.
        input_cost_nano: what of it is for tokens that were sent; the rest is for those that were answered.
        latency_ms: from the request to the end of the answer.
        attempts: requests to endpoints; 0 for an answer of the cache or of a function.
        cached: whether the cache answered.
        call_id: names the call in the record of usage.
        model_mismatch: whether the answer names another model than was requested.
        accepted: whether `accept` of a `Route` took it; False for the last one, which is taken as it is.
        warnings: what was odd, a sentence each.
    """

    text: str
    finish_reason: FinishReason
    route: str
    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0
    input_cost_nano: int = 0
    latency_ms: float = 0.0
    attempts: int = 1
    cached: bool = False
    call_id: str = ""
    model_mismatch: bool = False
    accepted: bool = True
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Embeddings:
    """Vectors of texts.

    Attributes:
        vectors: a row of float32 for each text.
        route: the route that answered.
        model: the model that was requested there.
        input_tokens: that were sent, over all attempts.
        cost_nano: of all attempts, in nano-dollars.
        attempts: requests to endpoints.
        call_id: names the call in the record of usage.
    """

    vectors: npt.NDArray[np.float32]
    route: str
    model: str
    input_tokens: int
    cost_nano: int
    attempts: int
    call_id: str


@dataclass(frozen=True, kw_only=True)
class CallTags:
    """On whose behalf a call is made; stored with its usage.

    Attributes:
        application: the registered model whose code calls.
        version: of that model.
        prompt: the name of the prompt.
        prompt_version: what identifies the text of that prompt; empty for none.
    """

    application: str = ""
    version: int | None = None
    prompt: str = ""
    prompt_version: str = ""
