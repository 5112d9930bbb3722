"""OpenAI's protocol, for models with `predict=`: chat, completions, responses, embeddings, and the list of models.

The last message of the user is the first input of the model, and other inputs come by name from `metadata` or the body. The
prompt is that of the model: what a caller says of how to answer is ignored or refused (`openai_requests`).
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, cast

import orjson

from headrace.chains.route_embedder import Caller, for_caller
from headrace.llm.gateway.call import estimated_tokens
from headrace.llm.gateway.requests import CallTags
from headrace.serving.codec import BadRequestError
from headrace.serving.messages import Answer, RefusedRequestError
from headrace.serving.observation import EmbeddingCall
from headrace.serving.predictors import ChainPredictor
from headrace.serving.protocols import openai_answers as shapes
from headrace.serving.protocols import openai_document
from headrace.serving.protocols.base import ServingProtocol
from headrace.serving.protocols.openai_requests import (
    Question,
    Texts,
    body_of,
    input_of,
    last_of_user,
    prompt_of,
    question_of,
    row_of,
    texts_of,
)
from headrace.serving.protocols.prediction_request import RequestPart
from headrace.serving.route import Route
from headrace.serving.traffic import ENTITY, USER, named, unit

if TYPE_CHECKING:
    from headrace.llm.embedding.base import Vectors
    from headrace.llm.gateway.gateway import Gateway
    from headrace.serving.messages import Request
    from headrace.serving.observation import Observation
    from headrace.serving.openapi_parts import Schema
    from headrace.serving.route import Match
    from headrace.serving.server import Server
    from headrace.serving.traffic import Assigned, ServedTraffic
    from headrace.serving.version import Serving

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
EMBEDDINGS, MODELS = "/v1/embeddings", "/v1/models"
MODEL = "/v1/models/{model}"
SOURCES = {CHAT: ("messages", last_of_user), COMPLETIONS: ("prompt", prompt_of), RESPONSES: ("input", input_of)}


class OpenAI(ServingProtocol):
    """See the module."""

    name: ClassVar[str] = "openai"
    routes: ClassVar[tuple[Route, ...]] = (
        Route(pattern=CHAT, predicts=True),
        Route(pattern=COMPLETIONS, predicts=True),
        Route(pattern=RESPONSES, predicts=True),
        Route(pattern=EMBEDDINGS, predicts=True),
        Route(pattern=MODELS),
        Route(pattern=MODEL),
    )
    prefix: ClassVar[str] = "/v1"
    error: ClassVar[str] = "ErrorOpenAI"

    def check(self, traffic: ServedTraffic, match: Match) -> None:
        """See ServingProtocol."""
        if not isinstance(traffic.primary.predictor, ChainPredictor):
            raise RefusedRequestError(
                404,
                f"{traffic.manifest.model!r} generates no text, so it has none of OpenAI's paths; ask it at /predict.",
            )
        if (model := match.values.get("model")) is not None and model != traffic.manifest.model:
            raise RefusedRequestError(404, f"the model does not exist; here is {traffic.manifest.model!r}.")

    def read(self, traffic: ServedTraffic, request: Request, number: str) -> list[RequestPart]:
        """See ServingProtocol."""
        asked = body_of(request.body, traffic.manifest.model)
        path = "" if request.match is None else request.match.route.pattern
        if path == EMBEDDINGS:
            return [_embeds(traffic.primary, texts_of(asked), request.seen)]
        source, text_of = SOURCES[path]
        if source not in asked:
            raise BadRequestError(f"the body has no {source!r}.")
        text = text_of(asked[source])
        question = question_of(asked, text, source=source, inputs=_chain(traffic.primary).inputs)
        serving, divided = _assigned(traffic, request, question, number)
        row = row_of(question, _chain(serving).inputs, serving.codec.names)
        return [
            RequestPart(
                serving,
                serving.codec.check([row]),
                divided=divided,
                user=question.user,
                streams=question.streams,
                context=(path, question),
            )
        ]

    def write(self, traffic: ServedTraffic, parts: list[RequestPart], number: str) -> Answer:
        """See ServingProtocol."""
        (part,), model = parts, traffic.manifest.model
        if isinstance(part.context, Texts):
            tokens = _tokens(part.context)
            return Answer(200, shapes.embeddings(model, part.result, base64=part.context.base64, tokens=tokens))
        path, question = cast("tuple[str, Question]", part.context)
        (name,) = part.ids(number)
        if question.streams:
            if path == RESPONSES:
                return Answer(200, b"", events=shapes.response_events(name, model, part))
            stream = shapes.chat_events if path == CHAT else shapes.completion_events
            return Answer(200, b"", events=stream(name, model, part, usage=question.usage))
        write = {CHAT: shapes.chat, COMPLETIONS: shapes.completion, RESPONSES: shapes.response}[path]
        return Answer(200, write(name, model, shapes.made(part)))

    def refusal(self, status: int, message: str) -> bytes:
        """See ServingProtocol."""
        return shapes.refused(status, message)

    def error_schema(self) -> Schema:
        """See ServingProtocol."""
        return openai_document.error()

    def info(self, server: Server, match: Match) -> Answer:
        """See ServingProtocol."""
        traffic = server.traffic
        if traffic is None:
            raise RefusedRequestError(503, server.trouble)
        since = int(datetime.fromisoformat(traffic.primary.served.promoted_at).timestamp())
        told: dict[str, Any] = shapes.described(traffic.manifest.model, since)
        return Answer(200, orjson.dumps(told if match.route.pattern == MODEL else {"object": "list", "data": [told]}))

    def openapi(self, traffic: ServedTraffic) -> dict[str, Any]:
        """See ServingProtocol. A model that generates no text has none of these paths."""
        if not isinstance(traffic.primary.predictor, ChainPredictor):
            return {}
        return openai_document.paths(traffic.manifest.model, _chain(traffic.primary).inputs, self.error)


def _chain(serving: Serving) -> Any:
    if not isinstance(serving.predictor, ChainPredictor):
        raise RefusedRequestError(404, f"version {serving.number} of the model generates no text.")
    return serving.predictor.chain


def _assigned(
    traffic: ServedTraffic, request: Request, question: Question, number: str
) -> tuple[Serving, list[Assigned] | None]:
    """The version that answers, by what the split names: the user or an input; else by the header, as at other paths."""
    split = traffic.split
    if split is None:
        return traffic.primary, None
    if split.by:
        first = _chain(traffic.primary).inputs[0]
        row = {**question.others, first: question.text, **({USER: question.user} if question.user else {})}
        chosen = unit(row, split.by, (), number)
    else:
        chosen = named(request.headers.get(ENTITY), number)
    serving, assigned = traffic.of(chosen)
    return serving, None if assigned is None else [assigned]


def _embeds(serving: Serving, texts: Texts, seen: Observation | None) -> RequestPart:
    embedders = [index.embedder for index in _chain(serving).indexes.values() if index.embedder is not None]
    if not embedders:
        raise BadRequestError("this model searches no index, so it has no embedder.")
    embedder = embedders[0]
    if texts.dimensions not in (None, embedder.dimension):
        raise BadRequestError(f"'dimensions' is {texts.dimensions}; the vectors here have {embedder.dimension}.")
    tags = CallTags(application=serving.manifest.model, version=serving.served.version)

    def embed(gateway: Gateway | None, user: str) -> Vectors:
        began = time.monotonic_ns()
        vectors = for_caller(embedder, Caller(gateway=gateway, user=user, tags=tags)).embed(texts.texts)
        if seen is not None:
            ended = time.monotonic_ns()
            seen.embeddings.append(
                EmbeddingCall(embedder.name, embedder.dimension, _tokens(texts), began=began, ended=ended)
            )
        return vectors

    return RequestPart(serving, [], user=texts.user, context=texts, work=embed)


def _tokens(texts: Texts) -> int:
    return sum(map(estimated_tokens, texts.texts))


OPENAI = OpenAI()
