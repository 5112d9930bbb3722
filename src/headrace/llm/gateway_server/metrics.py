"""Prometheus metrics of the gateway's server, summed over its workers."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from headrace.core.exposition import Sample, metric
from headrace.core.money import NANO_PER_DOLLAR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.llm.gateway.requests import Completion, Embeddings

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)  # seconds
NAMES = ("input_tokens", "output_tokens", "cost_nano", "attempts", "cached")


@dataclass(slots=True)
class RouteTally:
    """What calls of one route were and used, since the start of the process.

    Attributes:
        used: of each of `NAMES` the sum.
        seconds: from the whole request to the end of its answer, summed.
        buckets: counts of calls by `BUCKETS`, and of slower ones.
    """

    used: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NAMES, 0))
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))


class GatewayMetrics:
    """Counters of one worker.

    Attributes:
        in_flight: calls under way.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self._requests: dict[tuple[str, str, int], int] = {}
        self._routes: dict[str, RouteTally] = {}

    def ended(self, path: str, route: str, status: int, seconds: float) -> None:
        """One request.

        Args:
            path: its pattern.
            route: the requested one; empty where there is no such route.
            status: of HTTP; 499 where the client left.
            seconds: from the whole request to the end of its answer.
        """
        key = path, route, status
        self._requests[key] = self._requests.get(key, 0) + 1
        if route:
            tally = self._routes.setdefault(route, RouteTally())
            tally.seconds += seconds
            tally.buckets[bisect_left(BUCKETS, seconds)] += 1

    def used(self, route: str, answer: Completion | Embeddings) -> None:
        """What an answer of a requested route took."""
        used = self._routes.setdefault(route, RouteTally()).used
        for name in NAMES:
            used[name] += int(getattr(answer, name, 0))

    def to_json(self) -> dict[str, Any]:
        """For another worker to add to its own."""
        routes = {name: [each.used, each.seconds, each.buckets] for name, each in self._routes.items()}
        requests = [[*key, count] for key, count in self._requests.items()]
        return {"requests": requests, "routes": routes, "in_flight": self.in_flight}

    def add(self, other: Mapping[str, Any]) -> None:
        """Adds what another worker gave by `to_json`."""
        self.in_flight += other["in_flight"]
        for path, route, status, count in other["requests"]:
            key = path, route, status
            self._requests[key] = self._requests.get(key, 0) + count
        for name, (used, seconds, buckets) in other["routes"].items():
            tally = self._routes.setdefault(name, RouteTally())
            tally.seconds += seconds
            tally.buckets = [mine + theirs for mine, theirs in zip(tally.buckets, buckets, strict=True)]
            for each in NAMES:
                tally.used[each] += used[each]

    def prometheus(self, others: Iterable[Mapping[str, Any]] = ()) -> str:
        """In Prometheus' text format, together with other workers."""
        total = GatewayMetrics()
        for each in (self.to_json(), *others):
            total.add(each)
        return total._told()  # of the same class

    def _told(self) -> str:
        requests = [
            Sample({"path": path, "route": route, "status": status}, count)
            for (path, route, status), count in sorted(self._requests.items())
        ]
        routes = sorted(self._routes.items())
        tokens = [
            Sample({"route": route, "direction": direction}, tally.used[f"{direction}_tokens"])
            for route, tally in routes
            for direction in ("input", "output")
        ]

        def counted(name: str) -> list[Sample]:
            return [Sample({"route": route}, tally.used[name]) for route, tally in routes]

        cost = [Sample({"route": route}, f"{tally.used['cost_nano'] / NANO_PER_DOLLAR:.9f}") for route, tally in routes]
        return "".join(
            [
                metric(
                    "headrace_gateway_requests_total", "counter", "Requests, by requested route and answer.", requests
                ),
                metric(
                    "headrace_gateway_requests_in_flight", "gauge", "Calls under way.", [Sample({}, self.in_flight)]
                ),
                metric("headrace_gateway_tokens_total", "counter", "Tokens that were sent and answered.", tokens),
                metric("headrace_gateway_cost_dollars_total", "counter", "Dollars that answers did cost.", cost),
                metric(
                    "headrace_gateway_attempts_total",
                    "counter",
                    "Requests to endpoints for calls that were answered.",
                    counted("attempts"),
                ),
                metric("headrace_gateway_cached_total", "counter", "Answers of the cache.", counted("cached")),
                metric(
                    "headrace_gateway_request_duration_seconds",
                    "histogram",
                    "Seconds from a whole request to the end of its answer.",
                    [sample for route, tally in routes for sample in _histogram(route, tally)],
                ),
            ]
        )


def _histogram(route: str, tally: RouteTally) -> list[Sample]:
    labels: dict[str, object] = {"route": route}
    running = list(accumulate(tally.buckets))
    return [
        *(
            Sample({**labels, "le": bound}, count, "_bucket")
            for bound, count in zip((*BUCKETS, "+Inf"), running, strict=True)
        ),
        Sample(labels, f"{tally.seconds:.6f}", "_sum"),
        Sample(labels, running[-1], "_count"),
    ]
