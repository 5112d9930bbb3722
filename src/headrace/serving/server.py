"""The interface of `App` for protocols and for the server's own paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.serving.api_keys import ApiKeys
    from headrace.serving.metrics import Counters
    from headrace.serving.traffic import ServedTraffic


class Server(Protocol):
    """What is told of a server; see App."""

    @property
    def traffic(self) -> ServedTraffic | None:
        """The versions at work."""
        ...

    @property
    def trouble(self) -> str:
        """Why the latest `serving.json` is not followed."""
        ...

    @property
    def api_keys(self) -> ApiKeys | None:
        """Who may ask."""
        ...

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        ...

    def ready(self) -> bool:
        """Whether requests are answered with predictions."""
        ...

    def features(self) -> dict[str, str] | None:
        """When each table was published."""
        ...

    def status(self, features: Mapping[str, str] | None) -> str:
        """`ready`, or why not."""
        ...

    def counted(self) -> Counters:
        """What all processes at the port have counted."""
        ...
