"""One run of a job while it is open: executes steps, each of them to its end once."""

from __future__ import annotations

import json
import math
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import DatabaseError

from headrace.core.clock import now
from headrace.core.errors import HeadraceError, RefusedError
from headrace.core.failpoints import reach
from headrace.core.ids import digest
from headrace.core.state import present
from headrace.jobs.captured_output import captured
from headrace.jobs.failure import detail, summary
from headrace.jobs.heartbeat import Heartbeat
from headrace.jobs.owner import ProcessOwner
from headrace.jobs.step_output import StepOutput
from headrace.jobs.tables import LOGS, RUNS, STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping
    from datetime import timedelta
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Connection, RowMapping

    from headrace.core.ids import Json
    from headrace.core.state import State
    from headrace.jobs.records import RunStatus

UNFINISHED = ("running", "failed", "interrupted")
Output = TypeVar("Output", bound=StepOutput)
BEATS = 4  # heartbeats within one lease: three may be missed


@dataclass(frozen=True, kw_only=True)
class StepOutcome(Generic[Output]):
    """What came of a step.

    Attributes:
        output: what it left in the ledger.
        summary: what it did, in one line for people.
        remarks: what they should read beside it; none of a step that is unchanged.
        state: `done`: it was executed; `unchanged`: an earlier execution still holds.
        seconds: how long it took, by the wall clock.
    """

    name: str
    output: Output
    summary: str
    remarks: tuple[str, ...]
    state: Literal["done", "unchanged"]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What a step's function is given.

    Attributes:
        key: the id of every write that the step makes. An execution that was cut off and the one that repeats it
            have the same; an execution that is needed again, because what the last one wrote does not hold any more,
            has another one, so that its writes are not taken for repetitions.
        log: keeps a line for `headrace runs logs`.
    """

    name: str
    key: str
    run_id: str
    attempt: int
    log: Callable[[str], None]


class Run:
    """A run that is open. Use as a context manager: an error that leaves it ends the run as failed or interrupted.

    Every write names the attempt that makes it. A process that lost its run to another one, because it was taken for
    dead, is refused from then on.
    """

    def __init__(
        self,
        state: State,
        *,
        run_id: str,
        job: str,
        params: dict[str, Any],
        attempt: int,
        lease: timedelta,
    ) -> None:
        self.id = run_id
        self.job = job
        self.params = params
        self.attempt = attempt
        self._state = state
        self._keys: dict[str, str] = {}
        self._listeners: list[Callable[[StepOutcome[Any]], None]] = []
        self._logged: BaseException | None = None
        self._heartbeat = Heartbeat(self._beat, seconds=lease.total_seconds() / BEATS)

    @property
    def taken_over(self) -> bool:
        """Whether an earlier attempt of this run was cut off."""
        return self.attempt > 1

    def listen(self, callback: Callable[[StepOutcome[Any]], None]) -> None:
        """Calls back after each step, in this thread."""
        self._listeners.append(callback)

    def step(
        self,
        name: str,
        key: Mapping[str, object],
        do: Callable[[StepContext], Output],
        *,
        output: type[Output],
        holds: Callable[[Output], bool] = lambda _: True,
    ) -> StepOutcome[Output]:
        """Executes `do`, unless an execution of the same key is done and what it wrote is still there.

        Args:
            name: says what the step makes; one key a name within a run.
            key: all that the result depends on, as plain values.
            do: gives references to what it wrote (table and version, run id…). Not-a-number and infinities become None. It
                may be cut off at any moment and called again; see `StepContext.key`.
            output: the class of what `do` gives. What an earlier execution left is read as one; an execution whose
                output cannot be read so does not hold.
            holds: whether the output of an earlier execution still stands for what is there.

        Raises:
            RefusedError: this run was taken over by another process, or is closed.
            TypeError: what `do` gave is not JSON.
        """
        began = time.perf_counter()
        known = digest({"job": self.job, "step": name, "key": dict(key)})
        if self._keys.setdefault(name, known) != known:
            raise ValueError(f"the step {name!r} came twice in one run, with different keys: give each its own name.")
        earlier = self._done(name, known)
        kept = None if earlier is None else output.from_json(earlier["output"])
        if earlier is not None and kept is not None and holds(kept):
            self._unchanged(name, known, earlier)
            state, made, summary, remarks = "unchanged", kept, earlier["summary"] or "", ()
        else:
            made, summary, remarks = self._execute(name, known, do, output)
            state = "done"
        outcome = StepOutcome(
            name=name,
            output=made,
            summary=summary,
            remarks=remarks,
            state=state,
            seconds=time.perf_counter() - began,
        )
        for callback in self._listeners:
            callback(outcome)
        return outcome

    def outputs(self, kind: type[Output], *, prefix: str = "", suffix: str = "") -> list[Output]:
        """What the steps of this run left so far, of those whose name begins and ends like this, in order."""
        mine = select(STEPS.c.name, STEPS.c.output).where(STEPS.c.run_id == self.id).order_by(STEPS.c.seq)
        with self._state.read() as connection:
            rows = connection.execute(mine).all()
        left = [row.output for row in rows if row.output and row.name.startswith(prefix) and row.name.endswith(suffix)]
        return [read for each in left if (read := kind.from_json(each)) is not None]

    def has_ended(self, *, prefix: str) -> bool:
        """Whether a step of this run whose name begins like this has left its output, whatever release wrote it."""
        mine = select(STEPS.c.name, STEPS.c.output).where(STEPS.c.run_id == self.id)
        with self._state.read() as connection:
            rows = connection.execute(mine).all()
        return any(row.output is not None and row.name.startswith(prefix) for row in rows)

    def _execute(
        self, name: str, known: str, do: Callable[[StepContext], Output], kind: type[Output]
    ) -> tuple[Output, str, tuple[str, ...]]:
        """The output as it will be read back, its line for people and its remarks."""
        write_id = self._running(name, known)
        reach(f"step.started:{name}")
        context = StepContext(
            name=name, key=write_id, run_id=self.id, attempt=self.attempt, log=lambda line: self._log(name, [line])
        )
        try:
            with captured(lambda lines: self._print(name, lines)):
                stored = _plain(name, do(context))
                output = _read(name, kind, stored)
                said, remarks = self._told(name, output)
        except BaseException as error:
            self._broken(name, error)
            raise
        reach(f"step.executed:{name}")
        with self._write() as connection:
            values = {"status": "done", "ended": now(), "output": stored, "summary": said, "error": None}
            connection.execute(update(STEPS).where(STEPS.c.run_id == self.id, STEPS.c.name == name).values(**values))
        reach(f"step.finished:{name}")
        return output, said, remarks

    def _told(self, name: str, output: StepOutput) -> tuple[str, tuple[str, ...]]:
        """The line for people and the remarks; what a step did stands, whether or not a line can be made of it."""
        try:
            return output.summary(), tuple(output.remarks())
        except Exception as error:  # noqa: BLE001  # a figure that became None, such as a NaN
            self._log(name, [f"no line can be made of its output: {type(error).__name__}: {error}"])
            return "", ()

    def _done(self, name: str, known: str) -> RowMapping | None:
        """The last execution of this key that came to its end, in any run."""
        wanted = (
            select(STEPS.c.output, STEPS.c.summary, STEPS.c.write_id)
            .where(STEPS.c.job == self.job, STEPS.c.name == name, STEPS.c.key == known, STEPS.c.status == "done")
            .order_by(STEPS.c.turn.desc())
            .limit(1)
        )
        with self._state.read() as connection:
            return connection.execute(wanted).mappings().first()

    def _unchanged(self, name: str, known: str, earlier: RowMapping) -> None:
        with self._write() as connection:
            row = self._row(connection, name)
            if row is not None and row["status"] == "done" and row["key"] == known:
                return  # done by an earlier attempt of this very run
            values = {"key": known, "status": "unchanged", **earlier}
            at = now()
            self._put(connection, name, row, started=at, ended=at, error=None, **values)

    def _running(self, name: str, known: str) -> str:
        with self._write() as connection:
            last = connection.execute(
                select(STEPS.c.key, STEPS.c.write_id, STEPS.c.turn, STEPS.c.status)
                .where(STEPS.c.job == self.job, STEPS.c.name == name, STEPS.c.turn.is_not(None))
                .order_by(STEPS.c.turn.desc())
                .limit(1)
            )
            last = last.mappings().first()
            turn = 1 if last is None else last["turn"] + 1
            write_id = _write_id(known, turn, last)
            row = self._row(connection, name)
            values = {"key": known, "write_id": write_id, "status": "running", "turn": turn}
            nothing = {"ended": None, "output": None, "summary": None, "error": None}
            self._put(connection, name, row, started=now(), **nothing, **values)
        return write_id

    def _row(self, connection: Connection, name: str) -> RowMapping | None:
        mine = select(STEPS).where(STEPS.c.run_id == self.id, STEPS.c.name == name)
        return connection.execute(mine).mappings().first()

    def _put(self, connection: Connection, name: str, row: RowMapping | None, **values: object) -> None:
        values["attempt"] = self.attempt
        if row is not None:
            connection.execute(update(STEPS).where(STEPS.c.run_id == self.id, STEPS.c.name == name).values(**values))
            return
        count = select(func.coalesce(func.max(STEPS.c.seq), 0)).where(STEPS.c.run_id == self.id)
        seq = connection.execute(count).scalar_one() + 1
        connection.execute(insert(STEPS).values(run_id=self.id, job=self.job, name=name, seq=seq, **values))

    def _broken(self, name: str, error: BaseException) -> None:
        self._logged = error
        values = {"status": _status(error), "ended": now(), "error": summary(error)}

        def note(connection: Connection) -> None:
            connection.execute(update(STEPS).where(STEPS.c.run_id == self.id, STEPS.c.name == name).values(**values))
            _insert_lines(connection, self.id, self.attempt, name, detail(error))

        self._note(error, note)

    def _log(self, name: str, lines: Iterable[str]) -> None:
        with self._write() as connection:
            _insert_lines(connection, self.id, self.attempt, name, lines)

    def _print(self, name: str, lines: list[str]) -> None:
        """Keeps what was printed; whether this attempt still owns the run is for the step itself to find out."""
        with suppress(HeadraceError, DatabaseError):
            self._log(name, lines)

    @contextmanager
    def _write(self) -> Generator[Connection]:
        """A transaction that is refused unless this attempt still owns the run; it counts as a heartbeat."""
        with self._state.begin() as connection:
            if not self._mine(connection):
                raise self._lost(connection)
            yield connection

    def _note(self, error: BaseException, note: Callable[[Connection], None]) -> None:
        """Writes an error down, which must not hide behind a second one."""
        try:
            with self._write() as connection:
                note(connection)
        except (HeadraceError, DatabaseError) as trouble:
            error.add_note(f"The run ledger could not note this: {trouble}")

    def _mine(self, connection: Connection) -> bool:
        mine = update(RUNS).where(RUNS.c.id == self.id, RUNS.c.attempt == self.attempt, RUNS.c.status == "running")
        return connection.execute(mine.values(heartbeat=present(connection))).rowcount == 1

    def _lost(self, connection: Connection) -> RefusedError:
        row = connection.execute(select(RUNS).where(RUNS.c.id == self.id)).one()
        if row.attempt == self.attempt:
            return RefusedError(
                f"run {self.id} of {self.job} is {row.status}, no step may be added.", hint="Open a new run of the job."
            )
        return RefusedError(
            f"run {self.id} of {self.job} was taken over by {ProcessOwner.load(row.owner)}: attempt {row.attempt} runs there, "
            f"this was attempt {self.attempt}.",
            hint=f"Nothing is to be done here; `headrace runs show {self.id}` says how it goes on.",
        )

    def _beat(self) -> bool:
        with self._state.begin() as connection:
            return self._mine(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        reach(f"run.closing:{self.job}")
        self._heartbeat.stop()
        if error is None:
            with self._write() as connection:
                self._end(connection, "done", None)
            return

        def note(connection: Connection) -> None:
            if error is not self._logged:
                _insert_lines(connection, self.id, self.attempt, "", detail(error))
            self._end(connection, _status(error), summary(error))

        self._note(error, note)
        self._logged = None

    def _end(self, connection: Connection, status: RunStatus, error: str | None) -> None:
        ended = now()
        connection.execute(update(RUNS).where(RUNS.c.id == self.id).values(status=status, ended=ended, error=error))
        # an interrupt may come between a step's first line and its function
        left = update(STEPS).where(STEPS.c.run_id == self.id, STEPS.c.status == "running")
        connection.execute(left.values(status="interrupted", ended=ended, error=error))


def _write_id(known: str, turn: int, last: RowMapping | None) -> str:
    """The id under which an execution of this key writes, given the latest execution of the step.

    If that one was cut off, or failed, with the same key, this one repeats it and has its id. Otherwise something else
    may have been written since the key was last executed (say, a change of the code that is now taken back), and the id
    is new. It is not random: a ledger that lost its last lines with the power comes to the same one.
    """
    if last is not None and last["key"] == known and last["status"] in UNFINISHED:
        return last["write_id"]
    return known if turn == 1 else digest({"key": known, "turn": turn})


def _insert_lines(connection: Connection, run_id: str, attempt: int, step: str, lines: Iterable[str]) -> None:
    at = now()
    rows = [
        {"run_id": run_id, "attempt": attempt, "step": step, "at": at, "line": line}
        for text in lines
        for line in text.splitlines() or [""]
    ]
    if rows:
        connection.execute(insert(LOGS), rows)


def _status(error: BaseException) -> Literal["failed", "interrupted"]:
    return "failed" if isinstance(error, Exception) else "interrupted"


def _plain(name: str, given: StepOutput) -> dict[str, Json]:
    """As it will be read back: what is done and what is found unchanged later look the same."""
    if not isinstance(given, StepOutput):  # pyright: ignore[reportUnnecessaryIsInstance]  # of a caller that nobody checks
        raise TypeError(f"the step {name!r} gave no output: {given!r}")
    try:
        return json.loads(json.dumps(_finite(given.to_json()), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(f"the step {name!r} gave no JSON: {error}") from error


def _read(name: str, kind: type[Output], stored: dict[str, Json]) -> Output:
    output = kind.from_json(stored)
    if output is None:
        raise TypeError(f"the step {name!r} gave no {kind.__name__}: {', '.join(stored)}")
    return output


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
