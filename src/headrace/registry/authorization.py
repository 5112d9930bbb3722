"""Which versions may answer callers, and by which decision; which may be shadows.

A share of the answers is a part of Production, so it requires the same: an approved decision for Production that could
be used now. A version that has been in Production before needs no decision, as for a rollback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from headrace.core.clock import now
from headrace.core.errors import ConflictError, DataError, RefusedError
from headrace.core.text import percent
from headrace.registry.bound import check_bound
from headrace.registry.records import RolloutPlan
from headrace.registry.tables import DECISIONS, REQUESTS, VERSIONS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from headrace.registry.records import Decision, TrafficSplit, Version
    from headrace.registry.versions import Versions

PLAN = "rollout"  # in the evidence of a request for Production


class TrafficAuthorization:
    """What versions may do with the traffic of one environment.

    Args:
        registry: the versions.
    """

    def __init__(self, registry: Versions) -> None:
        self.registry = registry

    def decision(self, version: Version) -> Decision | None:
        """Looks up the decision by which a version may answer callers.

        Returns:
            The decision; None for a version that has been in Production before and needs none.

        Raises:
            RefusedError: the version may not answer callers.
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
        decision = self.approval(version, champion.version)
        if decision is None and not served:
            raise RefusedError(
                f"{version.name} is not approved for Production, against version {champion.version} that is there now; "
                "a share of the answers takes what Production takes.",
                hint=_through_the_gates(version),
            )
        return decision

    def approval(self, version: Version, champion: int) -> Decision | None:
        """Looks up the latest decision by which a version could come to Production now.

        Args:
            version: the version.
            champion: the number of the version in Production, against which the decision was made.

        Returns:
            The decision; None if there is none that is approved, unspent, not expired, and made under the gates that are
            declared now.

        Raises:
            DataError: there is one, and the artifact of the version is not what was registered.
        """
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
        """Whether a version came to Staging through the gates of a policy, whose hash is given."""
        decision = self.to_staging(version)
        return decision is not None and decision.policy_hash == policy

    def to_staging(self, version: Version) -> Decision | None:
        """Returns the decision by which a version came to Staging the last time; None if it did not, or by none."""
        history = self.registry.history(version.model, version.version)
        changes = [change for change in history if change.stage == "Staging"]
        if not changes or changes[-1].decision is None:
            return None
        return self.registry.requests.decided(changes[-1].decision)

    def plan(self, decision: Decision) -> RolloutPlan | None:
        """Returns the rollout that was approved with a version; None if it was approved without one."""
        plan = self.registry.requests.get(decision.request).evidence.get(PLAN)
        return RolloutPlan.from_json(plan) if isinstance(plan, dict) else None

    def for_share(self, version: Version, weight: float) -> Decision | None:
        """Looks up the decision by which a version may have a share of the answers.

        Args:
            version: the version.
            weight: the share, over 0 and below 1.

        Returns:
            The decision; None for a version that has been in Production before and needs none.

        Raises:
            RefusedError: the version may not answer callers, or not so many of them.
            DataError: its artifact is not what was registered.
        """
        decision = self.decision(version)
        plan = None if decision is None else self.plan(decision)
        if plan is not None and weight > plan.steps[-1]:
            raise RefusedError(
                f"{version.name} was approved with a rollout of up to {percent(plan.steps[-1])}, not {percent(weight)}.",
                hint=f"It takes its steps by itself: headrace traffic rollout {version.model} {version.version}",
            )
        return decision

    def check_shadow(self, version: Version) -> None:
        """Refuses a version as a shadow that has not passed the gates before Staging.

        Raises:
            RefusedError: it has not, or is in Production, or nothing is.
            DataError: its artifact is not what was registered.
        """
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
        digest = self.registry.tracking.digest(version.model_uri)
        if digest != version.logged_hash:
            raise DataError(
                f"the artifact of {version.name} changed after it was registered: {digest} is not {version.logged_hash}.",
                hint="It gets no traffic. Restore the files from a backup, or train again.",
            )


def check_unmoved(connection: Connection, version: Version) -> None:
    """Checks inside a transaction that a version is still in the stage in which it was looked at.

    Raises:
        ConflictError: somebody moved it.
    """
    here = (VERSIONS.c.model == version.model, VERSIONS.c.version == version.version)
    stage = connection.execute(select(VERSIONS.c.stage).where(*here)).scalar_one()
    if stage != version.stage:
        raise ConflictError(
            f"{version.name} is in {stage}, not in {version.stage}: somebody moved it.",
            hint=f"headrace model history {version.model}",
        )


def check_unspent(connection: Connection, decision: Decision, before: TrafficSplit) -> None:
    """Checks inside a transaction that a decision still holds which was looked at before it.

    Args:
        connection: of the transaction.
        decision: the decision.
        before: the split that is changed.

    Raises:
        ConflictError: the request was replaced, or the decision was spent, has expired or is against another version.
    """
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


def _through_the_gates(version: Version) -> str:
    return f"Through its gates: headrace run deploy --model {version.model} --version {version.version}"
