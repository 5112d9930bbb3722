"""What a session says while a pipeline runs, on stderr: a line a step, and below them a bar of how far it is.

The bar is drawn where a line can be drawn again (a terminal, a notebook), from the second second on.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from headrace.core.text import visible

if TYPE_CHECKING:
    from headrace.operations.job import Announcement, StepOutcome
    from headrace.operations.score import Progress

MARKS = {"done": "✓", "unchanged": "·"}
WIDTH = 20  # characters of a bar
PATIENCE = 1.0  # seconds before a bar is drawn
SELDOM = 10.0  # seconds between two lines of progress where no bar can be drawn
CLEAR = "\r\x1b[K"


class ProgressReporter:
    """Tells how far one run is."""

    def __init__(self) -> None:
        self._total, self._ended = 0, 0  # steps; 0: nobody knows how many there are
        self._began = self._said = time.monotonic()
        self._moving = False  # the last line is a bar
        self._redraws = sys.stderr.isatty() or "ipykernel" in sys.modules

    def begin(self, what: Announcement) -> None:
        """Where it runs, and which code."""
        self._total = what.steps or 0
        self._say(f"{what.env}, from {what.code}")

    def step(self, outcome: StepOutcome[Any]) -> None:
        """What a step did, and how long it took."""
        took = f"{outcome.seconds:.1f} s" if outcome.state == "done" else "unchanged"
        self._say(f"  {MARKS[outcome.state]} {outcome.name}: {outcome.summary} ({took})")
        for remark in outcome.remarks:
            self._say(f"    {remark}")
        self._ended += 1
        if self._total > self._ended:
            self._draw(self._ended / self._total, f"{self._ended} of {self._total} steps")

    def progress(self, now: Progress) -> None:
        """How far a long step is."""
        share = now.rows / now.total if now.total else 0.0
        if self._redraws:
            self._draw(share, str(now))
        elif time.monotonic() - self._said >= SELDOM:
            self._say(f"  … {now}")

    def end(self) -> None:
        """Takes the bar away."""
        if self._moving:
            self._moving = False
            self._put(CLEAR)

    def _draw(self, share: float, text: str) -> None:
        if self._redraws and time.monotonic() - self._began >= PATIENCE:
            self._moving = True
            self._put(f"\r  {bar(share)} {visible(text)}\x1b[K")

    def _say(self, text: str) -> None:
        self.end()
        self._said = time.monotonic()
        self._put(f"{visible(text)}\n")

    def _put(self, text: str) -> None:
        sys.stderr.write(text)  # a notebook shows it below the cell
        sys.stderr.flush()


def bar(share: float) -> str:
    """`█████░░░░░░░░░░░░░░░ 25 %`.

    Args:
        share: between 0 and 1.
    """
    done = min(max(share, 0.0), 1.0)
    full = int(done * WIDTH)
    return f"{'█' * full}{'░' * (WIDTH - full)} {done:4.0%}".replace("%", " %")
