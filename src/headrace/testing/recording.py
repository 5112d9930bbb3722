"""What an endpoint remembers of a request."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(kw_only=True)
class RecordedRequest:
    """One request, as it came.

    Attributes:
        method: GET or POST.
        path: the path: `/v1/chat/completions`.
        headers: the headers by their names in small letters, credentials included.
        body: the bytes of the body.
        outcome: `open` while it is being answered, `answered`, `failed` by a fault, or `aborted` by the client.
        deltas: how many pieces of text a stream has sent.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    outcome: Literal["open", "answered", "failed", "aborted"] = "open"
    deltas: int = 0

    @property
    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: it is not JSON.
        """
        return json.loads(self.body)
