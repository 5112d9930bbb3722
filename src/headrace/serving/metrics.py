"""Metrics of a server: counters for Prometheus, and the same by interval for the inference log."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from headrace.core.exposition import Sample, metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NUMBERS = (
    "log_dropped",
    "shadow_dropped",
    "model_reloads",
    "model_reload_failures",
    "access_log_dropped",
    "llm_calls_unrecorded",
)
K = TypeVar("K", bound="Kind | str")
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)  # seconds


class Kind(NamedTuple):
    """Requests that are counted together.

    Attributes:
        version: that answered; 0 for none.
        role: of that version.
        status: of HTTP.
    """

    version: int
    role: str
    status: int


@dataclass(slots=True)
class Tally:
    """Requests of one kind since the start of the process.

    Attributes:
        seconds: from the whole request to its answer, summed.
        buckets: counts of requests by `BUCKETS`, and of slower ones.
    """

    requests: int = 0
    rows: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))

    def add(self, seconds: float, rows: int) -> None:
        """One request."""
        self.requests += 1
        self.rows += rows
        self.seconds += seconds
        self.buckets[bisect_left(BUCKETS, seconds)] += 1

    def plus(self, other: Tally, sign: int = 1) -> Tally:
        """The sum of two; the difference where `sign` is -1."""
        buckets = [mine + sign * theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)]
        return Tally(
            self.requests + sign * other.requests,
            self.rows + sign * other.rows,
            self.seconds + sign * other.seconds,
            buckets,
        )


@dataclass
class Counters:
    """Counts since the start of the process.

    Attributes:
        log_dropped: answers that a log with the policy `best_effort` could not take.
        shadow_dropped: requests that a shadow was too busy for.
        model_reloads: versions that took over.
        model_reload_failures: versions that did not load.
        access_log_dropped: requests whose line in the access log could not be written.
        llm_calls_unrecorded: calls of language models whose usage the state database could not take.
        http: requests of all kinds by the pattern of their path, their method, and the status of their answer.
    """

    by_path: dict[tuple[Kind, str], Tally] = field(default_factory=dict[tuple[Kind, str], Tally])
    http: dict[tuple[str, str, int], int] = field(default_factory=dict[tuple[str, str, int], int])
    log_dropped: int = 0
    shadow_dropped: int = 0
    model_reloads: int = 0
    model_reload_failures: int = 0
    access_log_dropped: int = 0
    llm_calls_unrecorded: int = 0
    _told: dict[Kind, Tally] = field(default_factory=dict[Kind, Tally])

    @property
    def tallies(self) -> dict[Kind, Tally]:
        """Requests for predictions, by kind."""
        return _summed(
            (kind, tally) for (kind, _), tally in list(self.by_path.items())
        )  # a shadow counts in another thread

    def answered(self, kind: tuple[int, str, int], seconds: float, rows: int = 0, path: str = "") -> None:
        """One request, of a `Kind`.

        Args:
            kind: of the request.
            seconds: that its answer took.
            rows: that were answered.
            path: its pattern; empty for what is no request of its own: a shadow's, or one that another version has counted.
        """
        tally = self.by_path.get((kind, path))  # pyright: ignore[reportArgumentType]  # a Kind is such a tuple
        if tally is None:
            tally = self.by_path[Kind(*kind), path] = Tally()
        tally.add(seconds, rows)

    def interval(self) -> list[tuple[Kind, Tally]]:
        """What came since the last call."""
        found: list[tuple[Kind, Tally]] = []
        for kind, tally in self.tallies.items():
            before = self._told.get(kind, Tally())
            if tally.requests > before.requests:
                found.append((kind, tally.plus(before, -1)))
                self._told[kind] = tally.plus(Tally())
        return found

    def to_json(self) -> dict[str, Any]:
        """For another process to add to its own."""
        return {
            "tallies": [
                [*kind, path, each.requests, each.rows, each.seconds, each.buckets]
                for (kind, path), each in list(self.by_path.items())
            ],
            "http": [[*key, count] for key, count in self.http.items()],
            **{name: getattr(self, name) for name in NUMBERS},
        }

    def plus(self, others: Iterable[Mapping[str, Any]]) -> Counters:
        """Together with what other processes gave by `to_json`."""
        total = Counters(dict(self.by_path), dict(self.http), *(getattr(self, name) for name in NUMBERS))
        for other in others:
            for version, role, status, path, *values in other["tallies"]:
                key = Kind(version, role, status), path
                total.by_path[key] = total.by_path.get(key, Tally()).plus(Tally(*values))
            for path, method, status, count in other["http"]:
                total.http[path, method, status] = total.http.get((path, method, status), 0) + count
            for name in NUMBERS:
                setattr(total, name, getattr(total, name) + other[name])
        return total

    def prometheus(self, *, model: str, version: int, in_flight: int) -> str:
        """In Prometheus' text format."""
        here = {"model": model}
        kinds = [({**here, **kind._asdict()}, tally) for kind, tally in sorted(self.tallies.items())]
        requests = [Sample(labels, tally.requests) for labels, tally in kinds]
        rows = [Sample(labels, tally.rows) for labels, tally in kinds if tally.rows]
        counters = (
            ("log_dropped", "Answers that the inference log could not take.", self.log_dropped),
            ("shadow_dropped", "Requests that a shadow was too busy for.", self.shadow_dropped),
            ("model_reloads", "Versions that took over.", self.model_reloads),
            ("model_reload_failures", "Versions that did not load.", self.model_reload_failures),
            ("access_log_dropped", "Requests whose line in the access log was lost.", self.access_log_dropped),
            (
                "llm_calls_unrecorded",
                "Calls of language models that the record of usage lacks.",
                self.llm_calls_unrecorded,
            ),
        )
        http = [
            Sample({**here, "path": path, "method": method, "status": status}, count)
            for (path, method, status), count in sorted(self.http.items())
        ]
        paths = sorted(_summed((path, tally) for (_, path), tally in list(self.by_path.items()) if path).items())
        return "".join(
            [
                metric("headrace_model_version", "gauge", "The version in Production.", [Sample(here, version)]),
                metric("headrace_requests_total", "counter", "Requests for predictions, by who answered.", requests),
                metric("headrace_rows_total", "counter", "Rows that were answered.", rows),
                *(metric(f"headrace_{name}_total", "counter", what, [Sample(here, n)]) for name, what, n in counters),
                metric("headrace_requests_in_flight", "gauge", "Requests under way.", [Sample(here, in_flight)]),
                metric(
                    "headrace_request_duration_seconds",
                    "histogram",
                    "Seconds from a whole request to its answer.",
                    [sample for labels, tally in kinds for sample in _histogram(labels, tally)],
                ),
                metric("headrace_http_requests_total", "counter", "Requests of any kind, by path and answer.", http),
                metric(
                    "headrace_http_request_duration_seconds",
                    "histogram",
                    "Seconds from a whole request for predictions to its answer, by path.",
                    [sample for path, tally in paths for sample in _histogram({**here, "path": path}, tally)],
                ),
            ]
        )


def _summed(tallies: Iterable[tuple[K, Tally]]) -> dict[K, Tally]:
    found: dict[K, Tally] = {}
    for key, tally in tallies:
        found[key] = found[key].plus(tally) if key in found else tally
    return found


def _histogram(labels: Mapping[str, object], tally: Tally) -> list[Sample]:
    running = list(accumulate(tally.buckets))
    return [
        *(
            Sample({**labels, "le": bound}, count, "_bucket")
            for bound, count in zip((*BUCKETS, "+Inf"), running, strict=True)
        ),
        Sample(labels, f"{tally.seconds:.6f}", "_sum"),
        Sample(labels, running[-1], "_count"),
    ]
