"""The versions at work, and which of them answers what: an entity stays with its version, on every server."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import orjson

from headrace.scoring.prediction_id import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.serving.manifest import Manifest, Served, Split
    from headrace.serving.version import Serving

WHOLE = 2.0**64


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Never changes, so that it can be replaced in one assignment: a request sees one of them.

    Attributes:
        candidates: each with the upper end of its part of [0, 1); they begin at 0, so that a share that grows keeps its
            entities. The primary has the rest.
        shadows: what is only asked.
    """

    manifest: Manifest
    primary: Serving
    candidates: tuple[tuple[float, Serving], ...] = ()
    shadows: tuple[Served, ...] = ()

    @property
    def split(self) -> Split | None:
        """How traffic is divided; None where the primary answers alone."""
        return self.manifest.split if self.candidates else None

    def versions(self) -> tuple[Serving, ...]:
        """All that answer, the primary first."""
        return (self.primary, *(serving for _, serving in self.candidates))

    def of(self, entity: bytes) -> Serving:
        """The version that answers an entity."""
        if self.manifest.split is None or not self.candidates:
            return self.primary
        place = share(self.manifest.split.salt, entity)
        for end, serving in self.candidates:
            if place < end:
                return serving
        return self.primary


def share(salt: str, entity: bytes) -> float:
    """Where an entity falls in [0, 1); evenly, and elsewhere with another salt."""
    return int.from_bytes(blake2b(entity, digest_size=8, key=blake2b(salt.encode()).digest()).digest()) / WHOLE


def entity(row: Mapping[str, Any], columns: Iterable[str]) -> bytes:
    """The entity of a request's row. A whole number is one entity, with a fraction or without."""
    return orjson.dumps([plain(row.get(name)) for name in columns], default=str)
