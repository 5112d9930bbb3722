"""What a server tells of itself: counters for Prometheus, liveness, readiness."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)  # seconds


@dataclass
class Counters:
    """Counts since the start of the process.

    Attributes:
        answers: by version (0 before there is one) and status.
        rows: predicted, by version.
        unlogged: answers that a log with the policy `best_effort` could not take.
        swaps: versions that took over.
        failed_swaps: versions that did not load.
    """

    answers: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    rows: dict[int, int] = field(default_factory=dict[int, int])
    unlogged: int = 0
    swaps: int = 0
    failed_swaps: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))

    def answered(self, version: int, status: int, seconds: float, rows: int = 0) -> None:
        """One request."""
        self.answers[version, status] = self.answers.get((version, status), 0) + 1
        if rows:
            self.rows[version] = self.rows.get(version, 0) + rows
        self.seconds += seconds
        self.buckets[bisect_left(BUCKETS, seconds)] += 1

    def prometheus(self, *, model: str, version: int, in_flight: int) -> str:
        """In Prometheus' text format."""
        label = f'model="{model}"'
        lines = ["# TYPE headrace_version gauge", f"headrace_version{{{label}}} {version}"]
        lines.append("# TYPE headrace_requests_total counter")
        lines += [
            f'headrace_requests_total{{{label},version="{each}",status="{status}"}} {count}'
            for (each, status), count in sorted(self.answers.items())
        ]
        lines.append("# TYPE headrace_rows_total counter")
        lines += [f'headrace_rows_total{{{label},version="{each}"}} {n}' for each, n in sorted(self.rows.items())]
        for name, value in (
            ("unlogged_answers", self.unlogged),
            ("swaps", self.swaps),
            ("failed_swaps", self.failed_swaps),
        ):
            lines += [f"# TYPE headrace_{name}_total counter", f"headrace_{name}_total{{{label}}} {value}"]
        lines += ["# TYPE headrace_in_flight gauge", f"headrace_in_flight{{{label}}} {in_flight}"]
        lines.append("# TYPE headrace_request_seconds histogram")
        running = 0
        for bound, count in zip((*BUCKETS, "+Inf"), self.buckets, strict=True):
            running += count
            lines.append(f'headrace_request_seconds_bucket{{{label},le="{bound}"}} {running}')
        lines += [
            f"headrace_request_seconds_sum{{{label}}} {self.seconds:.6f}",
            f"headrace_request_seconds_count{{{label}}} {running}",
        ]
        return "\n".join(lines) + "\n"
