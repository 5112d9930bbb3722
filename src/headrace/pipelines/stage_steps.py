"""The steps of a deployment that move something: requests, decisions, stages, rollouts, and everybody who follows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from headrace.core.clock import now
from headrace.core.errors import HeadraceError
from headrace.core.events import is_projection
from headrace.core.ids import digest
from headrace.deployment import rollouts
from headrace.deployment.findings import GateFinding
from headrace.pipelines.outputs.deploy import BegunRollout, FollowedStages, MadeDecision, MadeRequest, MovedStage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.core.events import DeliveryFailure
    from headrace.core.ids import Json
    from headrace.jobs.run import StepContext
    from headrace.pipelines.candidate import Candidate
    from headrace.registry.records import Decision, RolloutPlan, RolloutState, Stage, TransitionRequest, Version
    from headrace.registry.registry import Registry


def standing_request(registry: Registry, version: Version, policy: str, to: Stage) -> TransitionRequest | None:
    """A request for a stage that still holds: open, or approved and not spent, under these gates, against the champion."""
    champion = registry.current(version.model, "Production")
    against = champion.version if champion else None
    for request in registry.requests.list(model=version.model):
        if (request.version, request.to, request.against) != (version.version, to, against):
            continue
        if request.policy_hash != policy or request.status == "replaced":
            continue
        if request.status == "open" or _is_unspent(registry.requests.decision(request.id)):
            return request
    return None


@dataclass(frozen=True)
class StageSteps:
    """What a deployment does with a candidate in the registry."""

    candidate: Candidate

    def ask(self, to: Stage, evidence: dict[str, Json], *, roles: Sequence[str], basis: str = "") -> TransitionRequest:
        """A request for a stage.

        Args:
            to: the stage.
            evidence: what a person decides on.
            roles: whose approval it takes; none: gates decide.
            basis: of the evidence: a person's rejection holds for the same one.
        """
        candidate = self.candidate
        requests = candidate.registry.requests

        def do(step: StepContext) -> MadeRequest:
            made = requests.ask(
                candidate.version,
                to,
                key=step.key,
                by=candidate.by,
                hands=candidate.hands,
                evidence=evidence,
                basis=basis,
                against=candidate.against,
                roles=roles,
                comment=f"{candidate.deployment.name} version {candidate.version.version} to {to}",
            )
            return MadeRequest(request=made.id, by=made.by, roles=roles)

        def stands(was: MadeRequest) -> bool:
            request = requests.get(was.request)
            if request.status == "replaced" or request.policy_hash != candidate.policy.hash:
                return False
            return request.status == "open" or _is_unspent(requests.decision(request.id))

        key = {
            **candidate.key,
            "evidence": evidence,
            "against": candidate.against,
            "roles": list(roles),
            "policy": candidate.policy.hash,
        }
        made = candidate.run.step(f"ask for {to}, {candidate.name}", key, do, output=MadeRequest, holds=stands)
        return requests.get(made.output.request)

    def decide(self, to: Stage, request: TransitionRequest, *, approved: bool, findings: Sequence[GateFinding]) -> None:
        """What the gates decide on a request, with their reasons."""
        candidate = self.candidate
        good = approved and to != "Archived"
        reasons = [finding.reason for finding in findings if (finding.result == "passed") == good]
        reason = "; ".join(reasons) or "no gate stands in the way"

        def do(_: StepContext) -> MadeDecision:
            decision = candidate.registry.requests.by_gates(request.id, approved=approved, reason=reason)
            return MadeDecision(decision=decision.id, request=request.id, approved=approved)

        key = {**candidate.key, "request": request.id}
        candidate.run.step(f"decide on {to}, {candidate.name}", key, do, output=MadeDecision)

    def move(self, to: Stage, request: TransitionRequest) -> None:
        """The stage, by the decision on a request."""
        candidate = self.candidate
        decision = candidate.registry.requests.decision(request.id)
        assert decision is not None  # made before, or the deployment waits

        def do(_: StepContext) -> MovedStage:
            stage = candidate.current.stage
            expect = candidate.version.stage if stage == to else stage
            change = candidate.registry.move(candidate.version, to, expect=expect, decision=decision, by=candidate.by)
            return MovedStage(at=change.at.isoformat(), decision=decision.id, by=decision.by)

        key = {**candidate.key, "decision": decision.id}
        candidate.run.step(f"{to}, {candidate.name}", key, do, output=MovedStage)

    def archive(self, findings: Sequence[GateFinding]) -> None:
        """A version that failed a gate is out of the way, with the reasons."""
        request = self.ask("Archived", {"findings": [finding.to_json() for finding in findings]}, roles=())
        self.decide("Archived", request, approved=True, findings=findings)
        self.move("Archived", request)

    def roll_out(
        self, request: TransitionRequest, decision: Decision, plan: RolloutPlan, *, again: bool
    ) -> RolloutState:
        """The first step of a rollout; the one that was stopped, where it does not begin again.

        Args:
            request: for Production.
            decision: that approved it.
            plan: of the rollout.
            again: whether a rollout that was stopped begins again.
        """
        candidate, made = self.candidate, self.candidate.registry.rollouts
        last = made.of(decision)
        has_begun = candidate.run.has_ended(prefix="rollout, ")  # before this run was taken over
        if last is not None and last.status != "running" and not (again and not has_begun):
            return last

        def do(_: StepContext) -> BegunRollout:
            begun = rollouts.begin(
                candidate.registry,
                candidate.current,
                decision,
                plan,
                home=candidate.home,
                by=candidate.by,
                reason=f"request {request.id}",
            )
            return BegunRollout(rollout=begun.id, share=begun.share, decision=decision.id)

        def stands(was: BegunRollout) -> bool:
            running = made.running(candidate.version.model)
            return running is not None and running.id == was.rollout

        key = {**candidate.key, "after": last.id if last else None}
        candidate.run.step(f"rollout, {candidate.name}", key, do, output=BegunRollout, holds=stands)
        running = made.of(decision)
        assert running is not None  # just begun
        return running

    def follow(self, follow: Callable[[], Sequence[DeliveryFailure]]) -> None:
        """Aliases and `serving.json`. Channels that cannot be told now are tried again later.

        Raises:
            HeadraceError: aliases or `serving.json` could not follow.
        """
        run = self.candidate.run

        def do(step: StepContext) -> FollowedStages:
            troubles = follow()
            for trouble in troubles:
                step.log(f"{trouble.channel}: {trouble.error}; again after {trouble.again:%H:%M:%S} UTC")
            vital = [trouble for trouble in troubles if is_projection(trouble.channel)]
            if vital:
                raise HeadraceError(
                    f"the stages stand, but {vital[0].channel} could not follow: {vital[0].error}",
                    hint="The same command tries again.",
                )
            return FollowedStages(late=[trouble.channel for trouble in troubles])

        run.step("follow", {"run": run.id}, do, output=FollowedStages)

    def basis(self, findings: Sequence[GateFinding]) -> str:
        """A digest of what the evidence says, whenever it was gathered."""
        candidate = self.candidate
        names = ("gate", "result", "value", "limit", "reason", "evidence")
        found = [[getattr(finding, name) for name in names] for finding in findings]
        return digest(
            {**candidate.key, "findings": found, "metrics": candidate.version.metrics, "against": candidate.against}
        )

    def rejection(self, findings: Sequence[GateFinding], to: Stage) -> TransitionRequest | None:
        """The request that a person rejected on the same evidence."""
        candidate = self.candidate
        return candidate.registry.requests.rejection(
            candidate.version, to, basis=self.basis(findings), as_of=candidate.as_of
        )

    @property
    def has_archived(self) -> bool:
        """Whether it was this run, before it was taken over, that archived the version."""
        return self.candidate.run.has_ended(prefix="decide on Archived")

    def archived_for(self) -> tuple[str, ...]:
        """Why the version was archived the last time."""
        version = self.candidate.version
        for request in self.candidate.registry.requests.list(model=version.model):
            if (request.version, request.to) == (version.version, "Archived"):
                findings = [GateFinding(**each) for each in cast("list[dict[str, Any]]", request.evidence["findings"])]
                return tuple(finding.reason for finding in findings if finding.result != "passed")
        return ()

    def checked(self) -> list[Json]:
        """What the checks before Staging found, from the request that was approved on it."""
        requests, version = self.candidate.registry.requests, self.candidate.version
        for request in requests.list(model=version.model):
            if request.version == version.version and request.to == "Staging":
                decision = requests.decision(request.id)
                if decision is not None and decision.approved:
                    return cast("list[Json]", request.evidence["findings"])
        return []


def _is_unspent(decision: Decision | None) -> bool:
    """Whether a decision can still be used."""
    return decision is not None and decision.approved and decision.spent is None and decision.expires > now()
