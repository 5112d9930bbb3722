"""Prometheus metrics of servers and of workers of streams: as they expose them, with the help that they expose."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from docs.generate.docstrings import cell, table

import headrace
from headrace.inference.streaming.worker_status import Figures, WorkerStatus
from headrace.llm.gateway.requests import Completion
from headrace.llm.gateway_server.metrics import GatewayMetrics
from headrace.serving.metrics import Counters, Kind

PACKAGE = Path(headrace.__file__).parent
HOMES = {
    "serving/metrics.py": "server",
    "inference/streaming/worker_status.py": "stream",
    "llm/gateway_server/metrics.py": "gateway",
}
LABELS = {
    "direction": "`input` for tokens that are sent, `output` for those that are answered.",
    "le": "The upper end of a bucket of a histogram, in seconds.",
    "method": "The method of HTTP: `GET`, `POST`.",
    "model": "The name of the model.",
    "partition": "The number of a partition of the source.",
    "path": "The pattern of the path: `/invocations`.",
    "role": "Why the version was asked: `primary`, `candidate` or `shadow`.",
    "route": "The name of the requested route to a language model; empty where there is no such route.",
    "status": "The status of HTTP of the answer; of the gateway also 499, where the client left.",
    "version": "The number of the version that answered; 0 for none.",
}
LINE = re.compile(r"# (HELP|TYPE) (\S+) ?(.*)")
LABEL = re.compile(r'(\w+)="')


@dataclass(kw_only=True)
class Metric:
    """A metric.

    Attributes:
        name: `headrace_requests_total`.
        source: `server`, `stream` or `gateway`.
        help: as it is exposed.
        kind: `counter`, `gauge` or `histogram`.
        labels: in the order in which they are exposed.
    """

    name: str
    source: str
    help: str = ""
    kind: str = ""
    labels: dict[str, None]


def metrics() -> list[Metric]:
    """Every metric, with the text that a server, a worker or the gateway exposes after one request."""
    return [*_read("server", _server()), *_read("stream", _stream()), *_read("gateway", _gateway())]


def _server() -> str:
    counters = Counters(http={("/ping", "GET", 200): 1})
    counters.answered(Kind(1, "primary", 200), 0.01, 3, "/invocations")
    return counters.prometheus(model="m", version=1, in_flight=0)


def _stream() -> str:
    worker = WorkerStatus.__new__(WorkerStatus)  # one that writes its file nowhere
    worker.figures = Figures(model="m", source="s", lag={0: 1}, delay_s=0.5)
    return worker.prometheus()


def _gateway() -> str:
    counters = GatewayMetrics()
    counters.ended("/v1/chat/completions", "small", 200, 0.5)
    counters.used("small", Completion(text="", finish_reason="stop", route="small", model="m"))
    return counters.prometheus()


def _read(source: str, text: str) -> list[Metric]:
    found: dict[str, Metric] = {}
    current = None
    for line in text.splitlines():
        if match := LINE.fullmatch(line):
            what, name, rest = match.groups()
            current = found.setdefault(name, Metric(name=name, source=source, labels={}))
            setattr(current, "kind" if what == "TYPE" else "help", rest)
        elif current is not None:
            current.labels |= dict.fromkeys(LABEL.findall(line))
    return list(found.values())


def homes() -> set[str]:
    """The files of the package that expose metrics."""
    return {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(
            isinstance(node, ast.ImportFrom) and node.module == "headrace.core.exposition"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    }


def undescribed() -> list[str]:
    """Metrics without help, labels without a description, and files whose metrics are not collected."""
    known = metrics()
    return [
        *(each.name for each in known if not each.help.strip()),
        *sorted({label for each in known for label in each.labels} - LABELS.keys()),
        *sorted(homes() - HOMES.keys()),
    ]


def stale() -> list[str]:
    """Described labels that no metric has."""
    return sorted(LABELS.keys() - {label for each in metrics() for label in each.labels})


def page() -> str:
    """The page of metrics."""
    blocks = [
        "# Metrics",
        "In Prometheus' text format. Counters begin at 0 when the process starts, durations are seconds.",
    ]
    titles = {
        "server": ("Servers", "`GET /metrics` of a server; see [serving](../serving.md)."),
        "stream": ("Streams", "`headrace run stream --metrics-port`; see [streaming](../streaming.md)."),
        "gateway": ("Gateway", "`GET /metrics` of `headrace gateway`; see [llm](../llm.md)."),
    }
    for source, (title, text) in titles.items():
        rows = [
            (f"`{each.name}`", each.kind, " ".join(f"`{label}`" for label in each.labels), cell(each.help))
            for each in metrics()
            if each.source == source
        ]
        blocks += [f"## {title}", text, table(("Metric", "Type", "Labels", "Meaning"), rows)]
    labels = [(f"`{name}`", cell(text)) for name, text in LABELS.items()]
    return "\n\n".join([*blocks, "## Labels", table(("Label", "Meaning"), labels)])
