"""What a session says while a pipeline runs: a line a step, on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from headrace.core.text import visible

if TYPE_CHECKING:
    from headrace.operations.job import Announcement, StepOutcome

MARKS = {"done": "✓", "unchanged": "·"}


def begin(what: Announcement) -> None:
    """Where it runs, and which code."""
    _say(f"{what.env}, from {what.code}")


def step(outcome: StepOutcome[Any]) -> None:
    """What a step did, and how long it took."""
    took = f"{outcome.seconds:.1f} s" if outcome.state == "done" else "unchanged"
    _say(f"  {MARKS[outcome.state]} {outcome.name}: {outcome.summary} ({took})")
    for remark in outcome.remarks:
        _say(f"    {remark}")


def _say(text: str) -> None:
    print(visible(text), file=sys.stderr, flush=True)  # a notebook shows it below the cell
