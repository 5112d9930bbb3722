"""What kind of body a request says that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.serving.messages import JSON, RefusedRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEADER = b"content-type"
SHOWN = 100  # characters of a header that is told
CHARSETS = (b"utf-8", b"us-ascii")
JSON_TEXT = JSON.decode()


def content_type(headers: Mapping[bytes, bytes], known: Sequence[str]) -> str:
    """The content type of a body, without its parameters and in small letters; JSON where the request does not say it.

    Args:
        headers: of the request.
        known: the content types that are read.

    Raises:
        RefusedRequestError: 415 for another content type, or for a text that is not in UTF-8.
    """
    value = headers.get(HEADER, JSON)
    if value == JSON and JSON_TEXT in known:
        return JSON_TEXT
    kind, *parameters = (each.strip().lower() for each in value.split(b";"))
    charsets = [each.partition(b"=")[2].strip(b'"') for each in parameters if each.startswith(b"charset=")]
    if kind.decode("latin-1") not in known or any(each not in CHARSETS for each in charsets):
        said = value[:SHOWN].decode("latin-1")
        raise RefusedRequestError(
            415,
            f"a body here is {' or '.join(known)}, in UTF-8; its content-type is {said!r}. Send the header "
            f"content-type: {known[0]}",
        )
    return kind.decode("latin-1")
