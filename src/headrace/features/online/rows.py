"""Full rows from what a request says and what the online store knows: the point-in-time join of one moment."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.core.clock import now
from headrace.core.errors import DataError
from headrace.features.online.packing import Packing, key, microseconds, moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.features.online.base import OnlineStore, OnlineTable
    from headrace.features.plan import FeaturePlan, LookUp

SECOND = 1_000_000


class OnlineFeatures:
    """Completes requests. What a table looks like is read again when it was published anew.

    Args:
        store: where features are.
        plan: of the model.
    """

    def __init__(self, store: OnlineStore, plan: FeaturePlan) -> None:
        self.store, self.plan = store, plan
        needed = dict.fromkeys(
            (*plan.keys, *plan.spine_columns, *(name for lookup in plan.lookups for _, name in lookup.on))
        )
        self.needed = tuple(needed)

    def full_rows(self, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The plan's inputs, the keys and the moment, for each request.

        A request gives the spine's key, the columns of the spine that are features or that look-ups go by, and, unless it
        is now, the moment. A row that is not there, or older than its look-back, leaves None.

        Raises:
            DataError: a column is missing or not of its type, or a table was never published. Says which row.
        """
        moments = [self._moment(place, request) for place, request in enumerate(requests)]
        rows = [
            {**{name: request[name] for name in self.needed}, self.plan.at: at}
            for request, at in zip(requests, moments, strict=True)
        ]
        for lookup in self.plan.lookups:
            self._look_up(lookup, requests, [microseconds(at) for at in moments], rows)
        return rows

    def _moment(self, place: int, request: Mapping[str, Any]) -> datetime:
        absent = [name for name in self.needed if name not in request]
        if absent:
            raise DataError(f"row {place}: {absent[0]!r} is missing.")
        given = request.get(self.plan.at)
        if given is None:
            return now()
        if isinstance(given, str):
            return moment(given, self.plan.at)
        if isinstance(given, datetime):
            return given
        raise DataError(f"row {place}: {self.plan.at!r} is no time in ISO 8601.")

    def _look_up(
        self, lookup: LookUp, requests: Sequence[Mapping[str, Any]], at: Sequence[int], rows: list[dict[str, Any]]
    ) -> None:
        table = self.store.table(lookup.table)
        if table is None:
            raise DataError(f"features of {lookup.table!r} were never published.", hint="headrace run publish")
        keys = [_key(table, lookup, place, request) for place, request in enumerate(requests)]
        wanted = list(dict.fromkeys(known for known in keys if known is not None))
        found = dict(zip(wanted, self.store.read(lookup.table, wanted), strict=True))
        packing = Packing(table.columns)
        places = [(packing.names.index(column), name) for column, name in lookup.columns]
        oldest = None if lookup.look_back is None else round(lookup.look_back * SECOND)
        for row, known, moment_asked in zip(rows, keys, at, strict=True):
            there = found.get(known) if known is not None else None
            if (
                there is None
                or there.time > moment_asked
                or (oldest is not None and there.time < moment_asked - oldest)
            ):
                row.update((name, None) for _, name in places)
            else:
                values = packing.unpack(there.packed)
                row.update((name, values[place]) for place, name in places)


def _key(table: OnlineTable, lookup: LookUp, place: int, request: Mapping[str, Any]) -> bytes | None:
    spine = dict(lookup.on)
    try:
        return key(table.keys, [request[spine[name]] for name, _ in table.keys])
    except DataError as error:
        raise DataError(f"row {place}: {error.what}") from None
