"""Traces of answers in MLflow: a root span, and a span for each search and each call of a language model.

The id of a trace, and those of its spans, are digests of what it is named by: what is written again replaces itself.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from headrace.core.clock import NANOSECONDS_PER_MILLISECOND
from headrace.tracking import store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

SpanKind = Literal["CHAIN", "RETRIEVER", "CHAT_MODEL"]
AT_ONCE = 100  # traces in one transaction
PREVIEW = 1_000  # characters that lists of traces show
TAG = "mlflow.traceTag."  # before the name of a tag, as an attribute of the root span


@dataclass(frozen=True, kw_only=True)
class TraceSpan:
    """A part of an answer.

    Attributes:
        name: shown in MLflow.
        kind: how MLflow shows it.
        inputs: as JSON holds them.
        outputs: as JSON holds them; documents of a RETRIEVER as MLflow writes them.
        attributes: by MLflow's or Headrace's names.
        began_ms: after the beginning of the answer.
        latency_ms: what it took.
    """

    name: str
    kind: SpanKind
    inputs: object
    outputs: object
    attributes: Mapping[str, object] = field(default_factory=dict[str, object])
    began_ms: float
    latency_ms: float


@dataclass(frozen=True, kw_only=True)
class Trace:
    """An answer.

    Attributes:
        key: names it: the id of the prediction.
        name: of what answered.
        began: when.
        latency_ms: what it took.
        inputs: by name.
        output: the answer.
        spans: what was done for it.
        tags: for searches; MLflow takes up to 4,096 characters each.
        user: who asked; empty for nobody.
        run_id: the MLflow run that it belongs to; empty for none.
    """

    key: str
    name: str
    began: datetime
    latency_ms: float
    inputs: Mapping[str, object]
    output: object
    spans: Sequence[TraceSpan]
    tags: Mapping[str, str]
    user: str = ""
    run_id: str = ""

    @property
    def id(self) -> str:
        """As MLflow has it."""
        return trace_id(self.key)


def trace_id(key: str) -> str:
    """The id of the trace of a prediction: to find it, and to delete it."""
    return f"tr-{sha256(key.encode()).hexdigest()[:32]}"


def log(client: Any, experiment: str, traces: Sequence[Trace]) -> None:
    """Writes traces; those that are there are replaced.

    Args:
        client: of the store.
        experiment: its id.
        traces: in any order.
    """
    tracing = store.load("mlflow.tracing.client").TracingClient(client.tracking_uri)
    for first in range(0, len(traces), AT_ONCE):
        some = traces[first : first + AT_ONCE]
        for each in some:
            if each.run_id:  # that a trace belongs to a run is said where it is begun, and costs a transaction
                tracing.start_trace(_info(each, experiment))
        tracing.log_spans(experiment, [span for each in some for span in _spans(each)])


def _info(trace: Trace, experiment: str) -> Any:
    from mlflow.entities.trace_info import TraceInfo
    from mlflow.entities.trace_location import TraceLocation
    from mlflow.entities.trace_state import TraceState

    inputs, output = _json(trace.inputs), _json(trace.output)
    return TraceInfo(
        trace_id=trace.id,
        trace_location=TraceLocation.from_experiment_id(experiment),
        request_time=_nanoseconds(trace.began) // NANOSECONDS_PER_MILLISECOND,
        state=TraceState.OK,
        request_preview=inputs[:PREVIEW],
        response_preview=output[:PREVIEW],
        execution_duration=round(trace.latency_ms),
        client_request_id=trace.key,
        trace_metadata={
            "mlflow.sourceRun": trace.run_id,
            "mlflow.trace_schema.version": "3",
            **({"mlflow.trace.user": trace.user[:250]} if trace.user else {}),
        },
        tags={"mlflow.traceName": trace.name, **trace.tags},
    )


def _spans(trace: Trace) -> list[Any]:
    began = _nanoseconds(trace.began)
    root = TraceSpan(
        name=trace.name,
        kind="CHAIN",
        inputs=trace.inputs,
        outputs=trace.output,
        attributes={
            **{f"{TAG}{name}": value for name, value in {"mlflow.traceName": trace.name, **trace.tags}.items()},
            **({"user.id": trace.user} if trace.user else {}),
        },
        began_ms=0,
        latency_ms=trace.latency_ms,
    )
    return [_span(trace, place, each, began) for place, each in enumerate((root, *trace.spans))]


def _span(trace: Trace, place: int, span: TraceSpan, began: int) -> Any:
    from mlflow.entities.span import Span

    start = began + int(span.began_ms * NANOSECONDS_PER_MILLISECOND)
    attributes = {
        "mlflow.traceRequestId": trace.id,
        "mlflow.spanType": span.kind,
        "mlflow.spanInputs": span.inputs,
        "mlflow.spanOutputs": span.outputs,
        **span.attributes,
    }
    return Span.from_dict(
        {
            "trace_id": _base64(trace.id.removeprefix("tr-")),
            "span_id": _base64(_span_id(trace, place)),
            "parent_span_id": _base64(_span_id(trace, 0)) if place else None,
            "name": span.name,
            "start_time_unix_nano": start,
            "end_time_unix_nano": start + int(span.latency_ms * NANOSECONDS_PER_MILLISECOND),
            "events": [],
            "status": {"code": "STATUS_CODE_OK", "message": ""},
            "attributes": {name: _json(value) for name, value in attributes.items()},
        }
    )


def _span_id(trace: Trace, place: int) -> str:
    return sha256(f"{trace.key} {place}".encode()).hexdigest()[:16]


def _base64(digits: str) -> str:
    return base64.b64encode(bytes.fromhex(digits)).decode()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1_000
