"""The state of rollouts. `deployment` determines the next step; here it is stored.

Each model has at most one running rollout. Each change is one transaction with its change of the split, and names the
step that it follows: of two schedulers at the same time one succeeds, and a process that dies has done all of a step or
nothing.
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
from headrace.registry.records import RolloutPlan, RolloutState, Share
from headrace.registry.tables import DECISIONS, REQUESTS, ROLLOUTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

    from headrace.core.ids import Json
    from headrace.core.state import State
    from headrace.registry.records import Decision, Version


class Rollouts:
    """The rollouts of one environment."""

    def __init__(self, state: State) -> None:
        self.state = state

    def list(self, model: str | None = None) -> list[RolloutState]:
        """Rollouts, the latest first."""
        wanted = select(ROLLOUTS).order_by(ROLLOUTS.c.id.desc())
        if model is not None:
            wanted = wanted.where(ROLLOUTS.c.model == model)
        with self.state.read() as connection:
            return [_rollout(row) for row in connection.execute(wanted).mappings()]

    def running(self, model: str) -> RolloutState | None:
        """The rollout that runs for a model."""
        wanted = select(ROLLOUTS).where(ROLLOUTS.c.model == model, ROLLOUTS.c.status == "running")
        with self.state.read() as connection:
            row = connection.execute(wanted).mappings().first()
        return None if row is None else _rollout(row)

    def open(self) -> Sequence[RolloutState]:
        """Those that run, of all models."""
        wanted = select(ROLLOUTS).where(ROLLOUTS.c.status == "running").order_by(ROLLOUTS.c.id)
        with self.state.read() as connection:
            return [_rollout(row) for row in connection.execute(wanted).mappings()]

    def of(self, decision: Decision) -> RolloutState | None:
        """The last rollout that a decision began."""
        wanted = select(ROLLOUTS).where(ROLLOUTS.c.decision == decision.id).order_by(ROLLOUTS.c.id.desc()).limit(1)
        with self.state.read() as connection:
            row = connection.execute(wanted).mappings().first()
        return None if row is None else _rollout(row)

    def begin(self, version: Version, decision: Decision, plan: RolloutPlan, *, by: str, reason: str) -> RolloutState:
        """Gives a version the share of the first step. Called again while it runs it gives the same rollout.

        The caller has checked that the version may answer: `Traffic.authorization`.

        Raises:
            RefusedError: another rollout runs, other candidates have a share, or the decision does not hold any more.
        """
        at, model = now(), version.model
        with self.state.begin() as connection:
            running = _running(connection, model)
            if running is not None and (running.version, running.decision) == (version.version, decision.id):
                return running
            if running is not None:
                raise RefusedError(
                    f"version {running.version} of {model} is on a rollout, at {percent(running.share)}; one at a time.",
                    hint=f"Wait for its end, or end it: headrace traffic stop {model} --reason …",
                )
            split = splits.current(connection, model)
            if others := [each.version for each in split.candidates if each.version != version.version]:
                raise RefusedError(
                    f"version {others[0]} of {model} has a share of the traffic, set by {split.by}: {split.reason}.",
                    hint=f"End that first: headrace traffic stop {model} --reason …",
                )
            spent = connection.execute(select(DECISIONS.c.spent).where(DECISIONS.c.id == decision.id)).scalar_one()
            asked = select(REQUESTS.c.status).where(REQUESTS.c.id == decision.request)
            # whoever declares other gates waits for the end of this, and finds the rollout
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
            values |= {"step": 0, "status": "running", "started": at, "step_started": at, "by": by, "reason": reason}
            try:
                connection.execute(insert(ROLLOUTS).values(**values))
            except IntegrityError:  # PostgreSQL only: another process began one between our look and our insert
                raise ConflictError(f"somebody began a rollout of {model} at the same time.") from None
            rollout = _running(connection, model)
            assert rollout is not None  # just written
            _tell(connection, "rollout.started", rollout, by, reason, {"plan": plan.to_json(), "decision": decision.id})
            share = (Share(version=version.version, weight=plan.steps[0]),)
            splits.write(connection, split, candidates=share, columns=plan.by, by=by, reason=reason)
        reach(f"rollout.started:{version.name}")
        return rollout

    def advance(self, rollout: RolloutState, *, by: str, reason: str) -> bool:
        """Takes the next step; False when the rollout is not where it was any more."""
        at, to = now(), rollout.step + 1
        with self.state.begin() as connection:
            values = {"step": to, "step_started": at, "reason": reason, "held": {}}
            if not _change(connection, rollout, values):
                return False
            split = splits.current(connection, rollout.model)
            share = (Share(version=rollout.version, weight=rollout.plan.steps[to]),)
            _tell(connection, "rollout.advanced", rollout, by, reason, {"step": to, "share": rollout.plan.steps[to]})
            splits.write(connection, split, candidates=share, by=by, reason=reason)
        reach(f"rollout.advanced:{rollout.model}")
        return True

    def stop(
        self, rollout: RolloutState, *, by: str, reason: str, status: Literal["stopped", "ended"] = "stopped"
    ) -> bool:
        """Takes the share away; False when the rollout is not where it was any more. Production stays as it is."""
        with self.state.begin() as connection:
            if not _change(connection, rollout, {"status": status, "ended": now(), "reason": reason}):
                return False
            split = splits.current(connection, rollout.model)
            left = tuple(each for each in split.candidates if each.version != rollout.version)
            _tell(connection, f"rollout.{status}", rollout, by, reason, {"share": rollout.share})
            splits.write(connection, split, candidates=left, by=by, reason=f"rollout {status}: {reason}")
        reach(f"rollout.stopped:{rollout.model}")
        return True

    def checked(self, rollout: RolloutState, at: datetime, held: Mapping[str, str]) -> None:
        """Notes when a rollout was looked at, and the rules that could not be judged; an event tells of those that are new."""
        with self.state.begin() as connection:
            running = _running(connection, rollout.model)
            before = {} if running is None else running.held
            if _change(connection, rollout, {"checked": at, "held": dict(held)}) and not held.keys() <= before.keys():
                reason = "; ".join(held.values())
                rules: list[Json] = [*sorted(held)]
                _tell(connection, "rollout.held", rollout, "rollout", reason, {"share": rollout.share, "rules": rules})

    def waive(self, rollout: RolloutState, rules: Sequence[str], *, by: str, reason: str) -> bool:
        """Lets a rollout go on without rules that hold it; False when it is not where it was any more."""
        with self.state.begin() as connection:
            running = _running(connection, rollout.model)
            if running is None or running.id != rollout.id:
                return False
            waived = {
                **running.waived,
                **{rule: {"by": by, "reason": reason, "at": now().isoformat()} for rule in rules},
            }
            held = {rule: said for rule, said in running.held.items() if rule not in waived}
            if not _change(connection, rollout, {"waived": waived, "held": held}):
                return False
            told: dict[str, Json] = {"rules": {rule: running.held.get(rule, "") for rule in rules}}
            _tell(connection, "rollout.waived", rollout, by, reason, told)
        return True

    def end(self, model: str, *, by: str, reason: str) -> RolloutState | None:
        """Ends the rollout of a model and takes every share away, by a person; None: there was no rollout.

        Raises:
            NotFoundError: no candidate and no shadow has a share.
        """
        with self.state.begin() as connection:
            split, rollout = splits.current(connection, model), _running(connection, model)
            if rollout is None and not split.candidates and not split.shadows:
                raise NotFoundError(
                    "candidate, shadow or rollout of", model, None, hint=f"headrace traffic history {model}"
                )
            if rollout is not None:
                _change(connection, rollout, {"status": "ended", "ended": now(), "reason": reason})
                _tell(connection, "rollout.ended", rollout, by, reason, {"share": rollout.share})
            splits.write(connection, split, candidates=(), shadows=(), by=by, reason=reason)
        return rollout


def refuse_before_the_end(connection: Connection, version: Version, decision: Decision) -> None:
    """Refuses a move to Production by a decision that was asked for with a rollout, unless its last step has been reached.

    Raises:
        RefusedError: says where the rollout is.
    """
    rollout = _running(connection, version.model)
    if rollout is not None and rollout.decision == decision.id and rollout.is_at_the_last_step:
        return
    where = "has not begun"
    if rollout is not None and rollout.decision == decision.id:
        where = f"is at {percent(rollout.share)}, step {rollout.step + 1} of {len(rollout.plan.steps)}"
    raise RefusedError(
        f"{version.name} was approved with a rollout, which {where}: it comes to Production at the end of it.",
        hint=f"headrace traffic show {version.model}",
    )


def _change(connection: Connection, rollout: RolloutState, values: Mapping[str, object]) -> bool:
    same = (ROLLOUTS.c.id == rollout.id, ROLLOUTS.c.status == "running", ROLLOUTS.c.step == rollout.step)
    return connection.execute(update(ROLLOUTS).where(*same).values(**values)).rowcount == 1


def _tell(
    connection: Connection, name: str, rollout: RolloutState, by: str, reason: str, more: dict[str, Json]
) -> None:
    told: dict[str, Json] = {
        "rollout": rollout.id,
        "model": rollout.model,
        "version": rollout.version,
        "reason": reason,
        **more,
    }
    subject = f"{rollout.model}/{rollout.version}"
    record(connection, by, name, subject, told)
    publish(connection, name, subject, {**told, "who": by})


def _running(connection: Connection, model: str) -> RolloutState | None:
    wanted = select(ROLLOUTS).where(ROLLOUTS.c.model == model, ROLLOUTS.c.status == "running")
    row = connection.execute(wanted).mappings().first()
    return None if row is None else _rollout(row)


def _rollout(row: RowMapping) -> RolloutState:
    kept: dict[str, Any] = {**row, "plan": RolloutPlan.from_json(row["plan"])}
    return RolloutState(**kept)
