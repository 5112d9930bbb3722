"""Embeddings by a route of the gateway: whose vectors they are, and on whose behalf texts are sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from headrace.chains.gateways import current
from headrace.core.errors import ConfigError, DeclarationError, RefusedError
from headrace.llm.embedding.opening import open_embedder
from headrace.llm.gateway.requests import CallTags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.llm.embedding.base import Embedder, Vectors
    from headrace.llm.embedding.declarations import Embedding
    from headrace.llm.gateway.gateway import Gateway


NO_TAGS = CallTags()


@dataclass(frozen=True, kw_only=True)
class Caller:
    """On whose behalf texts are embedded.

    Attributes:
        gateway: that the calls go through; None for that of the process.
        user: a pseudonym, for budgets and usage; empty for nobody.
        tags: which application, for usage.
    """

    gateway: Gateway | None = None
    user: str = ""
    tags: CallTags = NO_TAGS


class RouteEmbedder:
    """An embedder by a route. Its vectors are those of a protocol and a model, wherever the endpoint is.

    Args:
        declared: with the route.
        model: what the vectors are made by: see `model_of`.
        caller: on whose behalf. Defaults to nobody's.
    """

    def __init__(self, declared: Embedding, model: str, caller: Caller | None = None) -> None:
        self._declared, self._model, self._caller = declared, model, caller or Caller()
        self._embedder = open_embedder(declared, call=self._call, model=model)
        self.name, self.dimension, self.digest = declared.title, declared.size, self._embedder.digest

    def on_behalf(self, caller: Caller) -> RouteEmbedder:
        """The same embedder for a caller: its calls are booked on it, and end with the scope that the caller has as its gateway."""
        return RouteEmbedder(self._declared, self._model, caller)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed`.

        Raises:
            DeclarationError: no routes are configured.
            RefusedError: the route leads to another model than the vectors that there are.
            HeadraceError: as of `Gateway.embed`.
        """
        return self._embedder.embed(texts)

    def _call(self, texts: Sequence[str]) -> object:
        route, caller = cast("str", self._declared.route), self._caller
        gateway = caller.gateway or current()
        if gateway is None:
            raise DeclarationError(f"the embedding of route {route!r} needs routes, and none are configured here.")
        if (now := model_of(gateway, route)) != self._model:
            raise RefusedError(
                f"route {route!r} leads to {now!r}, and the vectors were made by {self._model!r}.",
                hint="headrace run refresh embeds the index anew; or lead the route to the model of before.",
            )
        return gateway.embed(texts, route=route, user=caller.user, tags=caller.tags)


def open_route_embedder(declared: Embedding, recorded: Mapping[str, Mapping[str, str]] | None = None) -> RouteEmbedder:
    """The embedder of a route as it is configured now.

    Args:
        declared: with the route.
        recorded: route → its protocol and model, as a package knows them: what holds where the route is not configured, as on a
            machine that loads the package and searches nothing. Defaults to none.

    Raises:
        DeclarationError: no routes are configured, and none are recorded.
        NotFoundError: the route is not configured, and not recorded.
        ConfigError: a fallback of the route is another model.
    """
    route, gateway = cast("str", declared.route), current()
    known = recorded is not None and route in recorded
    if gateway is not None and (route in gateway.routes or not known):
        return RouteEmbedder(declared, model_of(gateway, route))
    if recorded is None or not known:
        raise DeclarationError(
            f"the embedding of route {route!r} needs routes, and none are configured here.",
            hint=f'In headrace.toml: [env.dev.llm.routes.{route}] with protocol = "openai", url = "http://…/v1" and model = "…".',
        )
    return RouteEmbedder(declared, _named(recorded[route]))


def for_caller(embedder: Embedder, caller: Caller) -> Embedder:
    """An embedder for a caller: one by a route books its calls on it, and others cost nothing."""
    return embedder.on_behalf(caller) if isinstance(embedder, RouteEmbedder) else embedder


def model_of(gateway: Gateway, route: str) -> str:
    """What makes the vectors of a route: its protocol and model. Its address does not count: the same model may move.

    Raises:
        NotFoundError: there is no such route.
        ConfigError: a fallback of it is another model, whose vectors cannot be compared with those of the route.
    """
    reached = gateway.identities([route])
    model = _named(reached[route])
    for name, identity in reached.items():
        if _named(identity) != model:
            raise ConfigError(
                f"route {route!r} embeds with {model!r}, and its fallback {name!r} with {_named(identity)!r}: "
                "vectors of two models cannot be compared.",
                hint="Give the embedding a route without a fallback, or with one to the same model.",
            )
    return model


def _named(identity: Mapping[str, str]) -> str:
    return f"{identity['protocol']}:{identity['model']}"
