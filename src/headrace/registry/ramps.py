"""Ramps: where a version is on its way into Production. What the next step is, `deployment` says; here it is kept.

At most one runs for a model. Each change is one transaction with the change of the split that it makes, and says which step
it follows: of two schedulers at once one wins, and a process that dies has done all of a step or nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from headrace.access.audit import record
from headrace.core.clock import now
from headrace.core.errors import ConflictError, NotFoundError, RefusedError
from headrace.core.events import publish
from headrace.core.failpoints import reach
from headrace.core.text import percent
from headrace.registry import split as splits
from headrace.registry.records import Ramp, RampPlan, Share
from headrace.registry.tables import DECISIONS, RAMPS, REQUESTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

    from headrace.core.ids import Json
    from headrace.core.state import State
    from headrace.registry.records import Decision, Version


class Ramps:
    """The ramps of one environment."""

    def __init__(self, state: State) -> None:
        self.state = state

    def list(self, model: str | None = None) -> list[Ramp]:
        """Ramps, the latest first."""
        wanted = select(RAMPS).order_by(RAMPS.c.id.desc())
        if model is not None:
            wanted = wanted.where(RAMPS.c.model == model)
        with self.state.read() as connection:
            return [_ramp(row) for row in connection.execute(wanted).mappings()]

    def running(self, model: str) -> Ramp | None:
        """The ramp that runs for a model."""
        wanted = select(RAMPS).where(RAMPS.c.model == model, RAMPS.c.status == "running")
        with self.state.read() as connection:
            row = connection.execute(wanted).mappings().first()
        return None if row is None else _ramp(row)

    def open(self) -> Sequence[Ramp]:
        """Those that run, of all models."""
        wanted = select(RAMPS).where(RAMPS.c.status == "running").order_by(RAMPS.c.id)
        with self.state.read() as connection:
            return [_ramp(row) for row in connection.execute(wanted).mappings()]

    def of(self, decision: Decision) -> Ramp | None:
        """The last ramp that a decision began."""
        wanted = select(RAMPS).where(RAMPS.c.decision == decision.id).order_by(RAMPS.c.id.desc()).limit(1)
        with self.state.read() as connection:
            row = connection.execute(wanted).mappings().first()
        return None if row is None else _ramp(row)

    def begin(self, version: Version, decision: Decision, plan: RampPlan, *, by: str, why: str) -> Ramp:
        """Gives a version the share of the first step. Called again while it runs it gives the same ramp.

        The caller has checked that the version may answer: `Traffic.licence`.

        Raises:
            RefusedError: another ramp runs, other candidates have a share, or the decision does not hold any more.
        """
        at, model = now(), version.model
        with self.state.begin() as connection:
            running = _running(connection, model)
            if running is not None and (running.version, running.decision) == (version.version, decision.id):
                return running
            if running is not None:
                raise RefusedError(
                    f"version {running.version} of {model} is on a ramp, at {percent(running.share)}; one at a time.",
                    hint=f"Wait for its end, or end it: headrace traffic stop {model} --why …",
                )
            split = splits.current(connection, model)
            if others := [each.version for each in split.candidates if each.version != version.version]:
                raise RefusedError(
                    f"version {others[0]} of {model} has a share of the traffic, set by {split.by}: {split.why}.",
                    hint=f"End that first: headrace traffic stop {model} --why …",
                )
            spent = connection.execute(select(DECISIONS.c.spent).where(DECISIONS.c.id == decision.id)).scalar_one()
            asked = select(REQUESTS.c.status).where(REQUESTS.c.id == decision.request)
            # whoever declares other gates waits for the end of this, and finds the ramp
            replaced = connection.execute(asked.with_for_update()).scalar_one() == "replaced"
            if replaced or spent is not None or decision.expires <= at or decision.against != split.primary:
                raise RefusedError(
                    f"the decision on request {decision.request} does not hold any more.",
                    hint="Ask again: headrace run deploy",
                )
            values: dict[str, Any] = {
                "model": model,
                "version": version.version,
                "decision": decision.id,
                "plan": plan.to_json(),
            }
            values |= {"held": {}, "waived": {}}
            values |= {"step": 0, "status": "running", "began": at, "step_began": at, "by": by, "why": why}
            try:
                connection.execute(insert(RAMPS).values(**values))
            except IntegrityError:  # PostgreSQL only: another process began one between our look and our insert
                raise ConflictError(f"somebody began a ramp of {model} at the same time.") from None
            ramp = _running(connection, model)
            assert ramp is not None  # just written
            _tell(connection, "ramp.began", ramp, by, why, {"plan": plan.to_json(), "decision": decision.id})
            share = (Share(version=version.version, weight=plan.steps[0]),)
            splits.write(connection, split, candidates=share, columns=plan.by, by=by, why=why)
        reach(f"ramp.began:{version.name}")
        return ramp

    def advance(self, ramp: Ramp, *, by: str, why: str) -> bool:
        """Takes the next step; False when the ramp is not where it was any more."""
        at, to = now(), ramp.step + 1
        with self.state.begin() as connection:
            values = {"step": to, "step_began": at, "why": why, "held": {}}
            if not _change(connection, ramp, values):
                return False
            split = splits.current(connection, ramp.model)
            share = (Share(version=ramp.version, weight=ramp.plan.steps[to]),)
            _tell(connection, "ramp.advanced", ramp, by, why, {"step": to, "share": ramp.plan.steps[to]})
            splits.write(connection, split, candidates=share, by=by, why=why)
        reach(f"ramp.advanced:{ramp.model}")
        return True

    def stop(self, ramp: Ramp, *, by: str, why: str, status: Literal["stopped", "ended"] = "stopped") -> bool:
        """Takes the share away; False when the ramp is not where it was any more. Production stays as it is."""
        with self.state.begin() as connection:
            if not _change(connection, ramp, {"status": status, "ended": now(), "why": why}):
                return False
            split = splits.current(connection, ramp.model)
            left = tuple(each for each in split.candidates if each.version != ramp.version)
            _tell(connection, f"ramp.{status}", ramp, by, why, {"share": ramp.share})
            splits.write(connection, split, candidates=left, by=by, why=f"ramp {status}: {why}")
        reach(f"ramp.stopped:{ramp.model}")
        return True

    def looked(self, ramp: Ramp, at: datetime, held: Mapping[str, str]) -> None:
        """Notes when a ramp was looked at, and the rules that could not be judged; an event tells of those that are new."""
        with self.state.begin() as connection:
            running = _running(connection, ramp.model)
            before = {} if running is None else running.held
            if _change(connection, ramp, {"looked": at, "held": dict(held)}) and not held.keys() <= before.keys():
                why = "; ".join(held.values())
                rules: list[Json] = [*sorted(held)]
                _tell(connection, "ramp.held", ramp, "ramp", why, {"share": ramp.share, "rules": rules})

    def waive(self, ramp: Ramp, rules: Sequence[str], *, by: str, why: str) -> bool:
        """Lets a ramp go on without rules that hold it; False when it is not where it was any more."""
        with self.state.begin() as connection:
            running = _running(connection, ramp.model)
            if running is None or running.id != ramp.id:
                return False
            waived = {**running.waived, **{rule: {"by": by, "why": why, "at": now().isoformat()} for rule in rules}}
            held = {rule: said for rule, said in running.held.items() if rule not in waived}
            if not _change(connection, ramp, {"waived": waived, "held": held}):
                return False
            told: dict[str, Json] = {"rules": {rule: running.held.get(rule, "") for rule in rules}}
            _tell(connection, "ramp.waived", ramp, by, why, told)
        return True

    def end(self, model: str, *, by: str, why: str) -> Ramp | None:
        """Ends the ramp of a model and takes every share away, by a person; None: there was no ramp.

        Raises:
            NotFoundError: no candidate and no shadow has a share.
        """
        with self.state.begin() as connection:
            split, ramp = splits.current(connection, model), _running(connection, model)
            if ramp is None and not split.candidates and not split.shadows:
                raise NotFoundError(
                    "candidate, shadow or ramp of", model, None, hint=f"headrace traffic history {model}"
                )
            if ramp is not None:
                _change(connection, ramp, {"status": "ended", "ended": now(), "why": why})
                _tell(connection, "ramp.ended", ramp, by, why, {"share": ramp.share})
            splits.write(connection, split, candidates=(), shadows=(), by=by, why=why)
        return ramp


def refuse_before_the_end(connection: Connection, version: Version, decision: Decision) -> None:
    """Refuses a move to Production by a decision that was asked for with a ramp, unless its last step has been reached.

    Raises:
        RefusedError: says where the ramp is.
    """
    ramp = _running(connection, version.model)
    if ramp is not None and ramp.decision == decision.id and ramp.is_at_the_last_step:
        return
    where = "has not begun"
    if ramp is not None and ramp.decision == decision.id:
        where = f"is at {percent(ramp.share)}, step {ramp.step + 1} of {len(ramp.plan.steps)}"
    raise RefusedError(
        f"{version.name} was approved with a ramp, which {where}: it comes to Production at the end of it.",
        hint=f"headrace traffic show {version.model}",
    )


def _change(connection: Connection, ramp: Ramp, values: Mapping[str, object]) -> bool:
    same = (RAMPS.c.id == ramp.id, RAMPS.c.status == "running", RAMPS.c.step == ramp.step)
    return connection.execute(update(RAMPS).where(*same).values(**values)).rowcount == 1


def _tell(connection: Connection, name: str, ramp: Ramp, by: str, why: str, more: dict[str, Json]) -> None:
    told: dict[str, Json] = {"ramp": ramp.id, "model": ramp.model, "version": ramp.version, "why": why, **more}
    subject = f"{ramp.model}/{ramp.version}"
    record(connection, by, name, subject, told)
    publish(connection, name, subject, {**told, "who": by})


def _running(connection: Connection, model: str) -> Ramp | None:
    wanted = select(RAMPS).where(RAMPS.c.model == model, RAMPS.c.status == "running")
    row = connection.execute(wanted).mappings().first()
    return None if row is None else _ramp(row)


def _ramp(row: RowMapping) -> Ramp:
    kept: dict[str, Any] = {**row, "plan": RampPlan.from_json(row["plan"])}
    return Ramp(**kept)
