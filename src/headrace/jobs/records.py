"""What the ledger tells about runs, their steps and what these had to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.core.ids import Json

RunStatus = Literal["running", "done", "failed", "interrupted"]
StepStatus = Literal["running", "done", "unchanged", "failed", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run of a job.

    Attributes:
        attempt: 1, and one more each time that a later process took the run over from a dead one.
        code: which code ran, in its latest attempt.
        owner: the process of its latest attempt: user, host, pid.
        by: the identity that its latest attempt runs for; None where nobody was asked.
        started: when its first attempt began.
        heartbeat: when its owner was last known to live.
        error: why it failed or was interrupted.
        acknowledged_by: who has seen that it failed; it needs nobody any more.
        reason: why nothing is left to do.
    """

    id: str
    job: str
    status: RunStatus
    attempt: int
    params: dict[str, Any]
    code: str
    owner: str
    started: datetime
    heartbeat: datetime
    ended: datetime | None
    error: str | None
    by: str | None = None
    acknowledged_by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One step of a run.

    Attributes:
        seq: its place among the steps of the run, from 1.
        key: digest of what the step depends on.
        write_id: the id of its writes; for a step that is unchanged, of those of the execution that still holds.
        attempt: the attempt of the run that executed it, or found it unchanged.
        output: what it gave; references, not data.
        summary: what it did, in one line for people.
    """

    run_id: str
    seq: int
    name: str
    key: str
    write_id: str
    status: StepStatus
    attempt: int
    started: datetime
    ended: datetime | None
    output: dict[str, Json] | None
    summary: str | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """A line that a step logged, or why it failed. `step` is empty for a line about the run itself."""

    at: datetime
    attempt: int
    step: str
    line: str
