"""Identifiers and digests."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from datetime import date, timedelta
from datetime import time as clock_time
from decimal import Decimal
from pathlib import PurePath
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Sequence

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def new_id() -> str:
    """20 hexadecimal characters that sort by the time they were made: 12 of milliseconds, 8 of randomness."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(4).hex()}"


def digest(value: Mapping[str, object] | Sequence[object] | str | bytes) -> str:
    """The first 32 hexadecimal characters of SHA-256 over bytes, text, or canonical JSON (sorted keys, no spaces).

    Within JSON: sets in the order of their members' JSON; dates and times in ISO 8601; bytes in hexadecimal; paths,
    decimals, durations and UUIDs as their text.

    Raises:
        TypeError: a value whose text may differ from process to process, such as a function or any other object.
    """
    if isinstance(value, bytes):
        data = value
    elif isinstance(value, str):
        data = value.encode()
    else:
        data = canonical(value).encode()
    return hashlib.sha256(data).hexdigest()[:32]


def canonical(value: object) -> str:
    """The JSON that a digest is made of: sorted keys, no spaces; see `digest`."""
    return CANONICAL(value)


def _plain(value: object) -> object:
    if isinstance(value, date | clock_time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=canonical)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, PurePath | Decimal | timedelta | UUID):
        return str(value)
    raise TypeError(f"{value!r} has no fixed text to make a digest of: give plain values.")


CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_plain).encode
