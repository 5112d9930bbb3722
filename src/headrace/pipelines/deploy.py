"""Deploy: copy, checks, request for Staging with what they found, Staging, comparison, request for Production with the evidence, Production."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from headrace.access.rights import ENGINEER
from headrace.core.text import percent
from headrace.deployment import rollouts
from headrace.deployment.findings import together
from headrace.pipelines.candidate import Candidate, choose
from headrace.pipelines.gate_steps import GateSteps
from headrace.pipelines.route_check import check_routes
from headrace.pipelines.stage_steps import StageSteps, standing_request
from headrace.registry.authorization import PLAN

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime
    from pathlib import Path

    from headrace.core.events import DeliveryFailure
    from headrace.core.ids import Json
    from headrace.deployment.declarations import Deployment
    from headrace.deployment.findings import GateFinding
    from headrace.jobs.run import Run
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.registry.records import Decision, PromotionPolicy, RolloutPlan, TransitionRequest
    from headrace.registry.registry import Registry
    from headrace.tracking.tracking import Tracking
    from headrace.training.package import Origin

Ending = Literal[
    "in production", "on a rollout", "rollout stopped", "waits for approval", "rejected", "no decision", "refused"
]


@dataclass(frozen=True, kw_only=True)
class DeploymentResult:
    """How far a version came.

    Attributes:
        request: the one for Production, once it was made.
        missing: roles whose approval is missing.
        findings: of the gates that did not pass; of a rollout, where it is or why it was stopped.
    """

    version: int
    ending: Ending
    request: int | None
    missing: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()


def deploy(
    lakehouse: Lakehouse,
    tracking: Tracking,
    registry: Registry,
    run: Run,
    deployment: Deployment,
    *,
    version: int | None,
    as_of: datetime,
    home: Path,
    by: str,
    policy: PromotionPolicy,
    hands: Collection[str],
    revive: bool,
    origin: Origin,
    follow: Callable[[], Sequence[DeliveryFailure]],
) -> DeploymentResult:
    """Brings a version as far towards Production as its gates and approvals let it come.

    Args:
        lakehouse: the tables.
        tracking: where versions were logged.
        registry: which moves.
        run: of the ledger.
        deployment: declares the gates.
        version: its number; default: the newest that is not archived.
        as_of: labels known by then count in the comparison.
        home: where servers of this model look.
        by: who deploys.
        policy: what Production takes, as the running code declares it; it is in force.
        hands: who could act as them (`headrace.access.identity.Identity`).
        revive: whether a version that was archived begins again at the first gate, and one whose rollout was stopped at the
            first step.
        origin: the project whose code runs; its serving protocols go into the copy.
        follow: brings aliases and `serving.json` to where the stages are; gives what could not follow.
    """
    candidate = Candidate(
        lakehouse=lakehouse,
        tracking=tracking,
        registry=registry,
        run=run,
        deployment=deployment,
        version=choose(registry, deployment.name, version),
        as_of=as_of,
        home=home,
        by=by,
        policy=policy,
        hands=hands,
        origin=origin,
    )
    delivery = Delivery(candidate)
    result = delivery.bring(revive=revive)
    delivery.stages.follow(follow)
    return result


class Delivery:
    """The road of one candidate, from the copy to Production."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.gates = GateSteps(candidate)
        self.stages = StageSteps(candidate)

    def bring(self, *, revive: bool) -> DeploymentResult:
        """As far as it may come; see `deploy`."""
        version, registry, policy = self.candidate.version, self.candidate.registry, self.candidate.policy
        check_routes(version)
        if version.stage == "Production":
            self.gates.copy()
            return self._ended("in production")
        if version.stage == "Archived" and (not revive or self.stages.has_archived):
            return self._ended("refused", findings=self.stages.archived_for())
        if version.stage == "Staging" and registry.authorization.has_passed(version, policy.hash):
            self.gates.copy()
        else:
            stopped = self.to_staging()
            if stopped is not None:
                return stopped
        request = standing_request(registry, version, policy.hash, "Production")
        if request is not None:
            return self.to_production(request, again=revive)
        findings = self.gates.compare()
        result = together(findings)
        if result == "failed":
            self.stages.archive(findings)
            return self._ended("refused", findings=_reasons(findings))
        if result == "no decision":
            return self._ended("no decision", findings=_reasons(findings))
        rejected = self.stages.rejection(findings, "Production")
        if rejected is not None:
            return self._rejected(rejected)
        return self.to_production(self.ask_for_production(findings), again=revive)

    def to_staging(self) -> DeploymentResult | None:
        """Copy, checks, request, stage. Gives how it ended for a version that does not come there: None for one that does."""
        findings = self.gates.check(self.gates.copy())
        evidence: dict[str, Json] = {
            "metrics": dict(self.candidate.version.metrics),
            "gates": list(self.candidate.policy.gates),
            "findings": [finding.to_json() for finding in findings],
        }
        result = together(findings)
        if result == "needs review":
            return self._to_be_reviewed(findings, evidence)
        request = self.stages.ask("Staging", evidence, roles=(), basis=self.stages.basis(findings))
        self.stages.decide("Staging", request, approved=result == "passed", findings=findings)
        if result != "passed":
            self.stages.archive(findings)
            return self._ended("refused", findings=_reasons(findings))
        self.stages.move("Staging", request)
        return None

    def _to_be_reviewed(self, findings: Sequence[GateFinding], evidence: dict[str, Json]) -> DeploymentResult | None:
        """A request for Staging that takes a person, who sees what was found. None once it was approved."""
        rejected = self.stages.rejection(findings, "Staging")
        if rejected is not None:
            return self._rejected(rejected)
        candidate = self.candidate
        basis = self.stages.basis(findings)
        request = standing_request(candidate.registry, candidate.version, candidate.policy.hash, "Staging")
        if request is None or request.basis != basis or request.roles != self.reviewers:
            dated: dict[str, Json] = {**evidence, "as_of": candidate.as_of.isoformat()}
            request = self.stages.ask("Staging", dated, roles=self.reviewers, basis=basis)
        if candidate.registry.requests.decision(request.id) is None:
            return self._waits(request)
        self.stages.move("Staging", request)
        return None

    def ask_for_production(self, findings: Sequence[GateFinding]) -> TransitionRequest:
        """The request, with everything that a person needs to decide on it."""
        candidate, version, rollout = self.candidate, self.candidate.version, self.candidate.deployment.rollout
        evidence: dict[str, Json] = {
            "as_of": candidate.as_of.isoformat(),
            "metrics": dict(version.metrics),
            "findings": [*self.stages.checked(), *(finding.to_json() for finding in findings)],
            "gates": list(candidate.policy.gates),
            "code": version.code,
            "inputs": dict(version.inputs),
            "fit": [version.fit_from, version.fit_to],
            **({"promoted": dict(version.promoted)} if version.promoted else {}),
        }
        waived = [role for gate in candidate.deployment.gates for role in gate.roles]
        if waived and not candidate.policy.roles:
            evidence["waived"] = f"approval by {', '.join(waived)}: {candidate.by} is alone here"
        if rollout is not None and candidate.champion is not None:
            rollouts.check_copy(
                candidate.registry, candidate.current, home=candidate.home, columns=rollout.plan.by
            )  # before anybody signs
            evidence[PLAN] = rollout.plan.to_json()
        roles = self.reviewers if together(findings) == "needs review" else candidate.policy.roles
        return self.stages.ask("Production", evidence, roles=roles, basis=self.stages.basis(findings))

    def to_production(self, request: TransitionRequest, *, again: bool) -> DeploymentResult:
        """The stage, or the first step of the rollout that was requested, when everybody who has to has approved.

        Args:
            request: for Production.
            again: whether a rollout that was stopped begins again.
        """
        if not request.roles:
            self.stages.decide("Production", request, approved=True, findings=[])
        decision = self.candidate.registry.requests.decision(request.id)
        if decision is None:
            return self._waits(request)
        plan = self.candidate.registry.authorization.plan(decision)
        if plan is not None:
            return self._on_rollout(request, decision, plan, again=again)
        self.stages.move("Production", request)
        waived = request.evidence.get("waived")
        return self._ended("in production", request, findings=() if waived is None else (str(waived),))

    def _on_rollout(
        self, request: TransitionRequest, decision: Decision, plan: RolloutPlan, *, again: bool
    ) -> DeploymentResult:
        rollout = self.stages.roll_out(request, decision, plan, again=again)
        if rollout.status != "running":
            return self._ended("rollout stopped", request, findings=(rollout.reason,))
        where = f"at {percent(rollout.share)}, step {rollout.step + 1} of {len(plan.steps)}"
        return self._ended("on a rollout", request, findings=(where,))

    @property
    def reviewers(self) -> tuple[str, ...]:
        """Whose approval takes the place of a gate that decides nothing: of those who approve Production, or an engineer's."""
        named = tuple(dict.fromkeys(role for gate in self.candidate.deployment.gates for role in gate.roles))
        return self.candidate.policy.roles or named or (ENGINEER,)

    def _waits(self, request: TransitionRequest) -> DeploymentResult:
        """Until somebody has signed; with what a gate wants them to look at."""
        standing = self.candidate.registry.requests.get(request.id)
        findings = cast("list[dict[str, Any]]", standing.evidence["findings"])
        reasons = tuple(each["reason"] for each in findings if each["result"] == "needs review")
        return self._ended("waits for approval", standing, missing=standing.missing, findings=reasons)

    def _rejected(self, request: TransitionRequest) -> DeploymentResult:
        """The version stays where it is, for a person said so on the same evidence."""
        decision = self.candidate.registry.requests.decision(request.id)
        assert decision is not None  # it was rejected
        said = f"request {request.id} was rejected by {', '.join(decision.by)}, on the same evidence: {decision.reason}"
        return self._ended("rejected", request, findings=(said,))

    def _ended(
        self,
        ending: Ending,
        request: TransitionRequest | None = None,
        *,
        missing: tuple[str, ...] = (),
        findings: tuple[str, ...] = (),
    ) -> DeploymentResult:
        return DeploymentResult(
            version=self.candidate.version.version,
            ending=ending,
            request=request.id if request else None,
            missing=missing,
            findings=findings,
        )


def _reasons(findings: Sequence[GateFinding]) -> tuple[str, ...]:
    """Of the gates that did not pass."""
    return tuple(finding.reason for finding in findings if finding.result != "passed")
