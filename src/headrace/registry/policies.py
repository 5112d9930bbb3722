"""The currently declared gates, roles and rollout of a model, to which requests and decisions are bound.

A declaration is an append-only row. When its gates, roles or rollout differ from the previous declaration, every open
request and every unused approval of the model is replaced in the same transaction, and a rollout that an approval
allowed is ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from headrace.access.audit import record
from headrace.core.clock import now
from headrace.core.errors import ConflictError
from headrace.core.events import publish
from headrace.registry import split as splits
from headrace.registry.records import PromotionPolicy
from headrace.registry.tables import DECISIONS, POLICIES, REQUESTS, ROLLOUTS, STAGES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, RowMapping

    from headrace.core.ids import Json
    from headrace.core.state import State


class Policies:
    """The declarations of one environment."""

    def __init__(self, state: State) -> None:
        self.state = state

    def current(self, model: str) -> PromotionPolicy:
        """What is in force for a model; one without gates, of number 0, before the first declaration."""
        with self.state.read() as connection:
            return current(connection, model)

    def history(self, model: str) -> list[PromotionPolicy]:
        """Every declaration, oldest first."""
        wanted = select(POLICIES).where(POLICIES.c.model == model).order_by(POLICIES.c.number)
        with self.state.read() as connection:
            return [_policy(row) for row in connection.execute(wanted).mappings()]

    def declare(
        self,
        model: str,
        *,
        gates: Sequence[str],
        roles: Sequence[str],
        rollout: Mapping[str, Json] | None,
        code: str,
        by: str,
    ) -> PromotionPolicy:
        """Says what Production takes from now on; again is the same.

        Args:
            model: its name.
            gates: each with all that it says.
            roles: whose approval it takes.
            rollout: how a version comes there; None: at once.
            code: that declares it.
            by: who runs that code.
        """
        with self.state.begin() as connection:
            before = current(connection, model)
            made = PromotionPolicy(
                model=model,
                number=before.number + 1,
                gates=tuple(gates),
                roles=tuple(roles),
                rollout=rollout,
                code=code,
                by=by,
                at=now(),
            )
            if (before.hash, before.code) == (made.hash, made.code):
                return before
            values = {**vars(made), "gates": list(gates), "roles": list(roles), "hash": made.hash}
            try:
                connection.execute(insert(POLICIES).values(**values))
            except IntegrityError:  # PostgreSQL only: another process declared between our look and our insert
                raise ConflictError(f"somebody declared the gates of {model} at the same time.") from None
            if before.hash != made.hash:
                told: dict[str, Json] = {
                    "gates": list(gates),
                    "roles": list(roles),
                    "rollout": dict(rollout) if rollout else None,
                    "code": code,
                    "replaced": [*_replace(connection, made)],
                }
                record(connection, by, "policy.declared", model, told)
                publish(connection, "policy.declared", model, {**told, "by": by})
        return made


def current(connection: Connection, model: str) -> PromotionPolicy:
    """What is in force, as the caller's transaction sees it."""
    wanted = select(POLICIES).where(POLICIES.c.model == model).order_by(POLICIES.c.number.desc()).limit(1)
    row = connection.execute(wanted).mappings().first()
    if row is None:
        return PromotionPolicy(model=model, number=0, gates=(), roles=(), rollout=None, code="", by="", at=None)
    return _policy(row)


def _replace(connection: Connection, policy: PromotionPolicy) -> list[int]:
    """Takes what was asked for and granted under other gates off the table; gives the requests."""
    unspent = select(DECISIONS.c.request).where(DECISIONS.c.spent.is_(None), DECISIONS.c.approved)
    active = (REQUESTS.c.status == "open") | ((REQUESTS.c.status == "approved") & REQUESTS.c.id.in_(unspent))
    others = (REQUESTS.c.model == policy.model, REQUESTS.c.policy_hash != policy.hash, active)
    found = connection.execute(select(REQUESTS.c.id, REQUESTS.c.version).where(*others)).all()
    numbers = [request for request, _ in found]
    connection.execute(update(REQUESTS).where(REQUESTS.c.id.in_(numbers)).values(status="replaced"))
    _end_shares(connection, policy, numbers, {version for _, version in found})
    return numbers


def _end_shares(connection: Connection, policy: PromotionPolicy, requests: Sequence[int], versions: set[int]) -> None:
    """Of the traffic that versions had by what was replaced; one that has been in Production needed no approval."""
    reason = "the gates have changed since it was approved"
    granted = select(DECISIONS.c.id).where(DECISIONS.c.request.in_(requests))
    running = (ROLLOUTS.c.model == policy.model, ROLLOUTS.c.status == "running", ROLLOUTS.c.decision.in_(granted))
    rollout = connection.execute(select(ROLLOUTS.c.id, ROLLOUTS.c.version).where(*running)).first()
    if rollout is not None:
        connection.execute(
            update(ROLLOUTS).where(ROLLOUTS.c.id == rollout.id).values(status="ended", ended=now(), reason=reason)
        )
        told: dict[str, Json] = {"rollout": rollout.id, "reason": reason, "model": policy.model}
        record(connection, policy.by, "rollout.ended", f"{policy.model}/{rollout.version}", told)
        publish(connection, "rollout.ended", f"{policy.model}/{rollout.version}", told)
    in_production = select(STAGES.c.version).where(STAGES.c.model == policy.model, STAGES.c.stage == "Production")
    gone = versions - set(connection.execute(in_production).scalars())
    split = splits.current(connection, policy.model)
    left = tuple(each for each in split.candidates if each.version not in gone)
    if left != split.candidates:
        splits.write(connection, split, candidates=left, by=policy.by, reason=reason)


def _policy(row: RowMapping) -> PromotionPolicy:
    kept: dict[str, Any] = {name: value for name, value in row.items() if name != "hash"}
    kept |= {"gates": tuple(row["gates"]), "roles": tuple(row["roles"])}
    return PromotionPolicy(**kept)
