"""Traces of OpenTelemetry: a span for each request for predictions, and one for each call of the model below it; of a model that
answers by itself, one for each search and each call of a language model.

Spans are created after the answer was sent, with the recorded moments, and a thread of the SDK sends them: a slow or
unreachable collector delays no request, and spans that it does not accept are dropped. The caller's `traceparent`
decides whether a trace is recorded, otherwise `OTEL_TRACES_SAMPLER`.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from headrace.core import vault
from headrace.core.clock import NANOSECONDS_PER_MILLISECOND
from headrace.core.errors import ConfigError, MissingExtraError
from headrace.core.system import release
from headrace.serving.access_log import plain
from headrace.serving.caller import TRACE, said
from headrace.serving.generation_spans import embedding_span, spans_of
from headrace.serving.routes import METHODS, OTHER

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from headrace.serving.messages import Answer, Request
    from headrace.serving.observation import Observation

LOG = logging.getLogger(__name__)

PREFIX = "OTEL_"
LOCAL = "http://localhost:4318"  # where OpenTelemetry looks for a collector unless said
STATE = b"tracestate"
CONTENTS = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"  # `true`: spans hold messages, answers and queries
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")  # the first counts
HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\s*=[^=,;]?[^,;]*")
QUERY = re.compile(r"\?[^\s'\")]+")
LAST = 1.0  # seconds that the last spans may take
AGAIN = 60.0  # seconds between two lines about a collector that does not take spans


class Tracing:
    """See the module.

    Args:
        name: of this process.
        secure: requests come by HTTPS.

    Raises:
        ConfigError: a variable says what cannot be done.
        MissingExtraError: OpenTelemetry is not installed.
    """

    def __init__(self, name: str, *, secure: bool = False) -> None:
        check()
        from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._scheme = "https" if secure else "http"
        self._propagator = TraceContextTextMapPropagator()
        _told_by_us()
        variables = vault.starting(PREFIX)
        self._contents = variables.get(CONTENTS, "").lower() == "true"
        with _shown(variables):
            who = {SERVICE_INSTANCE_ID: name, SERVICE_VERSION: release()}
            declared = Resource.create()  # by the variables
            if str(declared.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
                who[SERVICE_NAME] = "headrace-serving"
            self._provider = TracerProvider(resource=declared.merge(Resource(who)), shutdown_on_exit=False)
            self._provider.add_span_processor(BatchSpanProcessor(_exporter(variables)))
        self._tracer = self._provider.get_tracer("headrace.serving", release())

    def answered(self, request: Request, seen: Observation, answer: Answer | None) -> None:
        """See Observer."""
        if not request.predicts:
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        ended = time.time_ns()
        offset = ended - time.monotonic_ns()
        method = request.method if request.method in METHODS else "_OTHER"
        path = OTHER if request.match is None else request.match.route.pattern
        attributes = _attributes(request, seen, answer)
        span = self._tracer.start_span(
            f"{'HTTP' if method == '_OTHER' else method} {path}",
            self._parent(request),
            SpanKind.SERVER,
            {"http.request.method": method, "http.route": path, "url.scheme": self._scheme, **attributes},
            start_time=offset + int(seen.began * 1e9),
        )
        if answer is None or answer.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        if span.is_recording():
            below = set_span_in_context(span)
            for call in seen.calls:
                told = {
                    "headrace.model.name": seen.model,
                    "headrace.model.version": str(call.version),
                    "headrace.model.tier": call.tier,
                    "headrace.model.rows": call.rows,
                }
                child = self._tracer.start_span(
                    f"predict {seen.model}", below, SpanKind.INTERNAL, told, start_time=offset + call.began
                )
                child.end(offset + call.ended)
            contents = self._contents and not seen.redacted
            made = [(began, each) for began, made in seen.answers for each in spans_of(made, contents=contents)]
            made += [(call.began, embedding_span(call)) for call in seen.embeddings]
            for began, each in made:
                start = offset + began + int(each.began_ms * NANOSECONDS_PER_MILLISECOND)
                child = self._tracer.start_span(each.name, below, SpanKind.CLIENT, each.attributes, start_time=start)
                child.end(start + int(each.latency_ms * NANOSECONDS_PER_MILLISECOND))
        span.end(ended)

    def end(self) -> None:
        """See Observer. In a thread, which is left where the collector does not answer."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(LAST)

    def _parent(self, request: Request) -> Any:
        trace = said(request.headers).get("trace")
        if trace is None:
            return self._propagator.extract({})
        carried = {TRACE.decode(): trace}
        if STATE in request.headers:
            carried[STATE.decode()] = request.headers[STATE].decode("latin-1")
        return self._propagator.extract(carried)


def check() -> None:
    """Looks whether traces can be sent at all.

    Raises:
        ConfigError: a variable says what cannot be done.
        MissingExtraError: OpenTelemetry is not installed.
    """
    try:
        import opentelemetry.exporter.otlp.proto.http  # pyright: ignore[reportUnusedImport]
        import opentelemetry.sdk.trace  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "opentelemetry", "otel", "Tracing") from None
    variables = vault.starting(PREFIX)
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if (protocol := variables.get(name, "")) not in ("", "http/protobuf"):
            raise ConfigError(f"{name} is {protocol!r}.", hint="Traces are sent by 'http/protobuf' only.")
    for name in ENDPOINTS:
        if variables.get(name) and not _is_address(variables[name]):
            raise ConfigError(f"{name} is no address.", hint="Write scheme and host: https://collector.example:4318")
    name, headers = _headers(variables)
    for pair in filter(str.strip, headers.split(",")):
        if not HEADER.fullmatch(pair.strip()):
            raise ConfigError(
                f"{name} is not a list of headers.",
                hint="Write key=value, …; a space in a value is %20: authorization=Bearer%20…",
            )


def _is_address(text: str) -> bool:
    try:
        found = urlsplit(text)
        return found.scheme in ("http", "https") and bool(found.hostname) and found.port != 0
    except ValueError:
        return False


def _headers(variables: Mapping[str, str]) -> tuple[str, str]:
    """The variable with the headers for the collector, and what it says."""
    name = next((each for each in HEADERS if variables.get(each)), HEADERS[-1])
    return name, variables.get(name, "")


def _exporter(variables: Mapping[str, str]) -> Any:
    """What may hold a secret is read here: the environment does not show it to the code of a model."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.util.re import parse_env_headers

    base = (variables.get(ENDPOINTS[1]) or LOCAL).rstrip("/")
    endpoint = variables.get(ENDPOINTS[0]) or f"{base}/v1/traces"
    return OTLPSpanExporter(endpoint=endpoint, headers=parse_env_headers(_headers(variables)[1], liberal=True))


@contextmanager
def _shown(variables: Mapping[str, str]) -> Generator[None]:
    """What is no secret is in the environment meanwhile, where the SDK reads it."""
    put = {name: value for name, value in variables.items() if not name.endswith(("_HEADERS", "_ENDPOINT"))}
    put = {name: value for name, value in put.items() if name not in os.environ}
    os.environ.update(put)
    try:
        yield
    finally:
        for name in put:
            os.environ.pop(name, None)


def _attributes(request: Request, seen: Observation, answer: Answer | None) -> dict[str, Any]:
    """By https://opentelemetry.io/docs/specs/semconv/http/http-spans; of the model, which has no convention, by our own name."""
    told: dict[str, Any] = {"url.path": plain(request.path), "http.request.body.size": seen.size}
    if request.method not in METHODS:
        told["http.request.method_original"] = request.method
    if answer is None:
        told["error.type"] = "cancelled"
    else:
        told["http.response.status_code"] = answer.status
        told["http.response.body.size"] = len(answer.body) + seen.streamed
        if answer.status >= 500:
            told["error.type"] = str(answer.status)
    if seen.model:
        told["headrace.model.name"] = seen.model
        told["headrace.model.version"] = ",".join(map(str, seen.versions))
    told |= {"headrace.request.id": seen.id} if seen.id else {}
    told |= {"headrace.api_key.name": request.api_key} if request.api_key else {}
    return told


class _Telling(logging.Handler):
    """What the SDK says of itself, which it would print for each span that it drops: a line a minute."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told = -AGAIN

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now - self._told >= AGAIN:
            self._told = now
            LOG.warning("traces are not all taken: %s", _without_secrets(record.getMessage())[:500])


def _without_secrets(text: str) -> str:
    """Without what variables say of headers and addresses, nor the query of any address."""
    variables = vault.starting(PREFIX)
    for value in (variables[name] for name in (*HEADERS, *ENDPOINTS) if variables.get(name)):
        text = text.replace(value, "…")
    return QUERY.sub("?…", text)


def _told_by_us() -> None:
    logger = logging.getLogger("opentelemetry")
    if not any(isinstance(each, _Telling) for each in logger.handlers):
        logger.addHandler(_Telling())
        logger.propagate = False
