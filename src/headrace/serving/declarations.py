"""Declarations of a model that answers over HTTP."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from headrace.core.declaration import (
    check,
    check_durations,
    check_flags,
    check_names,
    check_numbers,
    check_texts,
    check_whole,
)
from headrace.core.errors import DeclarationError

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?")  # as browsers write it
USUAL = {"http": ":80", "https": ":443"}  # ports that browsers leave out
PLACE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")  # package.module:NAME
LATENCY = re.compile(r"[1-9][0-9]*ms")
LogPolicy = Literal["required", "best_effort", "none"]
MissingPolicy = Literal["null", "refuse"]


@dataclass(frozen=True)
class Serve:
    """Serving over HTTP.

    Args:
        p95: the latency that 95 % of the requests should stay under, `"20ms"`, at most a second; where they do not for a
            minute, people are told (`serving.slow`).
        timeout: the longest that a request may take, `"10s"`; then it is answered with 503. Of an answer that streams it is the
            longest that the first event may take, and each further one after the event before it, while a stream may last as
            long as its events come; one whose event is late ends with an `event: error`.
        log: `"required"`: no answer that is not in the inference log first (503 when the log cannot take it);
            `"best_effort"`: a log that cannot take an answer is counted and told, never waited for; `"none"`.
        missing: what becomes of a row by key for which a look-up finds nothing, or nothing that is young enough: `"null"`:
            its features are missing, as in training; `"refuse"`: the request is answered with 422.
        max_rows: rows of one request; more are refused with 413.
        max_body: bytes of one request; more are refused with 413.
        queue: requests that may wait at the same time; more are refused with 503.
        concurrency: requests of one API key at the same time; more are refused with 429.
        max_log: bytes of the log that may wait for the lakehouse; beyond, `log` says what happens.
        fsync: waits until the disk has what is logged: it is then safe from loss of power, too, and not only from the death
            of the process.
        sample: the share of the requests that is logged, by their id; a shadow's too.
        redact: inputs, key columns and outputs whose values are left out of the log; what is told of quality and drift by
            the log then knows nothing of them.
        cors: origins whose pages a browser lets read answers, `["https://app.example"]`; `["*"]` for every page. A page shows
            an API key like any other caller.
        access_log: a line of JSON on stdout for each request.
        traces: a span of OpenTelemetry for each request for predictions, to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT`
            names; needs `headrace[otel]`.
        protocols: serving protocols of your own beside those that every server has, each `"package.module:NAME"` of an
            module of the project or of an installed package; NAME is an object of a subclass of
            `hr.protocols.ServingProtocol`. A deployment loads them as a server will, before it makes the copy that servers
            start from, and puts the project's code that they need into it.
    """

    _: KW_ONLY
    p95: str = "50ms"
    log: LogPolicy = "required"
    missing: MissingPolicy = "null"
    max_rows: int = 10_000
    max_body: int = 16 * 2**20
    queue: int = 1_000
    concurrency: int = 1_000
    timeout: str = "10s"
    max_log: int = 2**30
    fsync: bool = False
    sample: float = 1.0
    redact: tuple[str, ...] = ()
    cors: tuple[str, ...] = ()
    access_log: bool = False
    traces: bool = False
    protocols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_texts("Serve", "Write milliseconds: '20ms'.", p95=self.p95)
        if not LATENCY.fullmatch(self.p95):
            raise DeclarationError(f"Serve(p95={self.p95!r}) is not a latency.", hint="Write milliseconds: '20ms'.")
        if self.log not in ("required", "best_effort", "none"):
            raise DeclarationError(
                f"Serve(log={self.log!r}) is not known.", hint="Write 'required', 'best_effort' or 'none'."
            )
        if self.missing not in ("null", "refuse"):
            raise DeclarationError(f"Serve(missing={self.missing!r}) is not known.", hint="Write 'null' or 'refuse'.")
        if milliseconds(self.p95) > 1:
            raise DeclarationError(
                f"Serve(p95={self.p95!r}) is more than a second.", hint="What is slower is no service."
            )
        check_durations("Serve", timeout=self.timeout)
        check_numbers("Serve", sample=self.sample)
        if not 0 < self.sample <= 1:
            raise DeclarationError(f"Serve(sample={self.sample}) must be more than 0, and at most 1.")
        check_names("Serve", redact=self.redact)
        if isinstance(self.cors, str):
            raise DeclarationError(f"Serve(cors={self.cors!r}) is one origin.", hint=f"Write [{self.cors!r}].")
        check("Serve", lambda cors: isinstance(cors, list | tuple), 'Write ["https://app.example"].', cors=self.cors)
        _check_protocols(self.protocols)
        for name in ("redact", "cors", "protocols"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # as it comes back from JSON
        _check_origins(self.cors)
        check_flags("Serve", fsync=self.fsync, access_log=self.access_log, traces=self.traces)
        check_whole("Serve", max_rows=self.max_rows, max_body=self.max_body, max_log=self.max_log)
        check_whole("Serve", queue=self.queue, concurrency=self.concurrency)


def _check_protocols(protocols: tuple[str, ...]) -> None:
    """A name, and no object: a server loads it in another process."""
    hint = 'Write ["package.module:NAME"].'
    if isinstance(protocols, str):
        raise DeclarationError(f"Serve(protocols={protocols!r}) is one name.", hint=f"Write [{protocols!r}].")
    check("Serve", lambda given: isinstance(given, list | tuple), hint, protocols=protocols)
    for each in protocols:
        if not isinstance(each, str) or not PLACE.fullmatch(each):
            raise DeclarationError(f"Serve(protocols=[{each!r}]) names no object of a module.", hint=hint)
    if twice := [each for place, each in enumerate(protocols) if each in protocols[:place]]:
        raise DeclarationError(f"Serve(protocols=…) names {twice[0]!r} twice.", hint="Name it once.")


def _check_origins(origins: tuple[str, ...]) -> None:
    """A browser says an origin in one way only; what is written otherwise would never be the same."""
    if "*" in origins and len(origins) > 1:
        raise DeclarationError(
            f"Serve(cors={list(origins)!r}) names every origin, and some.", hint="Write ['*'] alone."
        )
    for origin in origins:
        if origin == "*":
            continue
        found = ORIGIN.fullmatch(origin) if isinstance(origin, str) else None
        scheme = origin.partition(":")[0] if found is not None else ""
        port = found[2] if found is not None else None
        if found is None or (port is not None and (int(port[1:]) > 65535 or port == USUAL.get(scheme))):
            raise DeclarationError(
                f"Serve(cors=[{origin!r}]) is no origin as a browser says it.",
                hint="Write scheme and host in small letters, and the port unless it is the usual one, without a path or a "
                "'/' at the end: 'https://app.example', 'http://localhost:3000'. '*' is every origin; there are no patterns.",
            )


def milliseconds(text: str) -> float:
    """The seconds of a latency, `"20ms"`."""
    return int(text.removesuffix("ms")) / 1000
