"""What a pipeline would do, a step a record, for a dry run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """A step that a pipeline would execute.

    Attributes:
        step: its name.
        reads: tables or files. Default: none.
        writes: tables, versions or files. Default: none.
        takes: gates and approvals that it depends on. Default: none.
        runs: `yes`, or why it would not run now. Default: `yes`.
    """

    step: str
    reads: str = ""
    writes: str = ""
    takes: str = ""
    runs: str = "yes"
