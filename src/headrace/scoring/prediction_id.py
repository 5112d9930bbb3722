"""The id of a prediction: one decision scored by one version has the same one on every path."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from headrace.core.ids import digest

if TYPE_CHECKING:
    from collections.abc import Iterable


def prediction_id(model: str, version: int, key: Iterable[object], at: object) -> str:
    """A digest of model, version, the decision's key and its moment (UTC where it has no zone)."""
    return digest([model, version, *map(plain, key), plain(at)])


def plain(value: object) -> object:
    """An instant in UTC, a whole number without a fraction: as a table gives it and as a request may."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
