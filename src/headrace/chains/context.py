"""`hr.LLMContext`: what a function that answers searches, renders and calls with; it remembers what was done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from headrace.chains.answer import Call, Passage, Search
from headrace.chains.route_embedder import Caller, RouteEmbedder
from headrace.core.errors import DeclarationError, NotFoundError
from headrace.llm.gateway.requests import CallTags, ChatRequest, Completion
from headrace.llm.index.base import Hit
from headrace.llm.index.declarations import VectorIndex
from headrace.llm.prompts.declarations import Prompt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from headrace.llm.gateway.declarations import Route
    from headrace.llm.gateway.gateway import Gateway
    from headrace.llm.index.search import Index
    from headrace.llm.prompts.messages import Message as PromptMessage
    from headrace.llm.prompts.version import PromptVersion

SEARCHED = 100_000  # characters of a question, which an index takes


class LLMContext:
    """What `predict=` of a model is called with beside its inputs: search, prompts and language models.

    Whatever it is asked for is that of the version: the prompt and the index as they were when the version was made, even
    when the project has changed since. Each call is in the trace of the answer.

    Args:
        model: its name.
        prompts: prompt → its version, by name.
        indexes: index → the open index, by name.
        route: the route that the model uses; None for none.
        gateway: to language models; None where no routes are configured.
        user: who asks, where the caller says so. Budgets by user count under this name. Defaults to nobody.
        version: of the model; defaults to None, before it is registered.
        planted: documents that each search finds first, of a test of what documents can do; defaults to none.

    Attributes:
        user: who asks; empty for nobody.

    Example:
        >>> def answer(question: str, ctx: hr.LLMContext) -> str:
        ...     passages = ctx.search("features.docs_index", question, k=3)
        ...     if not passages:
        ...         return "I do not know."
        ...     return ctx.complete("answer", question=question, passages=passages)
    """

    def __init__(
        self,
        model: str,
        *,
        prompts: Mapping[str, PromptVersion],
        indexes: Mapping[str, Index],
        route: Route | None,
        gateway: Gateway | None,
        user: str = "",
        version: int | None = None,
        planted: Sequence[str] = (),
    ) -> None:
        self.user = user
        self._planted = [Hit(key=f"planted {place}", score=1.0, text=text) for place, text in enumerate(planted)]
        self._model, self._prompts, self._indexes, self._declared = model, prompts, indexes, route
        self._gateway, self._version = gateway, version
        self._began = time.perf_counter()
        self.searches: list[Search] = []
        self.passages: list[Passage] = []
        self.calls: list[Call] = []

    def search(
        self, index: VectorIndex | str, text: str, *, k: int = 5, where: Mapping[str, object] | None = None
    ) -> list[Hit]:
        """The documents of an index that come nearest to a text, best first.

        Args:
            index: one of `uses=`, or its name.
            text: what is searched for; of more than 100,000 characters the first ones.
            k: how many at most; defaults to 5.
            where: column → value, a list of values, or `(operator, value)`: only documents for which all of them hold are
                found. Defaults to none.

        Returns:
            Hits with `.key`, `.text`, `.score` and `.metadata`.

        Raises:
            NotFoundError: the model uses no index of this name.
        """
        name = index.name if isinstance(index, VectorIndex) else index
        if name not in self._indexes:
            raise NotFoundError("index in uses=", name, self._indexes)
        began = self._since()
        planted = self._planted[:k]  # by who tests what a document can do
        found = [*planted, *self._index(name).search(text[:SEARCHED], k=k, where=where)[: k - len(planted)]]
        taken = self._since() - began
        self.searches.append(Search(index=name, text=text, k=k, found=len(found), began_ms=began, latency_ms=taken))
        self.passages += [Passage(id=each.key, text=each.text, score=each.score, index=name) for each in found]
        return found

    def render(self, prompt: Prompt | str, **inputs: object) -> tuple[PromptMessage, ...]:
        """The messages of a prompt of the version, for some inputs.

        Args:
            prompt: one of `uses=`, or its name.
            **inputs: a value for each input of the prompt.
        """
        return self._prompt(prompt).render(**inputs)

    def complete(
        self,
        prompt: Prompt | str | Sequence[Any],
        /,
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        stop: Sequence[str] = (),
        response_format: Mapping[str, Any] | None = None,
        seed: int | None = None,
        **inputs: object,
    ) -> str:
        """The answer of a language model.

        Args:
            prompt: one of `uses=`, its name, or messages; a message has a role and a content.
            max_tokens: the most tokens of the answer; defaults to the route's.
            temperature: defaults to the endpoint's.
            stop: texts before which the answer ends.
            response_format: as OpenAI writes it.
            seed: for endpoints that repeat an answer for the same one.
            **inputs: a value for each input of the prompt.

        Returns:
            The text.

        Raises:
            DeclarationError: the model uses no route.
            UnavailableError: no route answered in time.
            LimitError: a budget is spent.
        """
        request, tags, name, digest = self._request(
            prompt,
            inputs,
            max_tokens=max_tokens,
            temperature=temperature,
            stop=stop,
            response_format=response_format,
            seed=seed,
        )
        began = self._since()
        made = self._ready.complete(request, route=self._route, user=self.user, tags=tags)
        self._keep(request, made, name, digest, began=began)
        return made.text

    def stream(
        self,
        prompt: Prompt | str | Sequence[Any],
        /,
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
        **inputs: object,
    ) -> Iterator[str]:
        """The answer of a language model, piece by piece. Closing it ends the call.

        Args:
            prompt: one of `uses=`, its name, or messages; a message has a role and a content.
            max_tokens: the most tokens of the answer; defaults to the route's.
            temperature: defaults to the endpoint's.
            stop: texts before which the answer ends; defaults to none.
            seed: for endpoints that repeat an answer for the same one; defaults to none.
            **inputs: a value for each input of the prompt.

        Returns:
            Pieces of text.
        """
        request, tags, name, digest = self._request(
            prompt, inputs, max_tokens=max_tokens, temperature=temperature, stop=stop, response_format=None, seed=seed
        )
        began = self._since()
        stream = self._ready.stream(request, route=self._route, user=self.user, tags=tags)
        try:
            first: float | None = None
            for piece in stream:
                first = self._since() - began if first is None else first
                yield piece
            if stream.completion is not None:
                self._keep(request, stream.completion, name, digest, began=began, first=first)
        finally:
            stream.close()

    def _since(self) -> float:
        """Milliseconds since the beginning of the answer."""
        return (time.perf_counter() - self._began) * 1000

    def _index(self, name: str) -> Index:
        """An index whose questions are embedded on behalf of whoever asks, where that takes calls."""
        index = self._indexes[name]
        if not isinstance(index.embedder, RouteEmbedder):
            return index
        tags = CallTags(application=self._model, version=self._version)
        return index.embedded_by(index.embedder.on_behalf(Caller(gateway=self._gateway, user=self.user, tags=tags)))

    def _prompt(self, prompt: Prompt | str) -> PromptVersion:
        name = prompt.name if isinstance(prompt, Prompt) else prompt
        if name not in self._prompts:
            raise NotFoundError("prompt in uses=", name, self._prompts)
        return self._prompts[name]

    @property
    def _route(self) -> Any:
        if self._declared is None:
            raise DeclarationError(
                f"model {self._model!r} calls a language model, and uses= has no route.",
                hint='uses=[…, hr.Route("small")], with [env.dev.llm.routes.small] in headrace.toml.',
            )
        return self._declared

    @property
    def _ready(self) -> Gateway:
        if self._gateway is None:
            raise DeclarationError(
                f"model {self._model!r} calls a language model, and no routes are configured here.",
                hint="In a project: [env.dev.llm.routes.NAME] in headrace.toml. Elsewhere: HEADRACE_LLM_ROUTES names a TOML file with [routes.NAME].",
            )
        return self._gateway

    def _request(
        self, prompt: Prompt | str | Sequence[Any], inputs: Mapping[str, object], **settings: Any
    ) -> tuple[ChatRequest, CallTags, str, str]:
        if isinstance(prompt, Prompt | str):
            version = self._prompt(prompt)
            messages, name, digest = cast("Sequence[Any]", version.render(**inputs)), version.name, version.digest
        else:
            if inputs:
                raise DeclarationError(
                    f"messages take no inputs, and {next(iter(inputs))!r} is one.",
                    hint="Give the prompt in their place.",
                )
            messages, name, digest = prompt, "", ""
        tags = CallTags(application=self._model, version=self._version, prompt=name, prompt_version=digest)
        return ChatRequest(messages, **settings), tags, name, digest

    def _keep(
        self,
        request: ChatRequest,
        made: Completion,
        prompt: str,
        digest: str,
        *,
        began: float,
        first: float | None = None,
    ) -> None:
        endpoint = self._ready.identity(made.route) if made.route else {}
        self.calls.append(
            Call(
                call_id=made.call_id,
                prompt=prompt,
                prompt_version=digest,
                route=made.route,
                model=made.model,
                input_tokens=made.input_tokens,
                output_tokens=made.output_tokens,
                cost_nano=made.cost_nano,
                input_cost_nano=made.input_cost_nano,
                latency_ms=made.latency_ms,
                attempts=made.attempts,
                cached=made.cached,
                began_ms=began,
                finish_reason=made.finish_reason,
                messages=tuple((each.role, each.content) for each in request.texts),
                text=made.text,
                requested=endpoint.get("model", ""),
                provider=endpoint.get("protocol", ""),
                first_ms=None if first is None else min(first, made.latency_ms),  # it is seen a moment after it came
            )
        )
