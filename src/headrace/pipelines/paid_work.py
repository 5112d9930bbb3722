"""Journals of what an evaluation pays for: answers and verdicts are on disk as they come, until a version is registered."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.core.errors import BusyError
from headrace.core.ids import digest
from headrace.core.journal import Journal
from headrace.core.locks import hold

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from headrace.core.ids import Json

LOCK = "lock"


@contextmanager
def journal_of(folder: Path, work: Mapping[str, Json]) -> Generator[Journal]:
    """Opens the journal of some work; one at a time in a folder.

    Args:
        folder: of all journals of a model; is made where there is none.
        work: what the results depend on: other work has another journal.

    Raises:
        BusyError: another process has a journal of the folder open.
    """
    of = digest(dict(work))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with hold(folder / LOCK):
            (folder / of).mkdir(exist_ok=True)
            journal = Journal(folder / of, of)
            try:
                yield journal
            finally:
                journal.close()
    except BlockingIOError:
        raise BusyError(
            f"another process keeps answers or verdicts in {str(folder)!r}.",
            hint="Wait until it ends: `headrace runs list` shows it.",
        ) from None


def remove_journal(folder: Path, work: Mapping[str, Json]) -> None:
    """Removes the journal of work whose results are in the run ledger."""
    shutil.rmtree(folder / digest(dict(work)), ignore_errors=True)
