"""Who answers the traffic of a model: the version in Production, candidates with a share of the entities, shadows.

Each change is a row that nothing replaces; it is in the audit and an event tells of it, all in one transaction. A version
that comes to Production, or that is archived, changes the split in the transaction of its move.

A share of the answers is a part of Production, so it takes the same: an approved decision for Production that could be spent
now, or that the version has been in Production before, which is what a rollback takes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import select

from headrace.core.clock import now
from headrace.core.errors import ConflictError, DataError, RefusedError
from headrace.core.failpoints import reach
from headrace.core.text import percent
from headrace.registry import split
from headrace.registry.bound import check_bound
from headrace.registry.records import RolloutPlan, Share, TrafficSplit
from headrace.registry.tables import DECISIONS, REQUESTS, ROLLOUTS, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from headrace.core.state import State
    from headrace.registry.policies import Policies
    from headrace.registry.records import Decision, Stage, StageChange, Version
    from headrace.registry.requests import Requests
    from headrace.tracking.tracking import Tracking

PLAN = "rollout"  # in the evidence of a request for Production
SMALLEST = 1e-6  # of a share


class Versions(Protocol):
    """What traffic asks the registry."""

    @property
    def state(self) -> State:
        """Its database."""
        ...

    @property
    def tracking(self) -> Tracking:
        """Where versions are logged."""
        ...

    @property
    def requests(self) -> Requests:
        """See Requests."""
        ...

    @property
    def policies(self) -> Policies:
        """See Policies."""
        ...

    def versions(self, model: str | None = None) -> list[Version]:
        """All of a model; raises NotFoundError for one that is not there."""
        ...

    def get(self, model: str, version: int) -> Version:
        """One of them."""
        ...

    def current(self, model: str, stage: Stage) -> Version | None:
        """The one in a stage."""
        ...

    def history(self, model: str, version: int | None = None) -> list[StageChange]:
        """How it came there."""
        ...


class TrafficSplits:
    """The splits of one environment.

    Args:
        registry: whose versions they are of.
    """

    def __init__(self, registry: Versions) -> None:
        self.registry = registry

    def current(self, model: str) -> TrafficSplit:
        """How the traffic of a model is divided now.

        Raises:
            NotFoundError: there is no such model.
        """
        self.registry.versions(model)
        with self.registry.state.read() as connection:
            return split.current(connection, model)

    def history(self, model: str) -> list[TrafficSplit]:
        """Every change, oldest first.

        Raises:
            NotFoundError: there is no such model.
        """
        self.registry.versions(model)
        with self.registry.state.read() as connection:
            return split.history(connection, model)

    def experiment(self, model: str) -> list[TrafficSplit]:
        """The changes since the candidates of now were first hashed with the salt of now, oldest first."""
        history = self.history(model)
        if not history:
            return []
        first = len(history) - 1
        while first and history[first - 1].salt == history[-1].salt and _goes_on(history[first - 1], history[-1]):
            first -= 1
        return history[first:]

    def authorization(self, version: Version) -> Decision | None:
        """The decision by which a version may answer callers; None: it has been in Production before.

        Raises:
            RefusedError: it has neither.
            DataError: its artifact is not what was registered.
        """
        self._check_artifact(version)
        champion = self.registry.current(version.model, "Production")
        if champion is None:
            raise RefusedError(
                f"nothing of {version.model} is in Production: there is no traffic to divide.",
                hint=f"headrace run deploy --model {version.model}",
            )
        if champion.version == version.version:
            raise RefusedError(
                f"{version.name} is in Production: it has what candidates leave.", hint="Name another version."
            )
        served = self.has_served(version)
        if version.stage == "Archived" and not served:
            raise RefusedError(
                f"{version.name} is archived and has never been in Production.", hint=_through_the_gates(version)
            )
        found = self.approval(version, champion.version)
        if found is None and not served:
            raise RefusedError(
                f"{version.name} is not approved for Production, against version {champion.version} that is there now; "
                "a share of the answers takes what Production takes.",
                hint=_through_the_gates(version),
            )
        return found

    def approval(self, version: Version, champion: int) -> Decision | None:
        """The latest decision by which a version could come to Production now."""
        requests, policy = self.registry.requests, self.registry.policies.current(version.model).hash
        for request in requests.list(model=version.model):
            if (request.version, request.to, request.against) != (version.version, "Production", champion):
                continue
            if request.status == "replaced" or request.policy_hash != policy:
                continue
            decision = requests.decision(request.id)
            if decision is not None and decision.approved and decision.spent is None and decision.expires > now():
                check_bound(version, "Production", decision, request)
                return decision
        return None

    def has_served(self, version: Version) -> bool:
        """Whether a version is or has been in Production."""
        history = self.registry.history(version.model, version.version)
        return any(change.stage == "Production" for change in history)

    def has_passed(self, version: Version, policy: str) -> bool:
        """Whether a version came to Staging through the gates of a policy."""
        decision = self.to_staging(version)
        return decision is not None and decision.policy_hash == policy

    def to_staging(self, version: Version) -> Decision | None:
        """The decision by which a version came to Staging the last time."""
        came = [each for each in self.registry.history(version.model, version.version) if each.stage == "Staging"]
        return self.registry.requests.decided(came[-1].decision) if came and came[-1].decision is not None else None

    def plan(self, decision: Decision) -> RolloutPlan | None:
        """The rollout that was approved with a version; None without one."""
        kept = self.registry.requests.get(decision.request).evidence.get(PLAN)
        return RolloutPlan.from_json(kept) if isinstance(kept, dict) else None

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
        """Gives candidates their shares; a candidate that is not named any more gets none.

        Args:
            model: its name.
            candidates: version → share; the version in Production has the rest.
            columns: of a request, which name the entity; none for the key of the decision.
            expect: the number of the split that this change follows.
            by: who does it.
            reason: kept with the change.

        Raises:
            RefusedError: a share is not possible, a version may not answer, or a rollout runs.
            NotFoundError: no such version.
            ConflictError: somebody changed the split meanwhile.
            DataError: the artifact of a version is not what was registered.
        """
        _check_weights(candidates)
        versions = [self.registry.get(model, number) for number in candidates]
        decisions = [self._may_have(version, candidates[version.version]) for version in versions]
        reach(f"traffic.changing:{model}")
        with self.registry.state.begin() as connection:
            before = _expected(connection, model, expect)
            _refuse_while_a_rollout_runs(connection, model)
            for version, decision in zip(versions, decisions, strict=True):
                _check_unmoved(connection, version)
                if decision is not None:
                    _check_unspent(connection, decision, before)
            order = [each.version for each in before.candidates if each.version in candidates]
            order += [number for number in candidates if number not in order]
            shares = tuple(Share(version=number, weight=round(candidates[number], 9)) for number in order)
            return split.write(connection, before, candidates=shares, columns=tuple(columns), by=by, reason=reason)

    def shadow(self, model: str, version: int, share: float, *, expect: int, by: str, reason: str) -> TrafficSplit:
        """Asks a version too, for a share of the requests; 0 ends that.

        Raises:
            RefusedError: it has not passed the gates before Staging, or answers already.
            NotFoundError: no such version.
            ConflictError: somebody changed the split meanwhile.
            DataError: its artifact is not what was registered.
        """
        if not math.isfinite(share) or not 0 <= share <= 1:
            raise RefusedError(f"a share of {share} is not possible.", hint="From 0% to 100%.")
        found = self.registry.get(model, version)
        if share:
            self._may_shadow(found)
        with self.registry.state.begin() as connection:
            before = _expected(connection, model, expect)
            _check_unmoved(connection, found)
            if before.weight(version) is not None:
                raise RefusedError(
                    f"{found.name} answers {percent(before.weight(version) or 0)} itself: it is no shadow.",
                    hint=f"headrace traffic stop {model}",
                )
            others = tuple(each for each in before.shadows if each.version != version)
            added = (Share(version=version, weight=round(share, 9)),) if share else ()
            if not added and others == before.shadows:
                raise RefusedError(f"{found.name} is no shadow.", hint=f"headrace traffic show {model}")
            return split.write(connection, before, shadows=others + added, by=by, reason=reason)

    def _may_have(self, version: Version, weight: float) -> Decision | None:
        decision = self.authorization(version)
        plan = None if decision is None else self.plan(decision)
        if plan is not None and weight > plan.steps[-1]:
            raise RefusedError(
                f"{version.name} was approved with a rollout of up to {percent(plan.steps[-1])}, not {percent(weight)}.",
                hint=f"It takes its steps by itself: headrace traffic rollout {version.model} {version.version}",
            )
        return decision

    def _may_shadow(self, version: Version) -> None:
        self._check_artifact(version)
        if version.stage == "Production":
            raise RefusedError(f"{version.name} is in Production: it is no shadow of itself.")
        if version.stage != "Staging" and not self.has_served(version):
            raise RefusedError(
                f"{version.name} is in {version.stage}: a shadow has passed the gates before Staging, and was not archived there.",
                hint=_through_the_gates(version),
            )
        if not self.has_served(version) and not self.has_passed(
            version, self.registry.policies.current(version.model).hash
        ):
            raise RefusedError(
                f"{version.name} came to Staging through other gates than those that are declared now.",
                hint=_through_the_gates(version),
            )
        if self.registry.current(version.model, "Production") is None:
            raise RefusedError(f"nothing of {version.model} is in Production: there is nothing to shadow.")

    def _check_artifact(self, version: Version) -> None:
        found = self.registry.tracking.digest(version.model_uri)
        if found != version.logged_hash:
            raise DataError(
                f"the artifact of {version.name} changed after it was registered: {found} is not {version.logged_hash}.",
                hint="It gets no traffic. Restore the files from a backup, or train again.",
            )


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
    found = split.current(connection, model)
    if found.number != expect:
        raise ConflictError(
            f"the traffic of {model} was changed meanwhile, by {found.by}: {found.reason} ({found.id}).",
            hint=f"Look at it and decide again: headrace traffic show {model}",
        )
    if found.primary is None:
        raise RefusedError(
            f"nothing of {model} is in Production: there is no traffic to divide.",
            hint=f"headrace run deploy --model {model}",
        )
    return found


def _check_unmoved(connection: Connection, version: Version) -> None:
    here = (VERSIONS.c.model == version.model, VERSIONS.c.version == version.version)
    stage = connection.execute(select(VERSIONS.c.stage).where(*here)).scalar_one()
    if stage != version.stage:
        raise ConflictError(
            f"{version.name} is in {stage}, not in {version.stage}: somebody moved it.",
            hint=f"headrace model history {version.model}",
        )


def _check_unspent(connection: Connection, decision: Decision, before: TrafficSplit) -> None:
    """What was looked at before the transaction still holds in it."""
    status = connection.execute(select(REQUESTS.c.status).where(REQUESTS.c.id == decision.request)).scalar_one()
    if status == "replaced":
        raise ConflictError(
            f"request {decision.request} was replaced meanwhile: other gates are declared.",
            hint=f"headrace run deploy --model {before.model} --version {decision.version}",
        )
    spent = connection.execute(select(DECISIONS.c.spent).where(DECISIONS.c.id == decision.id)).scalar_one()
    if spent is not None or decision.expires <= now() or decision.against != before.primary:
        raise ConflictError(
            f"the decision on request {decision.request} does not hold any more: somebody moved a version meanwhile.",
            hint=f"headrace model history {before.model}",
        )


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


def _through_the_gates(version: Version) -> str:
    return f"Through its gates: headrace run deploy --model {version.model} --version {version.version}"
