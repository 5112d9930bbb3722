"""Division of traffic between the loaded versions: an entity stays with its version, on every server.

Rows without an entity are not one big entity: a row whose entity is missing is assigned by its decision, and one
without a decision by its request. The log records by what each row was assigned.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from headrace.core.errors import HeadraceError
from headrace.features.keys import EXACT_FLOAT
from headrace.scoring.prediction_id import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.serving.manifest import Manifest, Served, ServedSplit
    from headrace.serving.messages import Request
    from headrace.serving.version import Serving

WHOLE = 2.0**64
ENTITY = b"x-headrace-entity"
USER = "user"  # names the person where a model is called as OpenAI's are: a field of its requests that is no input
MISSING = frozenset({"", "nan", "nat", "none", "null", "<na>", "undefined"})  # how callers write that there is nothing

By = Literal["entity", "decision", "request"]


class Unit(NamedTuple):
    """What one version answers as a whole.

    Attributes:
        by: what it is: an entity, a decision, or a request.
        name: which one.
    """

    by: By
    name: bytes


class Assigned(NamedTuple):
    """A unit as it is logged.

    Attributes:
        by: what it is.
        digest: of it, with the salt; the same for all its rows while the salt stays.
    """

    by: By
    digest: str


@dataclass(frozen=True, kw_only=True)
class ServedTraffic:
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
    def split(self) -> ServedSplit | None:
        """How traffic is divided; None where the primary answers alone."""
        return self.manifest.split if self.candidates else None

    def versions(self) -> tuple[Serving, ...]:
        """All that answer, the primary first."""
        return (self.primary, *(serving for _, serving in self.candidates))

    def published(self) -> dict[str, str] | None:
        """Table that is looked up → when it was published; None when the store cannot be read."""
        try:
            return {name: at.isoformat() for name, at in self.primary.features.published().items()}
        except (HeadraceError, OSError):
            return None

    def of(self, unit: Unit) -> tuple[Serving, Assigned | None]:
        """The version that answers a unit, and what is logged of that; None where nothing is divided."""
        if self.manifest.split is None or not self.candidates:
            return self.primary, None
        digest = _digest(self.manifest.split.salt, unit.name)
        place, assigned = int.from_bytes(digest) / WHOLE, Assigned(unit.by, digest.hex())
        for end, serving in self.candidates:
            if place < end:
                return serving, assigned
        return self.primary, assigned


def share(salt: str, name: bytes) -> float:
    """Where a unit falls in [0, 1); evenly, and elsewhere with another salt."""
    return int.from_bytes(_digest(salt, name)) / WHOLE


def _digest(salt: str, name: bytes) -> bytes:
    return blake2b(name, digest_size=8, key=blake2b(salt.encode()).digest()).digest()


def unit(row: Mapping[str, Any], by: Iterable[str], keys: Iterable[str], request: str) -> Unit:
    """What a row is divided by.

    Args:
        row: as it was asked, with the key in its declared types.
        by: the columns that name the entity; none for the key.
        keys: the columns of the key.
        request: names the row of the request, for one that says neither an entity nor its key.
    """
    if named := entity(row, by):
        return Unit("entity", named)
    if decided := entity(row, keys):
        return Unit("decision", decided)
    return Unit("request", request.encode())


def entity(row: Mapping[str, Any], columns: Iterable[str]) -> bytes | None:
    """What some columns of a row name; None where one of them is missing, null, empty or no plain value.

    A whole number is one entity, with a fraction or without, and a text is one in whatever form of Unicode; a number and
    its text are two.
    """
    values = [_value(row.get(name)) for name in columns]
    return orjson.dumps(values, default=str) if values and None not in values else None


def named(header: bytes | None, request: str) -> Unit:
    """What full rows are divided by: the entity that their header names, the same as that text in a row; else the request."""
    if header:
        try:
            text = header.decode()
        except UnicodeDecodeError:
            text = header.decode("latin-1")
        if found := entity({"": text}, [""]):
            return Unit("entity", found)
    return Unit("request", request.encode())


def _value(value: object) -> object:
    if isinstance(value, str):
        text = value.strip()
        return None if text.casefold() in MISSING else unicodedata.normalize("NFC", text)
    if isinstance(value, float):
        if value - value != 0:  # NaN and the infinities
            return None
        return plain(value) if abs(value) < EXACT_FLOAT else value
    return plain(value) if isinstance(value, int | date | Decimal) else None


def assigned(traffic: ServedTraffic, request: Request, number: str) -> tuple[Serving, list[Assigned] | None]:
    """The version that answers all rows of a request, by the entity in its header `x-headrace-entity`, or else by its id.

    Args:
        traffic: the versions at work, as `ServingProtocol.read` gets them.
        request: with its headers.
        number: the id of the request.

    Returns:
        The version, and what the log keeps of the assignment, for `RequestPart(serving, rows, divided=…)`: None while traffic is
        not divided.

    Example:
        `traffic` is divided between version 1 and a candidate, version 2. A customer stays with a version, whatever the request:

        >>> request = hr.protocols.Request("POST", "/rows", "", {b"x-headrace-entity": b"customer 7"})
        >>> [hr.protocols.assigned(traffic, request, number)[0].number for number in ("r-1", "r-2", "r-3")]
        ['2', '2', '2']
    """
    if not traffic.candidates:
        return traffic.primary, None
    serving, divided = traffic.of(named(request.headers.get(ENTITY), number))
    return serving, None if divided is None else [divided]
