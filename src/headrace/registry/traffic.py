"""Which versions answer a model's traffic: the one in Production, candidates with a share of the entities, shadows.

Each change is an append-only row, with an audit entry and an event, all in one transaction. A version that comes to
Production, or that is archived, changes the split in the transaction of its move. `authorization` says which versions
may have a share.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sqlalchemy import select

from headrace.core.errors import ConflictError, RefusedError
from headrace.core.failpoints import reach
from headrace.core.text import percent
from headrace.registry import split
from headrace.registry.authorization import check_unmoved, check_unspent
from headrace.registry.records import Share, TrafficSplit
from headrace.registry.tables import ROLLOUTS, TRAFFIC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from headrace.registry.authorization import TrafficAuthorization
    from headrace.registry.versions import Versions

SMALLEST = 1e-6  # of a share


class TrafficSplits:
    """The splits of one environment.

    Args:
        registry: the versions.
        authorization: which of them may answer callers.
    """

    def __init__(self, registry: Versions, authorization: TrafficAuthorization) -> None:
        self.registry = registry
        self.authorization = authorization

    def models(self) -> list[str]:
        """Returns the models whose traffic was ever divided, by name; the version in Production has all of any other one's."""
        with self.registry.state.read() as connection:
            return list(connection.execute(select(TRAFFIC.c.model).distinct().order_by(TRAFFIC.c.model)).scalars())

    def current(self, model: str) -> TrafficSplit:
        """Returns how the traffic of a model is divided now.

        Raises:
            NotFoundError: there is no such model.
        """
        self.registry.check(model)
        with self.registry.state.read() as connection:
            return split.current(connection, model)

    def history(self, model: str) -> list[TrafficSplit]:
        """Returns every split of the traffic of a model, oldest first.

        Raises:
            NotFoundError: there is no such model.
        """
        self.registry.check(model)
        with self.registry.state.read() as connection:
            return split.history(connection, model)

    def experiment(self, model: str) -> list[TrafficSplit]:
        """Returns the splits since the present candidates were first hashed with the present salt, oldest first.

        Raises:
            NotFoundError: there is no such model.
        """
        history = self.history(model)
        if not history:
            return []
        first = len(history) - 1
        while first and history[first - 1].salt == history[-1].salt and _goes_on(history[first - 1], history[-1]):
            first -= 1
        return history[first:]

    def divide(
        self,
        model: str,
        candidates: Mapping[int, float],
        *,
        columns: Sequence[str] = (),
        expect: int,
        by: str,
        reason: str,
    ) -> TrafficSplit:
        """Sets the shares of candidates. A candidate that is not named any more loses its share.

        Args:
            model: the name of the model.
            candidates: for each version its share, over 0 and below 1. The version in Production has the rest.
            columns: the columns of a request that identify the entity. Defaults to the key of the decision.
            expect: the number of the split that this change follows.
            by: the name of the person who makes the change.
            reason: why; it is kept with the change.

        Returns:
            The new split.

        Raises:
            RefusedError: a share is not possible, a version may not answer callers, or a rollout runs.
            NotFoundError: there is no such version.
            ConflictError: somebody changed the split meanwhile.
            DataError: the artifact of a version is not what was registered.
        """
        _check_weights(candidates)
        versions = [self.registry.get(model, number) for number in candidates]
        decisions = [self.authorization.for_share(version, candidates[version.version]) for version in versions]
        reach(f"traffic.changing:{model}")
        with self.registry.state.begin() as connection:
            before = _expected(connection, model, expect)
            _refuse_while_a_rollout_runs(connection, model)
            for version, decision in zip(versions, decisions, strict=True):
                check_unmoved(connection, version)
                if decision is not None:
                    check_unspent(connection, decision, before)
            order = [share.version for share in before.candidates if share.version in candidates]
            order += [number for number in candidates if number not in order]
            shares = tuple(Share(version=number, weight=round(candidates[number], 9)) for number in order)
            return split.write(connection, before, candidates=shares, columns=tuple(columns), by=by, reason=reason)

    def shadow(self, model: str, version: int, share: float, *, expect: int, by: str, reason: str) -> TrafficSplit:
        """Sends a share of the requests to a version, too, whose answers no caller gets.

        Args:
            model: the name of the model.
            version: the number of the version.
            share: the share of the requests, from 0 to 1; 0 ends it.
            expect: the number of the split that this change follows.
            by: the name of the person who makes the change.
            reason: why; it is kept with the change.

        Returns:
            The new split.

        Raises:
            RefusedError: the version has not passed the gates before Staging, or answers callers already.
            NotFoundError: there is no such version.
            ConflictError: somebody changed the split meanwhile.
            DataError: its artifact is not what was registered.
        """
        if not math.isfinite(share) or not 0 <= share <= 1:
            raise RefusedError(f"a share of {share} is not possible.", hint="From 0% to 100%.")
        candidate = self.registry.get(model, version)
        if share:
            self.authorization.check_shadow(candidate)
        with self.registry.state.begin() as connection:
            before = _expected(connection, model, expect)
            check_unmoved(connection, candidate)
            if before.weight(version) is not None:
                raise RefusedError(
                    f"{candidate.name} answers {percent(before.weight(version) or 0)} itself: it is no shadow.",
                    hint=f"headrace traffic stop {model}",
                )
            others = tuple(shadow for shadow in before.shadows if shadow.version != version)
            added = (Share(version=version, weight=round(share, 9)),) if share else ()
            if not added and others == before.shadows:
                raise RefusedError(f"{candidate.name} is no shadow.", hint=f"headrace traffic show {model}")
            return split.write(connection, before, shadows=others + added, by=by, reason=reason)


def _refuse_while_a_rollout_runs(connection: Connection, model: str) -> None:
    rollout = connection.execute(
        select(ROLLOUTS.c.version).where(ROLLOUTS.c.model == model, ROLLOUTS.c.status == "running")
    ).scalar()
    if rollout is not None:
        raise RefusedError(
            f"version {rollout} of {model} is on a rollout, which sets the shares.",
            hint=f"Wait for its end, or end it: headrace traffic stop {model} --reason …",
        )


def _expected(connection: Connection, model: str, expect: int) -> TrafficSplit:
    current = split.current(connection, model)
    if current.number != expect:
        raise ConflictError(
            f"the traffic of {model} was changed meanwhile, by {current.by}: {current.reason} ({current.id}).",
            hint=f"Look at it and decide again: headrace traffic show {model}",
        )
    if current.primary is None:
        raise RefusedError(
            f"nothing of {model} is in Production: there is no traffic to divide.",
            hint=f"headrace run deploy --model {model}",
        )
    return current


def _check_weights(candidates: Mapping[int, float]) -> None:
    for version, weight in candidates.items():
        if not math.isfinite(weight) or not SMALLEST <= weight < 1:
            raise RefusedError(
                f"version {version} cannot have a share of {percent(weight)}.",
                hint="Above 0 % and below 100 %; a version without a share is left out, and all of it is Production.",
            )
    if sum(candidates.values()) > 1 - SMALLEST:
        raise RefusedError(
            f"the candidates have {percent(sum(candidates.values()))} together, which leaves nothing for the version in Production.",
            hint="Below 100 %: what they are compared with must answer too.",
        )


def _goes_on(earlier: TrafficSplit, later: TrafficSplit) -> bool:
    """Whether a later split has what an earlier one began: its candidates (the salt says so), or else its shadows."""
    if later.candidates or not later.shadows:
        return bool(later.candidates)
    return earlier.shadows == later.shadows
