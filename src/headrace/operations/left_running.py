"""MLflow runs that a process left RUNNING when it was killed: of steps in this ledger that no live process works on.

Runs of other ledgers, and runs that people log by themselves, are not closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.workspace.workspace import Workspace


def left_running(workspace: Workspace) -> dict[str, str]:
    """The runs by id, and the key of each one's step; MLflow is not asked where every step came to its end."""
    if not workspace.ledger.cut_off():
        return {}
    running = workspace.tracking.running()
    dead = workspace.ledger.cut_off()  # as it is after they were listed: whoever began one since is alive
    return {run_id: key for run_id, key in running.items() if key in dead}


def close_left_running(workspace: Workspace) -> list[str]:
    """Closes them as KILLED. Gives their ids."""
    left = left_running(workspace)
    return workspace.tracking.close_orphans(left.values(), among=left) if left else []
