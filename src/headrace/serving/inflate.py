"""Compressed bodies of requests."""

from __future__ import annotations

import zlib

from headrace.serving.messages import RefusedRequestError, Request

CODED = b"content-encoding"

WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}  # of zlib: with a header of gzip, or of its own


def inflated(request: Request, most: int) -> Request:
    """A copy of a request with its body as it was; for reading only, so that what waits is as small as it came.

    Raises:
        RefusedRequestError: see inflate.
    """
    body = inflate(request.body, request.headers[CODED], most)
    copy = Request(request.method, request.path, request.query, request.headers, body)
    copy.match, copy.seen = request.match, request.seen
    return copy


def inflate(body: bytes, encoding: bytes, most: int) -> bytes:
    """A body as it was before it was compressed.

    Args:
        encoding: by `Content-Encoding`.
        most: bytes that it may have; no more than one beyond are ever made.

    Raises:
        RefusedRequestError: 413 when it has more; 400 when it is not compressed so, or not whole; 415 for another encoding.
    """
    encoding = encoding.lower()
    if encoding == b"identity":
        return body
    if encoding not in WINDOWS:
        raise RefusedRequestError(415, "a body may be compressed with gzip or deflate only.")
    inflater = zlib.decompressobj(WINDOWS[encoding])
    try:
        found = inflater.decompress(body, most + 1)
    except zlib.error:
        raise RefusedRequestError(400, "the body is not compressed as content-encoding says.") from None
    if len(found) > most:
        raise RefusedRequestError(413, f"a body may have {most} bytes when it is inflated.")
    if not inflater.eof or inflater.unused_data:
        raise RefusedRequestError(400, "the compressed body is not whole, or something comes after it.")
    return found
