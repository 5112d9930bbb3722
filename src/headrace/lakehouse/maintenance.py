"""Maintenance of a table: restore an earlier version, compact small files, delete files that no version needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltalake.exceptions import CommitFailedError

from headrace.core.errors import RefusedError
from headrace.lakehouse.app_transactions import of_restore
from headrace.lakehouse.commit import recorded
from headrace.lakehouse.commit_info import commit_info
from headrace.lakehouse.retries import attempts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.lakehouse.commit import Commit
    from headrace.lakehouse.write_target import WriteTarget

ORPHANED = 24  # hours after which a file that no version names was left by a writer that died


def restore(target: WriteTarget, version: int) -> Commit:
    """Goes back to an earlier version, in a new version and a new epoch (see `app_transactions`).

    Returns:
        The new version.

    Raises:
        RefusedError: files of the earlier version are gone. Nothing was changed.
        ConflictError: other writers came first for a minute. Nothing was changed.
    """
    for _ in attempts(target.name):
        table = target.place.open()
        if table is None or table.version() == version:
            return recorded(target, version, already=True)
        _check_restorable(target, version)
        latest = table.version()
        try:
            table.restore(version, **commit_info("restore", of_restore(table, version)))
        except CommitFailedError:
            continue
        return recorded(target, latest + 1, already=False)
    raise AssertionError


def optimize(target: WriteTarget) -> int:
    """Rewrites many small files as few large ones.

    Returns:
        How many small files were replaced.

    Raises:
        ConflictError: other writers came first for a minute.
    """
    for _ in attempts(target.name):
        table = target.place.open()
        if table is None:
            return 0
        try:
            return int(table.optimize.compact(**commit_info("optimize"))["numFilesRemoved"])
        except CommitFailedError:
            continue
    raise AssertionError


def vacuum(target: WriteTarget, keep_versions: Sequence[int], retention_hours: int) -> list[str]:
    """Deletes files that only old versions need.

    Args:
        target: the table.
        keep_versions: versions that stay readable, beside the latest.
        retention_hours: versions that were the latest less than this many hours ago stay readable too.

    Returns:
        The paths of the deleted files.

    Raises:
        ConflictError: other writers came first for a minute.
    """
    for _ in attempts(target.name):
        table = target.place.open()
        if table is None:
            return []
        try:
            return table.vacuum(
                retention_hours,
                dry_run=False,
                enforce_retention_duration=False,
                full=retention_hours >= ORPHANED,
                keep_versions=list(keep_versions) or None,
                **commit_info("vacuum"),
            )
        except CommitFailedError:
            continue
    raise AssertionError


def _check_restorable(target: WriteTarget, version: int) -> None:
    """Refuses to go back to a version that lost files to vacuum.

    Raises:
        RefusedError: files are gone.
    """
    gone = target.place.missing(version)
    if gone:
        raise RefusedError(
            f"{target.name}: version {version} cannot be restored: {len(gone)} of its files were vacuumed.",
            findings=gone,
            hint="Nothing was changed. `headrace table history` shows the versions that there are.",
        )
