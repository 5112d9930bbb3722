"""The observers of a server's requests: those of its options always, and those that the loaded version declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.serving.access_log import AccessLog
    from headrace.serving.declarations import Serve
    from headrace.serving.metrics import Counters
    from headrace.serving.observer import Observer
    from headrace.serving.tracing import Tracing


class Observers:
    """The access log and traces of a process; neither is imported before it is wanted.

    Args:
        counters: of the process.
        name: of the process.
        access_log: always, whatever a version declares.
        traces: always, whatever a version declares.
        secure: requests come by HTTPS.
    """

    def __init__(
        self, counters: Counters, name: str, *, access_log: bool = False, traces: bool = False, secure: bool = False
    ) -> None:
        self._counters, self._name, self._secure = counters, name, secure
        self._always = access_log, traces
        self._access_log: AccessLog | None = None
        self._tracing: Tracing | None = None

    def prepare(self, serve: Serve | None) -> None:
        """Makes those that are wanted next; those at work stay. It may take a moment.

        Args:
            serve: what the next version declares; None before there is one.

        Raises:
            ConfigError: traces cannot be sent as variables say.
            MissingExtraError: OpenTelemetry is not installed.
        """
        access_log, traces = self._wanted(serve)
        if traces and self._tracing is None:
            from headrace.serving.tracing import Tracing

            self._tracing = Tracing(self._name, secure=self._secure)
        if access_log and self._access_log is None:
            from headrace.serving.access_log import AccessLog

            self._access_log = AccessLog(self._counters)

    def at(self, serve: Serve | None) -> tuple[Observer, ...]:
        """Those for what a version declares, which `prepare` was told of before."""
        both = zip((self._access_log, self._tracing), self._wanted(serve), strict=True)
        return tuple(each for each, wanted in both if wanted and each is not None)

    def end(self) -> None:
        """What they have not written yet, within two seconds."""
        for each in (self._access_log, self._tracing):
            if each is not None:
                each.end()

    def _wanted(self, serve: Serve | None) -> tuple[bool, bool]:
        access_log, traces = self._always
        return (access_log, traces) if serve is None else (access_log or serve.access_log, traces or serve.traces)
