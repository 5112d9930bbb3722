"""The language models behind the routes of a chain: what its answers, and so the evidence for it, hold for."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from headrace.chains.declarations import indexes, route
from headrace.core.errors import DeclarationError
from headrace.core.ids import digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.chains.declarations import Use
    from headrace.llm.embedding.declarations import Embedding
    from headrace.llm.gateway.gateway import Gateway

ADDRESS = "url_digest"
Identities = dict[str, dict[str, str]]  # route → protocol, url and model


def names(uses: Sequence[Use]) -> tuple[str, ...]:
    """The routes that answering uses: those that are declared, and those of embeddings."""
    declared = route(uses)
    embedding = [cast("Embedding", each.embed).route for each in indexes(uses)]
    return tuple(dict.fromkeys([*(declared.names if declared else ()), *(name for name in embedding if name)]))


def identities(model: str, used: Sequence[str], gateway: Gateway | None) -> Identities:
    """What answers of some routes depend on beside the request, their fallbacks included.

    Args:
        model: its name.
        used: routes.
        gateway: to them; None where none are configured.

    Raises:
        DeclarationError: a route is used, and none are configured.
        NotFoundError: one of them is not configured.
    """
    if not used:
        return {}
    if gateway is None:
        raise DeclarationError(
            f"model {model!r} uses the route {used[0]!r}, and no routes are configured here.",
            hint=f'In headrace.toml: [env.dev.llm.routes.{used[0]}] with protocol = "openai", url = "http://…/v1" and model = "…".',
        )
    return gateway.identities(used)


def without_address(identity: Mapping[str, str]) -> dict[str, str]:
    """An identity as a package keeps it: a digest in place of the URL, by which another one is noticed and none is read."""
    return {ADDRESS if name == "url" else name: digest(it) if name == "url" else it for name, it in identity.items()}


def changes(then: Mapping[str, Mapping[str, str]], gateway: Gateway | None) -> list[str]:
    """What leads somewhere else now than when a version was evaluated, a sentence a route; none where no routes are configured.

    Args:
        then: the identities of the routes that the version was evaluated with, or those of its package, `without_address`.
        gateway: of now.
    """
    if gateway is None:
        return []
    now = gateway.identities([name for name in then if name in gateway.routes])
    told = [f"route {name!r} is not configured any more" for name in then if name not in now]
    for name, before in then.items():
        after = now.get(name, before)
        if "url" in after and ADDRESS in before:
            after = without_address(after)
        changed = [what for what in before if before[what] != after.get(what)]
        told += [
            f"the url of route {name!r} is another one now"
            if what == ADDRESS
            else f"the {what} of route {name!r} was {before[what]!r} and is {after[what]!r} now"
            for what in changed
        ]
    told += [f"route {name!r} is a new fallback: {now[name]['model']!r}" for name in now if name not in then]
    return told
