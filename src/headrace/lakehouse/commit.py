"""The one writer: each change is committed to a Delta table exactly once, however often it is tried.

A commit has an id. The id is written as a Delta app transaction in the same version as the rows (`app_transactions`),
and looked up before anything is computed. That alone is not enough: delta-rs would move a losing writer's rows onto the
winner's version, which may already contain the same id or the same keys. So delta-rs's own retries are off, and a
writer that lost starts again by loading the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import MovedError
from headrace.core.failpoints import reach
from headrace.lakehouse import log
from headrace.lakehouse.app_transactions import done_at, reached
from headrace.lakehouse.attempt import Attempt
from headrace.lakehouse.retries import attempts
from headrace.lakehouse.write_target import is_unborn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.write_target import WriteTarget
    from headrace.lakehouse.writes import Change


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A change that is in the table.

    Attributes:
        name: the table.
        version: the version that the change made; where there was nothing to change, the latest one, or -1 without any.
        data_version: the last version up to that one which changed rows or columns.
        rows_written: how many rows were added or replaced; deleted ones do not count.
        already: whether the change had been made before, by an earlier run or another process, so that nothing was
            computed. Defaults to False.
        widened: the columns whose type this version widened, in words. Defaults to none.
    """

    name: str
    version: int
    data_version: int
    rows_written: int
    already: bool = False
    widened: tuple[str, ...] = ()


def commit(
    target: WriteTarget,
    id: str,  # noqa: A002 - the id of the commit; every caller has one
    change: Callable[[Snapshot | None], Change | None],
    *,
    n: int = 1,
    properties: Mapping[str, str] | None = None,
) -> Commit:
    """Makes a change exactly once.

    Args:
        target: the table.
        id: what makes the change the same change when it is tried again.
        change: computes the change from the latest snapshot (None: there is no such table yet). It is called again, on
            the snapshot that is the latest by then, each time another writer came first. When it returns None, no version
            is made and the id stays unused.
        n: for an id whose number grows (a spool's segment, a partition's offset): the change counts as made if the table
            holds n or more. Defaults to 1.
        properties: table properties, `headrace.…`, that hold from this change on. Defaults to none.

    Returns:
        The version that holds the change.

    Raises:
        DataError: the rows do not fit the table. Nothing was written.
        ConflictError: other writers came first for a minute. Nothing was written.
    """
    for _ in attempts(target.name):
        base = target.place.open()
        if base is not None and (done := done_at(target.place, base, id, n)) is not None:
            return recorded(target, done, already=True)
        current = None if base is None or is_unborn(base) else target.of(base)
        write = change(current)
        if write is None:
            return _unchanged(target, current)
        merged = {**(properties or {}), **write.properties}
        attempt = Attempt(target=target, id=id, numbers={id: n}, properties=merged, base=base, current=current)
        version = attempt.write(write)
        if version is not None:
            reach(f"commit.committed:{target.name}")
            return recorded(target, version, already=False)
    raise AssertionError  # `attempts` ends by raising


def advance(
    target: WriteTarget,
    id: str,  # noqa: A002 - as above
    change: Callable[[Snapshot | None], Change],
    offsets: Mapping[str, tuple[int | None, int]],
) -> Commit:
    """Makes a change exactly once that was computed from a range of each of several inputs, such as partitions of a topic.

    The offset that each input has reached is kept in the same version as the rows. `commit` checks whether the change has
    been made; `advance` checks that each range begins where the last one ended, for otherwise rows would be lost or doubled.

    Args:
        target: the table.
        id: what the commit is called in the log.
        change: computes the change, as for `commit`.
        offsets: for each id of an input the offset at which its range begins, None before the first one, and the offset
            at which it ends. If every range is empty, it cannot be known whether the change was made before.

    Returns:
        The version that holds the change.

    Raises:
        MovedError: an input has reached another offset meanwhile. Nothing was written.
        DataError: the rows do not fit the table. Nothing was written.
        ConflictError: other writers came first for a minute. Nothing was written.
    """
    assert offsets
    starts = {name: start for name, (start, _) in offsets.items()}
    ends = {name: end for name, (_, end) in offsets.items()}
    for _ in attempts(target.name):
        base = target.place.open()
        offset = dict.fromkeys(offsets) if base is None else reached(target.place, base, offsets)
        if base is not None and offset == ends != starts:  # an attempt that looked as if it had failed
            return recorded(target, base.version(), already=True)
        for name, start in starts.items():
            if offset[name] != start:
                raise MovedError(
                    f"{target.name}: {name} has come to {offset[name]}, and this change begins at {start}.",
                    hint="Another worker has taken it over. Nothing was written; it is read again from there.",
                )
        current = None if base is None or is_unborn(base) else target.of(base)
        write = change(current)
        attempt = Attempt(target=target, id=id, numbers=ends, properties=write.properties, base=base, current=current)
        version = attempt.write(write)
        if version is not None:
            reach(f"commit.committed:{target.name}")
            return recorded(target, version, already=False)
    raise AssertionError


def recorded(target: WriteTarget, version: int, *, already: bool) -> Commit:
    """Returns the record of a version, as the table's log has it.

    Args:
        target: the table.
        version: the version.
        already: whether the change had been made before.
    """
    entry = log.entry(target.place, version)
    return Commit(
        name=target.name,
        version=version,
        data_version=log.data_version(target.place, version),
        rows_written=0 if entry is None else entry.rows_written,
        already=already,
        widened=() if entry is None else entry.widened,
    )


def _unchanged(target: WriteTarget, current: Snapshot | None) -> Commit:
    version = -1 if current is None else current.version
    data_version = -1 if current is None else current.data_version
    return Commit(name=target.name, version=version, data_version=data_version, rows_written=0)
