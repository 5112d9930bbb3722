"""Runs of pipelines: `session.runs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.operations import runs
from headrace.session.listing import Listing
from headrace.session.markup import records

if TYPE_CHECKING:
    from headrace.operations.operation import At


class Runs:
    """Runs of pipelines, by id."""

    def __init__(self, at: At) -> None:
        self._at = at

    def list(self, *, limit: int = runs.LIMIT) -> Listing[runs.RunSummary]:
        """The latest runs, the latest first.

        Args:
            limit: how many.
        """
        return Listing(runs.list_runs(self._at, limit=limit).runs)

    def __getitem__(self, run: str) -> runs.RunDetails:
        """A run with its steps, by its id or the beginning of it; NotFoundError names the latest ones."""
        return runs.show_run(self._at, str(run))

    def __repr__(self) -> str:
        """Where to begin."""
        return "<runs: .list(), [id]>"

    def _repr_html_(self) -> str:
        """The latest ones."""
        return records(self.list())
