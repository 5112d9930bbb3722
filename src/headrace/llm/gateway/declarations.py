"""`hr.Route`: which routes answer, in which order, and which answers are good enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.core.declaration import Location, caller
from headrace.core.errors import DeclarationError

if TYPE_CHECKING:
    from headrace.llm.gateway.requests import Message

Answering = Callable[[Sequence["Message"]], str | None]
HINT = 'For example: hr.Route("small", "large", accept=is_good).'


@dataclass(frozen=True, init=False)
class Route:
    """Routes of `headrace.toml` in the order in which they are asked, the smallest first.

    Args:
        *routes: names of routes. The first may be a function in place of a model: it gets the messages and returns the
            answer, or None for one that it does not have.
        accept: returns whether an answer is good enough. A refused one goes on to the next route; that of the last route is
            taken as it is. Defaults to every answer.

    Raises:
        DeclarationError: there is no route, one is twice there, or something else is no route.

    Example:
        >>> hr.Route("small", "large", accept=lambda answer: "don't know" not in answer).routes
        ('small', 'large')
    """

    routes: tuple[str | Answering, ...]
    accept: Callable[[str], bool] | None
    where: Location = field(compare=False, repr=False)

    def __init__(self, *routes: str | Answering, accept: Callable[[str], bool] | None = None) -> None:
        if not routes:
            raise DeclarationError("hr.Route() without a route.", hint=HINT)
        for place, route in enumerate(routes):
            is_function = callable(route) and place == 0
            if not is_function and not (isinstance(route, str) and route):
                hint = "A function may be the first one only." if callable(route) else HINT
                raise DeclarationError(f"hr.Route: {route!r} is not the name of a route.", hint=hint)
        if len(set(routes)) < len(routes):
            raise DeclarationError(f"hr.Route{routes!r}: a route is there twice.", hint=HINT)
        if accept is not None and not callable(accept):
            raise DeclarationError(f"hr.Route(accept={accept!r}) is not a function.", hint=HINT)
        object.__setattr__(self, "routes", routes)
        object.__setattr__(self, "accept", accept)
        object.__setattr__(self, "where", caller())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the routes, without the function."""
        return tuple(route for route in self.routes if isinstance(route, str))
