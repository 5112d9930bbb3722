"""Identifiers and digests."""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def new_id() -> str:
    """20 hexadecimal characters that sort by the time they were made: 12 of milliseconds, 8 of randomness."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(4).hex()}"


def digest(value: Mapping[str, object] | list[object] | str | bytes) -> str:
    """The first 32 hexadecimal characters of SHA-256 over bytes, text, or canonical JSON (sorted keys, no spaces)."""
    if isinstance(value, bytes):
        data = value
    elif isinstance(value, str):
        data = value.encode()
    else:
        data = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()
    return hashlib.sha256(data).hexdigest()[:32]
