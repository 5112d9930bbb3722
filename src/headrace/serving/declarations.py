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
    """How a model answers over HTTP.

    Args:
        p95: the latency, in milliseconds, that 95 % of the requests should stay under, at most `"1000ms"`; defaults to
            `"50ms"`. If they do not for a minute, the event `serving.slow` is sent to the channels of the environment; not for
            a model with `predict=`, whose answers take as long as language models do.
        timeout: the longest that a request may take; then it is answered with 503. Defaults to `"10s"`. For an answer that
            streams it is the longest wait for the first event and for each further one: a stream may last as long as its events
            come, and one whose event is late ends with an `event: error`.
        log: whether answers are in the inference log. `"required"`: an answer is sent only after it is logged (503 if the log
            cannot take it); `"best_effort"`: an answer that the log cannot take is sent, counted and reported; `"none"`: no
            log. Defaults to `"required"`.
        missing: what happens to a row by key for which a feature table has no row, or none that is recent enough: `"null"`:
            its features are missing, as in training; `"refuse"`: the request is answered with 422. Defaults to `"null"`.
        max_rows: the most rows of one request; more are refused with 413. Defaults to 10,000.
        max_body: the most bytes of one request; more are refused with 413. Defaults to 16 MiB.
        queue: how many requests may wait at the same time; more are refused with 503. Defaults to 1,000.
        concurrency: how many requests of one API key may be answered at the same time; more are refused with 429. Defaults to
            1,000.
        threads: how many answers of a model with `predict=` one server process makes at the same time; others wait in the
            order in which they came. It is ignored for other models. Defaults to 64.
        max_log: how many bytes of the log may wait for the lakehouse; beyond, `log` says what happens. Defaults to 1 GiB.
        fsync: whether an answer waits until its log record is on the disk, which makes the record safe from a loss of power,
            and not only from the death of the process. Defaults to no.
        sample: the share of the requests that is logged, above 0 and at most 1, chosen by their id; defaults to 1. It holds
            for shadows, too.
        redact: inputs, key columns and outputs whose values are left out of the log, `["date_of_birth"]`; quality and drift
            that are computed from the log do not cover them. Defaults to none.
        cors: origins whose pages may read answers in a browser, `["https://app.example"]`; `["*"]` for every page. A page
            sends an API key like any other caller. Defaults to none.
        access_log: whether each request writes a line of JSON on stdout; defaults to no.
        traces: whether each request for predictions sends a span of OpenTelemetry to the collector that
            `OTEL_EXPORTER_OTLP_ENDPOINT` names; needs `headrace[otel]`. Defaults to no.
        protocols: serving protocols of your own beside those that every server has, each `"package.module:NAME"` of an
            module of the project or of an installed package; NAME is an object of a subclass of
            `hr.protocols.ServingProtocol`. A deployment loads them as a server will, before it makes the copy that servers
            start from, and puts the project's code that they need into it. Defaults to none.

    Raises:
        DeclarationError: a value that is not possible, an origin that no browser sends, or a protocol that is named twice.

    Example:
        >>> serve = hr.Serve(p95="20ms", log="best_effort", missing="refuse")
        >>> serve.max_body  # bytes
        16777216
        >>> hr.Serve(p95="2s")
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: Serve(p95='2s') is not a latency.
        Write milliseconds: '20ms'.
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
    threads: int = 64
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
        check_whole("Serve", queue=self.queue, concurrency=self.concurrency, threads=self.threads)


@dataclass(frozen=True)
class LoadTest:
    """The load that a server of the model has to bear in the integration test of a commit.

    A few requests show that it answers; the full load of production shows that it keeps its promise, on a machine like
    production's.

    Args:
        requests: how many requests are sent, up to a million; defaults to 200.
        concurrency: how many are under way at the same time, up to 1,000; defaults to 4.
        rows: how many rows each request has; defaults to 1.
        p95: the latency, in milliseconds, that 95 % of the requests must stay under; defaults to none, because the machine of a
            test is seldom the one that serves.
        errors: the share of the requests that may be answered with an error, at least 0 and below 1; defaults to 0.

    Raises:
        DeclarationError: a value that is not possible.

    Example:
        >>> load = hr.LoadTest(requests=2_000, concurrency=16, p95="50ms")
        >>> load.errors
        0.0
    """

    _: KW_ONLY
    requests: int = 200
    concurrency: int = 4
    rows: int = 1
    p95: str | None = None
    errors: float = 0.0

    def __post_init__(self) -> None:
        check_whole("LoadTest", requests=self.requests, concurrency=self.concurrency, rows=self.rows)
        for name, most in (("requests", 1_000_000), ("concurrency", 1_000), ("rows", 10_000)):
            if getattr(self, name) > most:
                raise DeclarationError(f"LoadTest({name}={getattr(self, name)}) is more than {most:,}.")
        if self.p95 is not None:
            check_texts("LoadTest", "Write milliseconds: '20ms'.", p95=self.p95)
            if not LATENCY.fullmatch(self.p95):
                raise DeclarationError(
                    f"LoadTest(p95={self.p95!r}) is not a latency.", hint="Write milliseconds: '20ms'."
                )
        check_numbers("LoadTest", errors=self.errors)
        if not 0 <= self.errors < 1:
            raise DeclarationError(
                f"LoadTest(errors={self.errors}) is no share.", hint="0 for none; 0.001 for one in a thousand."
            )


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
