"""Which protocol handles a path: the paths of a server, as patterns; exact texts are looked up first."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError
from headrace.serving.messages import Answer, plain_refusal, refusal
from headrace.serving.protocols.known import PROTOCOLS
from headrace.serving.route import FEEDBACK, WIDGET, Match, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.serving.protocols.base import ServingProtocol

METHODS = frozenset(("GET", "HEAD", "POST", "OPTIONS"))
OTHER = "other"
RECENT = 64  # paths with names that are remembered with their routes
OWN = (
    Route(pattern="/health", open=True),
    Route(pattern="/ready", open=True),
    Route(pattern="/ping", open=True),  # as SageMaker asks
    Route(pattern="/version"),
    Route(pattern="/metrics"),
    Route(pattern="/openapi.json"),
    FEEDBACK,
    WIDGET,
)


class RouteTable:
    """The routes of some protocols, and those of the server itself.

    Args:
        protocols: no two have the same name, and no path is matched by routes of two of them.

    Raises:
        ConfigError: they do; the message names both.
    """

    def __init__(self, protocols: Iterable[ServingProtocol]) -> None:
        self.protocols = tuple(protocols)
        self.by_name = {each.name: each for each in self.protocols}
        matches = [Match("", route, {}) for route in OWN]
        matches += [Match(each.name, route, {}) for each in self.protocols for route in each.routes]
        _check(self.protocols, matches)
        self._exact = {each.route.pattern: each for each in matches if "{" not in each.route.pattern}
        self._shaped: dict[
            int, list[tuple[tuple[str, ...], Match]]
        ] = {}  # those with names, by how many segments they have
        for each in matches:
            if "{" in each.route.pattern:
                segments = each.route.segments
                self._shaped.setdefault(len(segments), []).append((segments, each))
        self._recent: dict[str, Match] = {}
        self._prefixes = [(each.prefix, each.refusal) for each in self.protocols if each.prefix]

    def find(self, path: str) -> Match | None:
        """The route that a path is one of; None where there is none."""
        found = self._exact.get(path) or self._recent.get(path)
        if found is not None:
            return found
        segments = path.split("/")[1:]
        for pattern, match in self._shaped.get(len(segments), ()):
            values: dict[str, str] = {}
            for wanted, segment in zip(pattern, segments, strict=True):
                if wanted[:1] == "{":
                    if not segment:
                        break
                    values[wanted[1:-1]] = segment
                elif wanted != segment:
                    break
            else:
                return self._remembered(path, Match(match.owner, match.route, values))
        return None

    def _remembered(self, path: str, match: Match) -> Match:
        """Mostly one model is asked for again and again; what strangers ask does not grow it."""
        if len(self._recent) >= RECENT:
            self._recent.clear()
        self._recent[path] = match
        return match

    def pattern(self, path: str) -> str:
        """The pattern of a path, `/v2/models/{model}/infer`; `other` for one that no server has."""
        if path in self._exact:
            return path
        found = self.find(path)
        return OTHER if found is None else found.route.pattern

    def body(self, path: str) -> Callable[[int, str], bytes]:
        """What writes the body of a refusal of a path."""
        found = self.find(path)
        if found is not None and found.owner:
            return self.by_name[found.owner].refusal
        for prefix, body in self._prefixes:
            if path == prefix or path.startswith(f"{prefix}/"):
                return body
        return plain_refusal

    def refusal(self, path: str, status: int, message: str, headers: bytes = b"") -> Answer:
        """The answer that says why a request at a path gets no other, in the shape of the path's protocol."""
        return refusal(status, message, headers, body=self.body(path))

    def listed(self) -> str:
        """All paths by their methods, for people."""
        routes = [*(route for each in self.protocols for route in each.routes), *OWN]
        posts = ", ".join(each.pattern for each in routes if each.predicts or each.receives)
        return f"POST {posts}; GET {', '.join(each.pattern for each in routes if not (each.predicts or each.receives))}"


def _check(protocols: tuple[ServingProtocol, ...], matches: list[Match]) -> None:
    for one, other in combinations(protocols, 2):
        if one.name == other.name:
            raise ConfigError(
                f"two serving protocols are called {one.name!r}: {_place(one)} and {_place(other)}.",
                hint="Rename one of them, or name only one in Serve(protocols=…).",
            )
    for one, other in combinations(matches, 2):
        if one.owner != other.owner and _overlap(one.route, other.route):
            raise ConfigError(
                f"the path {other.route.pattern!r} of {_owner(other)} collides with {one.route.pattern!r} of {_owner(one)}.",
                hint="Choose another path for the protocol that Serve(protocols=…) names.",
            )


def _overlap(one: Route, other: Route) -> bool:
    """Whether some path is one of both."""
    mine, theirs = one.segments, other.segments
    return len(mine) == len(theirs) and all(
        a == b or a[:1] == "{" or b[:1] == "{" for a, b in zip(mine, theirs, strict=True)
    )


def _place(protocol: ServingProtocol) -> str:
    return f"{type(protocol).__module__}.{type(protocol).__qualname__}"


def _owner(match: Match) -> str:
    return "the server itself" if not match.owner else f"the serving protocol {match.owner!r}"


KNOWN = RouteTable(PROTOCOLS)
