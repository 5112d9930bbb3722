"""The run ledger: opens runs, one at a time a job, and answers what ran."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from headrace.access.audit import AUDIT, record
from headrace.core.clock import now
from headrace.core.errors import BusyError, NotFoundError, RefusedError
from headrace.core.failpoints import reach
from headrace.core.ids import new_id
from headrace.core.state import present
from headrace.core.text import visible
from headrace.jobs.owner import ProcessOwner
from headrace.jobs.records import LogLine, RunRecord, StepRecord
from headrace.jobs.run import UNFINISHED, Run
from headrace.jobs.tables import LOGS, RUNS, STEPS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

    from headrace.core.ids import Json
    from headrace.core.state import State

LEASE = timedelta(seconds=60)
LONGEST = 300  # characters of an object of the audit record


class Ledger:
    """The runs in one state database.

    Args:
        state: where they are kept; tables are made where there are none.
        owner: who opens runs through this ledger: this process.
        lease: how long a process of another machine counts as alive after its last heartbeat.
    """

    def __init__(self, state: State, *, owner: ProcessOwner | None = None, lease: timedelta = LEASE) -> None:
        self.state = state
        self.owner = owner or ProcessOwner.current()
        self.lease = lease
        state.create(AUDIT, RUNS, STEPS, LOGS)

    def open(self, job: str, params: Mapping[str, Json], *, code: str, by: str | None = None) -> Run:
        """Begins a run, or continues the last one if its process died and the params are the same.

        Args:
            job: at most one run of each is open at a time.
            params: what the run was asked for, as plain JSON.
            code: which code runs.
            by: who runs it; told in the audit record.

        Raises:
            BusyError: a live process has an open run of this job.
        """
        given: dict[str, Json] = json.loads(json.dumps(dict(params)))
        run_id, attempt = self._claim(job, given, code, by)
        reach(f"run.opened:{job}")
        return Run(self.state, run_id=run_id, job=job, params=given, attempt=attempt, lease=self.lease)

    def _claim(self, job: str, params: dict[str, Json], code: str, by: str | None) -> tuple[str, int]:
        with self.state.begin() as connection:
            last = _last(connection, job)
            if last is not None and last["status"] == "running":
                if self._lives(last, _present(connection)):
                    raise self._busy(last)
                _close(connection, last)
            if last is not None and (last["status"] == "running" or last["swept"]) and last["params"] == params:
                return self._continue(connection, last, code, by)
            return self._begin(connection, job, params, code, by)

    def _continue(self, connection: Connection, last: RowMapping, code: str, by: str | None) -> tuple[str, int]:
        attempt = last["attempt"] + 1
        values = {"status": "running", "attempt": attempt, "code": code, "owner": self.owner.dump()}
        if by is not None and by != last["by"]:
            record(connection, by, "run.continued", _shown(last["job"]), {"run": last["id"], "attempt": attempt})
        connection.execute(
            update(RUNS)
            .where(RUNS.c.id == last["id"])
            .values(
                **values,
                heartbeat=present(connection),
                by=by,
                ended=None,
                error=None,
                swept=False,
                acknowledged_by=None,
                reason=None,
            )
        )
        line = f"attempt {attempt}, by {self.owner}: that of {ProcessOwner.load(last['owner'])} was cut off"
        connection.execute(insert(LOGS).values(run_id=last["id"], attempt=attempt, step="", at=now(), line=line))
        return last["id"], attempt

    def _begin(
        self, connection: Connection, job: str, params: dict[str, Json], code: str, by: str | None
    ) -> tuple[str, int]:
        run_id = new_id()
        values = {"id": run_id, "job": job, "status": "running", "attempt": 1, "params": params, "code": code}
        connection.execute(
            insert(RUNS).values(
                **values, by=by, owner=self.owner.dump(), started=now(), heartbeat=present(connection), swept=False
            )
        )
        if by is not None:
            record(connection, by, "run.started", _shown(job), {"run": run_id, "code": code})
        return run_id, 1

    def _lives(self, row: RowMapping, at: datetime) -> bool:
        return self.owner.sees(ProcessOwner.load(row["owner"]), heartbeat=row["heartbeat"], at=at, lease=self.lease)

    def _busy(self, row: RowMapping) -> BusyError:
        owner = ProcessOwner.load(row["owner"])
        look = f"`headrace runs show {row['id']}` says how far it is."
        if owner == self.owner:
            who, hint = f"this very process ({owner})", f"Let it end first; {look}"
        elif self.owner.near(owner):
            who = str(owner)
            hint = f"Wait for it, or stop it with `kill {owner.pid}`; starting again then continues it. {look}"
        else:
            who = f"{owner}, last heard of {row['heartbeat']:%Y-%m-%d %H:%M:%S} UTC"
            hint = (
                f"Wait for it, or stop it on {owner.host}; once it has been silent for "
                f"{self.lease.total_seconds():.0f} s, starting again continues it. {look}"
            )
        return BusyError(
            f"{row['job']} is being run by {who}, since {row['started']:%Y-%m-%d %H:%M:%S} UTC (run {row['id']}).",
            hint=hint,
        )

    def sweep(self) -> list[RunRecord]:
        """Closes the runs whose process died, as interrupted, and tells which. Each may still be continued by `open`."""
        running = select(RUNS).where(RUNS.c.status == "running").order_by(RUNS.c.started, RUNS.c.id)
        with self.state.read() as connection:
            at = _present(connection)
            dead = [row["id"] for row in connection.execute(running).mappings() if not self._lives(row, at)]
        if not dead:
            return []
        with self.state.begin() as connection:
            rows = connection.execute(running.where(RUNS.c.id.in_(dead))).mappings().all()
            at = _present(connection)
            swept = [row["id"] for row in rows if not self._lives(row, at)]
            for row in rows:
                if row["id"] in swept:
                    _close(connection, row)
            ended = connection.execute(select(RUNS).where(RUNS.c.id.in_(swept)).order_by(RUNS.c.started, RUNS.c.id))
            return [_run(row) for row in ended.mappings()]

    def alive(self) -> list[RunRecord]:
        """The runs that a live process has open, the oldest first."""
        running = select(RUNS).where(RUNS.c.status == "running").order_by(RUNS.c.started, RUNS.c.id)
        with self.state.read() as connection:
            at = _present(connection)
            return [_run(row) for row in connection.execute(running).mappings() if self._lives(row, at)]

    def cut_off(self) -> set[str]:
        """The ids under which steps wrote that were begun and did not end well, and that no live process works on."""
        wanted = (
            select(STEPS.c.write_id, STEPS.c.status.label("step"), RUNS.c.status, RUNS.c.owner, RUNS.c.heartbeat)
            .join(RUNS, RUNS.c.id == STEPS.c.run_id)
            .where(STEPS.c.status.in_(UNFINISHED))
        )
        with self.state.read() as connection:
            at = _present(connection)
            rows = connection.execute(wanted).mappings().all()
            alive = {
                row["write_id"] for row in rows if row["step"] == row["status"] == "running" and self._lives(row, at)
            }
        return {row["write_id"] for row in rows} - alive

    def runs(self, job: str | None = None, *, limit: int = 50, offset: int = 0) -> list[RunRecord]:
        """The latest runs, of one job or of all, newest first, after so many that are left out."""
        wanted = select(RUNS).order_by(RUNS.c.started.desc(), RUNS.c.id.desc()).limit(limit).offset(offset)
        if job is not None:
            wanted = wanted.where(RUNS.c.job == job)
        with self.state.read() as connection:
            return [_run(row) for row in connection.execute(wanted).mappings()]

    def run(self, id: str) -> RunRecord:  # noqa: A002
        """The run of this id, or the only one whose id begins so.

        Raises:
            NotFoundError: none, or several.
        """
        wanted = select(RUNS).where(RUNS.c.id.startswith(id, autoescape=True)).order_by(RUNS.c.id.desc()).limit(10)
        with self.state.read() as connection:
            whole = connection.execute(select(RUNS).where(RUNS.c.id == id)).mappings().all()
            found = whole or connection.execute(wanted).mappings().all()
        if len(found) == 1:
            return _run(found[0])
        if found:
            raise NotFoundError("single run", id, [row["id"] for row in found], hint="Give more of the id.")
        raise NotFoundError("run", id, [record.id for record in self.runs(limit=10)], hint="See `headrace runs list`.")

    def acknowledge(self, id: str, *, by: str, reason: str) -> RunRecord:  # noqa: A002
        """Somebody has seen that a run failed or was interrupted, and nothing is left to do. Again changes the reason.

        Raises:
            NotFoundError: there is none of this id.
            RefusedError: it did not fail.
        """
        found = self.run(id)
        if found.status not in ("failed", "interrupted"):
            raise RefusedError(
                f"run {found.id} of {found.job} is {found.status}: there is nothing to acknowledge.",
                hint="`headrace status` says which runs need a person.",
            )
        with self.state.begin() as connection:
            values = {"acknowledged_by": by, "reason": reason}
            connection.execute(update(RUNS).where(RUNS.c.id == found.id).values(**values))
            record(connection, by, "run.acknowledged", found.id, {"job": found.job, "reason": reason})
        return self.run(found.id)

    def steps(self, run_id: str, *, named: Collection[str] | None = None) -> list[StepRecord]:
        """The steps of a run, in the order in which they were first reached.

        Args:
            run_id: of the run.
            named: only those of these names; None: all.
        """
        wanted = select(STEPS).where(STEPS.c.run_id == run_id).order_by(STEPS.c.seq)
        if named is not None:
            wanted = wanted.where(STEPS.c.name.in_(named))
        with self.state.read() as connection:
            return [_step(row) for row in connection.execute(wanted).mappings()]

    def last_step(self, run_id: str, *, begins: str, ends: str) -> StepRecord | None:
        """The last step of a run whose name begins and ends so; None: there is none.

        Args:
            run_id: of the run.
            begins: how its name begins.
            ends: how its name ends.
        """
        name = STEPS.c.name
        wanted = (
            select(STEPS)
            .where(
                STEPS.c.run_id == run_id, name.startswith(begins, autoescape=True), name.endswith(ends, autoescape=True)
            )
            .order_by(STEPS.c.seq.desc())
            .limit(1)
        )
        with self.state.read() as connection:
            row = connection.execute(wanted).mappings().first()
        return None if row is None else _step(row)

    def last_ended(self) -> dict[str, datetime]:
        """When each step was last done, or found to be up to date, by its name."""
        wanted = (
            select(STEPS.c.name, func.max(STEPS.c.ended).label("ended"))
            .where(STEPS.c.status.in_(("done", "unchanged")))
            .group_by(STEPS.c.name)
        )
        with self.state.read() as connection:
            return {row["name"]: row["ended"] for row in connection.execute(wanted).mappings() if row["ended"]}

    def count_logs(self, run_id: str) -> int:
        """How many lines the log of a run has."""
        with self.state.read() as connection:
            return connection.execute(select(func.count()).where(LOGS.c.run_id == run_id)).scalar_one()

    def logs(self, run_id: str, *, latest: int | None = None) -> list[LogLine]:
        """What the steps of a run logged, and why they failed, in order; or only so many of the latest lines."""
        wanted = select(LOGS).where(LOGS.c.run_id == run_id).order_by(LOGS.c.number.desc()).limit(latest)
        with self.state.read() as connection:
            return [
                LogLine(at=row["at"], attempt=row["attempt"], step=row["step"], line=row["line"])
                for row in connection.execute(wanted).mappings().all()[::-1]
            ]


def _present(connection: Connection) -> datetime:
    """By the clock that heartbeats are taken from, of one machine for all."""
    return connection.execute(select(present(connection))).scalar_one()


def _shown(job: str) -> str:
    """A job as the audit record names it: that of a query or of a file's path may be long."""
    return visible(job)[:LONGEST]


def _last(connection: Connection, job: str) -> RowMapping | None:
    """The run of this job that is open, or else the latest one."""
    of_job = select(RUNS).where(RUNS.c.job == job).limit(1)
    is_open = connection.execute(of_job.where(RUNS.c.status == "running")).mappings().first()
    latest = of_job.order_by(RUNS.c.started.desc(), RUNS.c.id.desc())
    return is_open or connection.execute(latest).mappings().first()


def _close(connection: Connection, row: RowMapping) -> None:
    """Closes a run whose process died, and its steps."""
    at = now()
    error = f"its process ended without closing it ({ProcessOwner.load(row['owner'])})"
    closed = {"status": "interrupted", "ended": at, "error": error}
    connection.execute(update(RUNS).where(RUNS.c.id == row["id"]).values(**closed, swept=True))
    connection.execute(update(STEPS).where(STEPS.c.run_id == row["id"], STEPS.c.status == "running").values(**closed))


def _run(row: RowMapping) -> RunRecord:
    stored: dict[str, Any] = {name: row[name] for name in row if name != "swept"}
    stored["owner"] = str(ProcessOwner.load(row["owner"]))
    return RunRecord(**stored)


def _step(row: RowMapping) -> StepRecord:
    stored: dict[str, Any] = {name: row[name] for name in row if name not in ("job", "turn")}
    return StepRecord(**stored)
