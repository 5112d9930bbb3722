"""What a caller sends about a request: its own id, and the trace that it belongs to. Both are returned and logged."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_ID, TRACE = b"x-request-id", b"traceparent"
SAYABLE = re.compile(rb"[!-~]{1,128}")
# https://www.w3.org/TR/trace-context: a version of ff and ids of zeros only are none
TRACED = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def said(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """`request` and `trace`, as far as they are there and well formed: what is not is left out, as the standard of traces asks."""
    if REQUEST_ID not in headers and TRACE not in headers:
        return {}
    found = {
        "request": SAYABLE.fullmatch(headers.get(REQUEST_ID, b"")),
        "trace": TRACED.fullmatch(headers.get(TRACE, b"")),
    }
    return {name: match[0].decode() for name, match in found.items() if match is not None}


def lines(headers: Mapping[bytes, bytes]) -> bytes:
    """The lines of an answer's head that give both back."""
    if not (told := said(headers)):
        return b""
    names = {"request": "x-request-id", "trace": "traceparent"}
    return "".join([f"{names[each]}: {text}\r\n" for each, text in told.items()]).encode()
