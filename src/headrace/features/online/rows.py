"""Full rows from a request and the online store: the point-in-time join of one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.core.clock import now
from headrace.core.errors import ConflictError, DataError, UnavailableError
from headrace.features.keys import MICROSECOND, instant_of, microseconds, moment
from headrace.features.online.packing import Packing, key

if TYPE_CHECKING:
    from collections.abc import Callable, KeysView, Mapping, Sequence

    from headrace.features.online.base import OnlineRow, OnlineStore, OnlineTable
    from headrace.features.online.packing import Value
    from headrace.features.plan import FeatureLookup, FeaturePlan

Seen = dict[str, int | None]
ATTEMPTS = 100  # each that fails, a publication came in between


@dataclass(frozen=True, kw_only=True)
class _FeatureLookup:
    """A look-up, made ready for a table as it was published.

    Attributes:
        on: columns of the request, in the order of the table's key.
        name: of the table; where it is looked up several times, also by what.
        names: in the full row.
        take: their values, out of a packed row.
        reach: how old a row may be, in microseconds; None for any age.
    """

    on: tuple[str, ...]
    name: str
    names: tuple[str, ...]
    take: Callable[[bytes], list[Value]]
    reach: int | None


class OnlineFeatures:
    """Completes requests, with the values that the point-in-time join of `features.rows` finds.

    What a store holds is the latest row of each key as of its last publication, so for a decision before that moment a
    row may be missing (and is None), but never one from the future there.

    Args:
        store: where features are.
        plan: of the model.
    """

    def __init__(self, store: OnlineStore, plan: FeaturePlan) -> None:
        self.store, self.plan = store, plan
        self.is_local = store.is_local
        needed = dict.fromkeys(
            (*plan.keys, *plan.spine_columns, *(name for lookup in plan.lookups for _, name in lookup.on))
        )
        needed.pop(plan.at, None)  # it has a default
        self.needed = tuple(needed)
        self._takes = {*needed, plan.at}
        kinds = {**{column.name: column.kind for column in plan.inputs}, **dict(plan.key_columns)}
        self._local = kinds.get(plan.at) == "timestamp"
        self._tables: dict[str, list[FeatureLookup]] = {}
        for lookup in plan.lookups:
            self._tables.setdefault(lookup.table, []).append(lookup)
        self._ready: dict[str, tuple[OnlineTable, list[_FeatureLookup]]] = {}

    def full_rows(
        self,
        requests: Sequence[Mapping[str, Any]],
        *,
        seen: Sequence[Seen] | None = None,
        tables: dict[str, tuple[int, int]] | None = None,
    ) -> list[dict[str, Any]]:
        """The plan's inputs, the keys and the moment (UTC), for each request.

        A request gives the spine's key, the columns of the spine that are features or that look-ups go by, and, unless it
        is now, the moment. A row that is not there, or older than its look-back, leaves None; so does a null in a key.

        Args:
            requests: what is known of each decision.
            seen: a dictionary for each request, into which goes when the row that each look-up found had become available,
                in microseconds since 1970; None where it found none.
            tables: into which goes the publication that was read of each table: its version, and as of which moment.

        Raises:
            DataError: a column is missing or not of its type (says which row), or a table was never published.
        """
        rows = [self._given(place, request) for place, request in enumerate(requests)]
        at = [microseconds(row[self.plan.at]) for row in rows]
        for name, lookups in self._tables.items():
            table = self._look_up(name, lookups, at, rows, seen)
            if tables is not None:
                tables[name] = table.data_version, table.as_of
        return rows

    @property
    def tables(self) -> KeysView[str]:
        """Those that are looked up."""
        return self._tables.keys()

    def published(self) -> dict[str, datetime]:
        """Table → the moment as of which its rows were published; a table that never was is left out."""
        found = {name: self.store.table(name) for name in self._tables}
        return {name: instant_of(table.as_of) for name, table in found.items() if table is not None}

    def versions(self) -> dict[str, int]:
        """Table → the version of it that the rows were published from which were read last."""
        return {name: table.data_version for name, (table, _) in self._ready.items()}

    def behind(self) -> list[str]:
        """Tables that a request of now would find nothing in: never published, or longer ago than their look-back."""
        there, found = self.published(), list[str]()
        for name, lookups in self._tables.items():
            reach = [timedelta(seconds=lookup.look_back) for lookup in lookups if lookup.look_back is not None]
            if name not in there or (reach and there[name] < now() - max(reach)):
                found.append(name)
        return found

    def _given(self, place: int, request: Mapping[str, Any]) -> dict[str, Any]:
        """What a request says itself."""
        for name in self.needed:
            if name not in request:
                raise DataError(f"row {place}: {name!r} is missing.")
        if not self._takes.issuperset(request):
            stray = next(name for name in request if name not in self._takes)
            raise DataError(f"row {place}: {stray!r} is not an input of this model.")
        for name in self.plan.keys:
            if name != self.plan.at and request[name] is None:
                raise DataError(f"row {place}: {name!r} is null: a decision is known by its key.")
        given = request.get(self.plan.at)
        try:
            at = now() if given is None else moment(given, self.plan.at)
        except DataError as error:
            raise DataError(f"row {place}: {error.what}") from None
        return {
            **{name: request[name] for name in self.needed},
            self.plan.at: at.replace(tzinfo=None) if self._local else at,
        }

    def _look_up(
        self,
        name: str,
        lookups: Sequence[FeatureLookup],
        at: Sequence[int],
        rows: list[dict[str, Any]],
        seen: Sequence[Seen] | None,
    ) -> OnlineTable:
        """Adds what all look-ups in one table find, out of one publication; gives which that was."""
        for _ in range(ATTEMPTS):
            table = self._described(name)
            ready = self._made_ready(name, table, lookups)
            keys = [[_key(table, lookup, place, row) for place, row in enumerate(rows)] for lookup in ready]
            wanted = list(dict.fromkeys(known for each in keys for known in each if known is not None))
            there = self.store.read_of(name, table, wanted) if wanted else []
            if there is not None:
                break
            self._ready.pop(name, None)
        else:
            raise ConflictError(f"{name!r} is published again and again; no row could be read in between.")
        found: dict[bytes | None, OnlineRow | None] = dict(zip(wanted, there, strict=True))
        for lookup, known in zip(ready, keys, strict=True):
            nothing = dict.fromkeys(lookup.names)
            for place, (row, moment_asked, each) in enumerate(zip(rows, at, known, strict=True)):
                one = found.get(each)
                if one is None or not _is_fresh(one.time, moment_asked, lookup.reach):
                    row.update(nothing)
                    if seen is not None:
                        seen[place][lookup.name] = None
                else:
                    row.update(zip(lookup.names, lookup.take(one.packed), strict=True))
                    if seen is not None:
                        seen[place][lookup.name] = one.time
        return table

    def _described(self, name: str) -> OnlineTable:
        """The publication that was there last: whether it still is, the store says when it is read."""
        if name in self._ready:
            return self._ready[name][0]
        table = self.store.table(name)
        if table is None:
            raise UnavailableError(f"features of {name!r} were never published.", hint="headrace run publish")
        return table

    def _made_ready(self, name: str, table: OnlineTable, lookups: Sequence[FeatureLookup]) -> list[_FeatureLookup]:
        known = self._ready.get(name)
        if known is not None and known[0] is table:
            return known[1]
        packing = Packing(table.columns)
        ready = [_ready(table, packing, lookup, alone=len(lookups) == 1) for lookup in lookups]
        self._ready[name] = (table, ready)
        return ready


def _ready(table: OnlineTable, packing: Packing, lookup: FeatureLookup, *, alone: bool) -> _FeatureLookup:
    spine = dict(lookup.on)
    if set(spine) != {name for name, _ in table.keys}:
        raise UnavailableError(
            f"{lookup.table!r} is looked up by {', '.join(spine)}, and was published by {', '.join(name for name, _ in table.keys)}.",
            hint="Its key has changed since the model was trained: train and deploy it again.",
        )
    try:
        take = packing.taking([theirs for theirs, _ in lookup.columns])
    except DataError as error:
        raise UnavailableError(
            f"{lookup.table!r}: {error.what}",
            hint="It has changed since the model was trained: train and deploy again.",
        ) from None
    return _FeatureLookup(
        on=tuple(spine[name] for name, _ in table.keys),
        name=lookup.table if alone else f"{lookup.table} by {', '.join(spine.values())}",
        names=tuple(ours for _, ours in lookup.columns),
        take=take,
        reach=None if lookup.look_back is None else timedelta(seconds=lookup.look_back) // MICROSECOND,
    )


def _is_fresh(time: int, at: int, reach: int | None) -> bool:
    return time <= at and (reach is None or time >= at - reach)


def _key(table: OnlineTable, lookup: _FeatureLookup, place: int, row: Mapping[str, Any]) -> bytes | None:
    try:
        return key(table.keys, [row[name] for name in lookup.on])
    except DataError as error:
        raise DataError(f"row {place}: {error.what}") from None
