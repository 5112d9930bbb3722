"""A path of a server as a pattern, and the match of a request's path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Route:
    """A path of a server, as a pattern.

    Attributes:
        pattern: `/v2/models/{model}/infer`; a name in braces stands for one segment, which is not empty. It is the label of
            metrics and traces, so that there are few of them whatever callers ask.
        predicts: whether it takes POST and answers with predictions; otherwise it takes GET and HEAD and informs about the
            server. Defaults to no.
        open: whether it is a probe: it needs no API key, and is answered also when all connections are taken. Defaults to no.
        receives: whether it takes POST and keeps what it is sent, without an answer of the model. Defaults to no.
        logged: what the inference log calls the path; defaults to the pattern.

    Example:
        >>> route = hr.protocols.Route(pattern="/rows/{model}", predicts=True)
        >>> route.segments
        ('rows', '{model}')
    """

    pattern: str
    predicts: bool = False
    open: bool = False
    receives: bool = False
    logged: str = ""

    @property
    def segments(self) -> tuple[str, ...]:
        """The parts between slashes, `("v2", "models", "{model}", "infer")`."""
        return tuple(self.pattern.split("/")[1:])


class Match(NamedTuple):
    """The route that a path is one of.

    Attributes:
        owner: the name of the protocol that has the route; empty for a route of the server itself, such as `/health`.
        values: of the names in braces, as the path has them (percent-encoded where it is).
    """

    owner: str
    route: Route
    values: Mapping[str, str]


FEEDBACK = Route(pattern="/models/{model}/feedback", receives=True)
WIDGET = Route(pattern="/feedback.js")
