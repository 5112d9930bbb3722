"""Heads of requests that were parsed before: a caller who keeps a connection sends the same bytes again and again.

A head says the same each time: it is parsed once, and then found by its bytes. Only heads are kept whose whole request came
in one piece, was let in, and had a body of a known length; nothing of its body is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from headrace.serving.caller import REQUEST_ID, TRACE
from headrace.serving.limits import SMALL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.serving.messages import Request

END = b"\r\n\r\n"
LONGEST = 2**11  # bytes of a head that is kept
MOST = 256  # heads
# what a connection decides on before the body comes, and what differs from request to request
OTHERS = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"content-encoding", REQUEST_ID, TRACE))


class Head(NamedTuple):
    """A head as it was parsed.

    Attributes:
        url: as it was sent.
        length: bytes of the body.
        start: of the body.
    """

    method: str
    url: bytes
    path: str
    query: str
    headers: Mapping[bytes, bytes]
    version: str
    length: int
    start: int


class KnownHeads:
    """The heads of a listener, by their bytes."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def find(self, data: bytes) -> Head | None:
        """The head of a request that is all of `data`; None where it is not known, or something is missing or left over."""
        start = data.find(END, 0, LONGEST) + len(END)
        head = self._known.get(data[:start])
        return head if head is not None and len(data) - start == head.length else None

    def keep(self, data: bytes, url: bytes, request: Request) -> None:
        """Remembers a head, where it may be used again.

        Args:
            data: in which the request came, from its first byte on.
            url: of the request.
            request: that was parsed of it, with its body, on a connection that stays open.
        """
        start = data.find(END, 0, LONGEST) + len(END)
        length = len(request.body)
        # a head that ended elsewhere than here had another length than what is left
        if len(data) - start != length or length > SMALL or not OTHERS.isdisjoint(request.headers):
            return
        if request.headers.get(b"content-length") != b"%d" % length:
            return
        if len(self._known) >= MOST:  # what strangers ask does not grow it
            self._known.clear()
        headers = dict(request.headers)  # whoever has the request may change its own
        self._known[data[:start]] = Head(
            request.method, url, request.path, request.query, headers, request.version, length, start
        )
