"""The commits of a table: Delta app transactions that are written in the same version as the rows.

The number of a commit's transaction is kept per *epoch*. Restoring an older version takes rows away but not app
transactions, so each restore begins a new epoch and records which version it went back to. A commit counts as done if
its id is found in the present epoch, or in the restored version by the same rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltalake import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from deltalake import DeltaTable

    from headrace.lakehouse.storage import Place

EPOCH = "headrace.epoch"


def reached(place: Place, table: DeltaTable, ids: Iterable[str]) -> dict[str, int | None]:
    """Returns the number that each id has come to, of the changes that are still in the table; None if there is none."""
    epoch = _epoch(table)
    found = {each: table.transaction_version(f"headrace.n.{epoch}.{each}") for each in ids}
    missing = [each for each, number in found.items() if number is None]
    return found | reached(place, _restored(place, table, epoch), missing) if missing and epoch else found


def done_at(place: Place, table: DeltaTable, id: str, n: int) -> int | None:  # noqa: A002
    """Returns the version that made a change, if the change is still in the table; else None."""
    while True:
        epoch = _epoch(table)
        number = table.transaction_version(f"headrace.n.{epoch}.{id}")
        if number is not None and number >= n:
            return table.transaction_version(f"headrace.at.{epoch}.{id}")
        if epoch == 0:
            return None
        table = _restored(place, table, epoch)


def of_commit(table: DeltaTable, numbers: Mapping[str, int], version: int) -> list[Transaction]:
    """Returns what a commit writes beside its rows.

    Args:
        table: the version that it is written on.
        numbers: for each id the number that it comes to.
        version: the version that the commit makes.
    """
    epoch = _epoch(table)
    return [
        Transaction(f"headrace.{what}.{epoch}.{id}", number)
        for id, n in numbers.items()  # noqa: A001
        for what, number in (("n", n), ("at", version))
    ]


def of_restore(table: DeltaTable, version: int) -> list[Transaction]:
    """Returns what a restore of a version writes: it begins the next epoch."""
    epoch = _epoch(table) + 1
    return [Transaction(EPOCH, epoch), Transaction(f"headrace.restored.{epoch}", version)]


def _restored(place: Place, table: DeltaTable, epoch: int) -> DeltaTable:
    """The version that an epoch went back to."""
    restored = place.open(table.transaction_version(f"headrace.restored.{epoch}"))
    assert restored is not None
    return restored


def _epoch(table: DeltaTable) -> int:
    """How often the table was restored."""
    return table.transaction_version(EPOCH) or 0
