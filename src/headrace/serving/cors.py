"""Cross-origin resource sharing: the origins whose pages may read answers in a browser (https://fetch.spec.whatwg.org).

Credentials are not allowed: a page sends its API key itself, in `authorization`, and cookies have no meaning here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.serving.messages import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.serving.messages import Request

ORIGIN, METHOD = b"origin", b"access-control-request-method"
ANY = "*"
VARY = b"vary: Origin\r\n"
EXPOSED = (
    b"access-control-expose-headers: inference-header-content-length, retry-after, traceparent, x-headrace-request, "
    b"x-headrace-version, x-request-id\r\n"
)
ALLOWED = (
    b"access-control-allow-methods: GET, HEAD, POST\r\n"
    b"access-control-allow-headers: authorization, content-encoding, content-type, inference-header-content-length, "
    b"traceparent, tracestate, x-headrace-entity, x-request-id\r\n"
    b"access-control-max-age: 600\r\n"
)


class Cors:
    """The lines of answers by which browsers let pages of some origins read them.

    Args:
        origins: as `Serve(cors=…)` declares them.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        self.origins = tuple(origins)
        every = ANY in self.origins
        self._other = b"" if every else VARY  # what a cache keeps for one origin is not for another
        self._any = b"access-control-allow-origin: *\r\n" + EXPOSED if every else None
        self._of = {
            each.encode(): b"access-control-allow-origin: %b\r\n%b%b" % (each.encode(), EXPOSED, VARY)
            for each in self.origins
        }

    def lines(self, headers: Mapping[bytes, bytes]) -> bytes:
        """The lines for an answer to a request, whatever its status."""
        origin = headers.get(ORIGIN)
        if origin is not None and self._any is not None:
            return self._any
        return self._other if origin is None else self._of.get(origin, self._other)

    def preflight(self, request: Request) -> Answer | None:
        """The answer to a browser that asks beforehand, which shows no token; None for any other request."""
        headers = request.headers
        if request.method != "OPTIONS" or METHOD not in headers or ORIGIN not in headers:
            return None
        if self._any is None and headers[ORIGIN] not in self._of:
            return None
        return Answer(200, b"", b"text/plain", ALLOWED)
