"""Fail points: named places where a test can make the process die, as a loss of power or the kernel would end it.

`HEADRACE_FAILPOINT="step.finished:load bronze.flights"` sends SIGKILL to this process the first time that place is
reached. Without the variable a call costs one dictionary look-up. Places are named `<noun>.<moment>:<which one>`.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "HEADRACE_FAILPOINT"


def reach(place: str) -> None:
    """Marks a place; dies here if a test asked for it."""
    if os.environ.get(VARIABLE) == place:
        os.kill(os.getpid(), signal.SIGKILL)
