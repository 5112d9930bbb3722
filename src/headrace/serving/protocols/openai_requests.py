"""What requests by OpenAI's protocol say, and what they may not say of a model that has its own prompt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from headrace.serving.codec import BadRequestError, document, listed, named
from headrace.serving.messages import RefusedRequestError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

MOST_TEXTS = 2_048  # of a request for embeddings, as at OpenAI
NEVER: tuple[Any, ...] = ()
# What only tunes how a language model writes: the model's function decides that, and the value is ignored.
IGNORED = frozenset(
    [
        "temperature", "top_p", "max_tokens", "max_completion_tokens", "max_output_tokens", "presence_penalty",
        "frequency_penalty", "seed", "store", "service_tier", "reasoning_effort", "reasoning", "verbosity", "prompt_cache_key",
        "prompt_cache_retention", "safety_identifier", "parallel_tool_calls", "truncation", "prediction",
    ]
)  # fmt: skip
# What would change what an answer is: only the values that change nothing are taken. A value that is null is not there.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "stop": ("", []),
    "logprobs": (False, 0),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": NEVER,
    "web_search_options": NEVER,
    "instructions": ("",),
    "previous_response_id": NEVER,
    "conversation": NEVER,
    "background": (False,),
    "include": ([],),
    "text": ({}, {"format": {"type": "text"}}),
    "prompt_id": NEVER,
    "max_tool_calls": (0,),
}
COMMON = ("model", "user", "metadata", "stream", "stream_options")


@dataclass(frozen=True, kw_only=True)
class Question:
    """A request for an answer.

    Attributes:
        text: the first input of the model.
        others: what names other inputs, as far as it was given.
        user: who asks; empty for nobody.
        streams: whether the answer is wanted piece by piece.
        usage: whether the last event of a stream says how many tokens were used.
    """

    text: str
    others: Mapping[str, object] = field(default_factory=dict[str, object])
    user: str = ""
    streams: bool = False
    usage: bool = False


def body_of(body: bytes, model: str) -> dict[str, Any]:
    """The body of a request that is for this model, without what is null.

    Raises:
        BadRequestError: it is no JSON object, or names no model.
        RefusedRequestError: it is for another model.
    """
    asked = {name: value for name, value in document(body).items() if value is not None}
    wanted = asked.get("model")
    if not isinstance(wanted, str):
        raise BadRequestError(f"the body names no model; here is {model!r}.")
    if wanted != model:
        raise RefusedRequestError(404, f"the model {named(wanted)} does not exist; here is {model!r}.")
    return asked


def question_of(asked: Mapping[str, Any], text: str, *, source: str, inputs: Sequence[str]) -> Question:
    """A request, without its text.

    Args:
        asked: of `body_of`.
        text: the first input.
        source: the field that the text came from.
        inputs: of the model, the first one is the text.

    Raises:
        BadRequestError: a parameter is unknown, or would change what an answer is.
    """
    own = {*COMMON, source, *IGNORED, *NEUTRAL}
    for name, allowed in NEUTRAL.items():
        if name in asked and name != source and asked[name] not in allowed:
            raise BadRequestError(
                f"{name!r} is not supported: this model has its own prompt, and answers with one text."
            )
    more = {name: value for name, value in asked.items() if name not in own}
    if stray := [name for name in more if name not in inputs[1:]]:
        said = f" beside {', '.join(inputs[1:])}" if inputs[1:] else ""
        raise BadRequestError(f"{named(stray[0])} is no parameter that is taken here{said}.")
    metadata = _object(asked, "metadata")
    options = _object(asked, "stream_options")
    streams = _flag(asked, "stream")
    if options and not streams:
        raise BadRequestError("'stream_options' is for answers that stream.")
    return Question(
        text=text,
        others={**{name: value for name, value in metadata.items() if name in inputs[1:]}, **more},
        user=_user(asked),
        streams=streams,
        usage=_flag(options, "include_usage"),
    )


def last_of_user(messages: object) -> str:
    """The text of the last message of the user. Messages before it are not read: the model has its own prompt.

    Raises:
        BadRequestError: there is none.
    """
    for message in reversed(listed(messages, "messages")):
        if not isinstance(message, dict):
            raise BadRequestError("a message is no object.")
        found = cast("dict[str, Any]", message)
        if found.get("role") == "user":
            return _text(found.get("content"), ("text", "input_text"))
    raise BadRequestError("there is no message of the role 'user', which holds the question.")


def prompt_of(prompt: object) -> str:
    """The text of a request for a completion.

    Raises:
        BadRequestError: it is no text, or there are several.
    """
    if isinstance(prompt, list) and len(cast("list[object]", prompt)) == 1:
        (prompt,) = cast("list[object]", prompt)
    if not isinstance(prompt, str):
        raise BadRequestError("'prompt' is no text; one text is answered at a time.")
    return prompt


def input_of(given: object) -> str:
    """The text of a request for a response: a text, or messages.

    Raises:
        BadRequestError: there is none.
    """
    return given if isinstance(given, str) else last_of_user(given)


@dataclass(frozen=True, kw_only=True)
class Texts:
    """A request for embeddings.

    Attributes:
        texts: to embed.
        base64: whether vectors are wanted as the base64 of their float32 bytes, which OpenAI's client asks for.
        dimensions: that are expected; None for any.
        user: who asks.
    """

    texts: list[str]
    base64: bool
    dimensions: int | None
    user: str


def texts_of(asked: Mapping[str, Any]) -> Texts:
    """A request for embeddings.

    Raises:
        BadRequestError: it holds no texts, or a parameter that is not taken.
    """
    if stray := [name for name in asked if name not in ("model", "input", "encoding_format", "dimensions", "user")]:
        raise BadRequestError(f"{named(stray[0])} is no parameter that is taken here.")
    given = asked.get("input")
    texts = [given] if isinstance(given, str) else given
    if (
        not isinstance(texts, list)
        or not texts
        or not all(isinstance(each, str) for each in cast("list[object]", texts))
    ):
        raise BadRequestError("'input' is neither a text nor a list of texts.")
    if len(cast("list[str]", texts)) > MOST_TEXTS:
        raise BadRequestError(f"'input' has more than {MOST_TEXTS:,} texts.")
    if "" in texts:
        raise BadRequestError("a text of 'input' is empty.")
    encoding = asked.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise BadRequestError("'encoding_format' is neither 'float' nor 'base64'.")
    dimensions = asked.get("dimensions")
    if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
        raise BadRequestError("'dimensions' is no whole number from 1 on.")
    return Texts(texts=cast("list[str]", texts), base64=encoding == "base64", dimensions=dimensions, user=_user(asked))


def row_of(question: Question, inputs: Sequence[str], names: Sequence[str]) -> list[str]:
    """The inputs of a version for a question, in the order of `names`.

    Raises:
        BadRequestError: one is missing, or is no text.
    """
    given = {**question.others, inputs[0]: question.text}
    if missing := [name for name in inputs if name not in given]:
        raise BadRequestError(
            f"the inputs {_listed(missing)} are missing: this model takes them in 'metadata', or as fields of the body."
        )
    for name in inputs:
        if not isinstance(given[name], str):
            raise BadRequestError(f"the input {name!r} is no text.")
    return [cast("str", given[name]) for name in names]


def _text(content: object, kinds: Collection[str]) -> str:
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for part in listed(content, "the content of a message"):
        found = cast("dict[str, Any]", part) if isinstance(part, dict) else {}
        if found.get("type") not in kinds or not isinstance(found.get("text"), str):
            raise BadRequestError("the content of the question is not all text; images, audio and files are not taken.")
        texts.append(found["text"])
    return "".join(texts)


def _user(asked: Mapping[str, Any]) -> str:
    user = asked.get("user", "")
    if not isinstance(user, str) or len(user) > 256:
        raise BadRequestError("'user' is no text of at most 256 characters.")
    return user


def _object(asked: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = asked.get(name, {})
    if not isinstance(found, dict):
        raise BadRequestError(f"{name!r} is no object.")
    return cast("dict[str, Any]", found)


def _flag(asked: Mapping[str, Any], name: str) -> bool:
    found = asked.get(name, False)
    if type(found) is not bool:
        raise BadRequestError(f"{name!r} is neither true nor false.")
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
