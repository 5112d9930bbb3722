"""Deploy: copy, checks, request for Staging with what they found, Staging, comparison, request for Production with the evidence, Production."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

from headrace.access.rights import ENGINEER
from headrace.core.clock import now
from headrace.core.errors import HeadraceError, NotFoundError
from headrace.core.events import is_projection
from headrace.core.ids import digest
from headrace.core.text import counted, percent
from headrace.deployment import comparison, rollouts, serving_bundle
from headrace.deployment.findings import GateFinding, together
from headrace.deployment.gates.base import of_phase
from headrace.deployment.gates.evidence import Evidence, HeldOutRows
from headrace.pipelines.model_inputs import descriptions, tables
from headrace.registry.authorization import PLAN
from headrace.scoring.version import load
from headrace.training.training_set import LABEL, PART, table_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from headrace.core.events import DeliveryFailure
    from headrace.core.ids import Json
    from headrace.deployment.declarations import Deployment
    from headrace.jobs.run import Run, StepContext
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.registry.records import Decision, PromotionPolicy, RolloutPlan, Stage, TransitionRequest, Version
    from headrace.registry.registry import Registry
    from headrace.scoring.version import LoadedVersion
    from headrace.tracking.tracking import Tracking

Output = dict[str, Any]
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


def outline(
    deployment: Deployment, registry: Registry, *, version: int | None, roles: Sequence[str], policy: str
) -> list[dict[str, object]]:
    """What a deployment of a version would do now, for a dry run.

    Args:
        deployment: says the gates.
        registry: where the version stands; nothing of it is changed.
        version: its number; default: the newest that is not archived.
        roles: whose approval it takes.
        policy: the hash of what the running code declares.
    """
    gates = [gate.name for gate in of_phase(deployment.gates, "check")]
    compared = [" ".join((gate.name, *gate.metrics)) for gate in of_phase(deployment.gates, "compare")]
    on_rollout = registry.current(deployment.name, "Production") is not None  # the first version comes there at once
    found = (
        None
        if version is None and deployment.name not in registry.models()
        else candidate(registry, deployment.name, version)
    )
    to_staging, to_production, last = _runs(registry, found, policy)
    return [
        {
            "step": "copy",
            "runs": "yes" if found else last,
            "takes": "",
            "writes": "the copy that servers start from, with samples",
        },
        {"step": "check", "runs": to_staging, "takes": ", ".join(gates), "writes": "findings on the version"},
        {"step": "ask for Staging", "runs": to_staging, "takes": "", "writes": "a request with the findings"},
        {"step": "Staging", "runs": to_staging, "takes": "all checks passed", "writes": "the stage"},
        {"step": "compare", "runs": to_production, "takes": ", ".join(compared), "writes": comparison.TABLE},
        {
            "step": "ask for Production",
            "runs": to_production,
            "takes": "all comparisons passed",
            "writes": "a request with the evidence",
        },
        *({**step, "runs": last} for step in _rollout_steps(deployment, roles, on_rollout=on_rollout)),
    ]


def _runs(registry: Registry, version: Version | None, policy: str) -> tuple[str, str, str]:
    """Whether the steps up to Staging, those up to the request for Production, and the last one run, and why not."""
    if version is None:
        return _thrice("once a version is trained")
    if version.stage == "Production":
        return _thrice("no: it is in Production")
    request = _pending_request(registry, version, policy, "Production")
    to_production = "yes" if request is None else f"no: request {request.id} stands, {request.status}"
    if version.stage != "Staging":
        return "yes", to_production, "yes"
    decision = registry.authorization.to_staging(version)
    if decision is not None and decision.policy_hash == policy:
        return f"no: decision {decision.id} stands", to_production, "yes"
    return "again: the gates have changed", to_production, "yes"


def _thrice(said: str) -> tuple[str, str, str]:
    return said, said, said


def _pending_request(registry: Registry, version: Version, policy: str, to: Stage) -> TransitionRequest | None:
    """A request for a stage that still holds: open, or approved and not spent, under these gates, against the champion."""
    champion = registry.current(version.model, "Production")
    against = champion.version if champion else None
    for request in registry.requests.list(model=version.model):
        if (request.version, request.to, request.against) != (version.version, to, against):
            continue
        if request.policy_hash != policy or request.status == "replaced":
            continue
        if request.status == "open" or _good(registry.requests.decision(request.id)):
            return request
    return None


def _rollout_steps(deployment: Deployment, roles: Sequence[str], *, on_rollout: bool) -> list[dict[str, object]]:
    approved = ", ".join(f"approval by {role}" for role in roles)
    if deployment.rollout is None or not on_rollout:
        return [{"step": "Production", "takes": approved, "writes": "the stage"}]
    plan, stops = deployment.rollout.plan, ", ".join(rule.name for rule in deployment.rollout.guardrails)
    steps = ", ".join(percent(each) for each in plan.steps)
    return [
        {"step": "rollout", "takes": approved, "writes": f"a share of the entities: {steps}"},
        {"step": "Production", "takes": f"its steps, and no stop by {stops or 'a person'}", "writes": "the stage"},
    ]


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
    follow: Callable[[], Sequence[DeliveryFailure]],
) -> DeploymentResult:
    """Brings a version as far towards Production as its gates and approvals let it come.

    Args:
        lakehouse: the tables.
        tracking: where versions were logged.
        registry: which moves.
        run: of the ledger.
        deployment: says the gates.
        version: its number; default: the newest that is not archived.
        as_of: labels known by then count in the comparison.
        home: where servers of this model look.
        by: who asks.
        policy: what Production takes, as the running code declares it; it is in force.
        hands: who could act as them (`headrace.access.identity.Identity`).
        revive: whether a version that was archived begins again at the first gate, and one whose rollout was stopped at the
            first step.
        follow: brings aliases and `serving.json` to where the stages are; gives what could not follow.
    """
    found = candidate(registry, deployment.name, version)
    delivery = Delivery(lakehouse, tracking, registry, run, deployment, found, as_of, home, by, policy, hands)
    if found.stage == "Production":
        delivery.copy()
        delivery.follow(follow)
        return DeploymentResult(version=found.version, ending="in production", request=None)
    if found.stage == "Archived" and (not revive or delivery.has_archived):
        delivery.follow(follow)
        return DeploymentResult(version=found.version, ending="refused", request=None, findings=delivery.refused_for())
    if found.stage == "Staging" and delivery.has_passed:
        delivery.copy()
    else:
        stopped = delivery.to_staging()
        if stopped is not None:
            delivery.follow(follow)
            return stopped
    request = delivery.pending_request
    if request is None:
        findings = delivery.compare()
        result, reasons = together(findings), _reasons(findings)
        if result == "failed":
            delivery.archive(findings)
            delivery.follow(follow)
            return DeploymentResult(version=found.version, ending="refused", request=None, findings=reasons)
        if result == "no decision":
            delivery.follow(follow)
            return DeploymentResult(version=found.version, ending="no decision", request=None, findings=reasons)
        rejected = delivery.rejection(findings, "Production")
        if rejected is not None:
            delivery.follow(follow)
            return delivery.rejected(rejected)
        request = delivery.ask_for_production(findings)
    delivered = delivery.to_production(request, again=revive)
    delivery.follow(follow)
    return delivered


def candidate(registry: Registry, model: str, version: int | None) -> Version:
    """The version asked for; otherwise the newest that was not archived.

    Raises:
        NotFoundError: there is none.
    """
    if version is not None:
        return registry.get(model, version)
    if model not in registry.models():
        raise NotFoundError("version of model", model, registry.models(), hint="Train one first: headrace run train")
    active = [each for each in registry.versions(model) if each.stage != "Archived"]
    if not active:
        raise NotFoundError(
            "active version of model", model, None, hint="All were archived. Train another: headrace run train"
        )
    return active[-1]


@dataclass(frozen=True)
class Delivery:
    """The steps of one deployment; each is a call into a lower room."""

    lakehouse: Lakehouse
    tracking: Tracking
    registry: Registry
    run: Run
    deployment: Deployment
    version: Version
    as_of: datetime
    home: Path
    by: str
    policy: PromotionPolicy
    hands: Collection[str]

    @cached_property
    def champion(self) -> Version | None:
        """What is in Production now."""
        return self.registry.current(self.deployment.name, "Production")

    @cached_property
    def pending_request(self) -> TransitionRequest | None:
        """A request for Production that still holds."""
        return _pending_request(self.registry, self.version, self.policy.hash, "Production")

    @property
    def has_passed(self) -> bool:
        """Whether it came to Staging through the gates that are declared now."""
        return self.registry.authorization.has_passed(self.version, self.policy.hash)

    def rejection(self, findings: Sequence[GateFinding], to: Stage) -> TransitionRequest | None:
        """The request that a person rejected on the same evidence."""
        basis = self._basis(findings)
        return self.registry.requests.rejection(self.version, to, basis=basis, as_of=self.as_of)

    def rejected(self, request: TransitionRequest) -> DeploymentResult:
        """The version stays where it is, for a person said so."""
        return DeploymentResult(
            version=self.version.version, ending="rejected", request=request.id, findings=(self.said_of(request),)
        )

    def said_of(self, rejected: TransitionRequest) -> str:
        """What a person said of a request, and the way on."""
        decision = self.registry.requests.decision(rejected.id)
        assert decision is not None  # it was rejected
        return (
            f"request {rejected.id} was rejected by {', '.join(decision.by)}, on the same evidence: {decision.reason}"
        )

    @property
    def has_archived(self) -> bool:
        """Whether it was this run, before it was taken over, that archived the version."""
        return bool(self.run.outputs(prefix="decide on Archived"))

    def refused_for(self) -> tuple[str, ...]:
        """Why the version was archived the last time."""
        for request in self.registry.requests.list(model=self.version.model):
            if (request.version, request.to) == (self.version.version, "Archived"):
                findings = [GateFinding(**each) for each in cast("list[dict[str, Any]]", request.evidence["findings"])]
                return tuple(finding.reason for finding in findings if finding.result != "passed")
        return ()

    def to_staging(self) -> DeploymentResult | None:
        """Copy, checks, request, stage. Gives how it ended for a version that does not come there: None for one that does."""
        number = self.version.version
        findings = self.check(self.copy())
        evidence: dict[str, Json] = {
            "metrics": dict(self.version.metrics),
            "gates": list(self.policy.gates),
            "findings": [finding.to_json() for finding in findings],
        }
        result, reasons = together(findings), _reasons(findings)
        if result == "needs review":
            return self._to_be_reviewed(findings, evidence)
        request = self._ask("Staging", evidence, roles=(), basis=self._basis(findings))
        if result != "passed":
            self._decide("Staging", request, approved=False, findings=findings)
            self.archive(findings)
            return DeploymentResult(version=number, ending="refused", request=None, findings=reasons)
        self._decide("Staging", request, approved=True, findings=findings)
        self._move("Staging", request)
        return None

    def _to_be_reviewed(self, findings: Sequence[GateFinding], evidence: dict[str, Json]) -> DeploymentResult | None:
        """A request for Staging that takes a person, who sees what was found. None once it was approved."""
        rejected = self.rejection(findings, "Staging")
        if rejected is not None:
            return self.rejected(rejected)
        request, basis = (
            _pending_request(self.registry, self.version, self.policy.hash, "Staging"),
            self._basis(findings),
        )
        if request is None or request.basis != basis or request.roles != self.reviewers:
            dated: dict[str, Json] = {**evidence, "as_of": self.as_of.isoformat()}
            request = self._ask("Staging", dated, roles=self.reviewers, basis=basis)
        if self.registry.requests.decision(request.id) is None:
            return self._waits(request)
        self._move("Staging", request)
        return None

    def _waits(self, request: TransitionRequest) -> DeploymentResult:
        """Until somebody has signed; with what a gate wants them to look at."""
        asked = self.registry.requests.get(request.id)
        findings = cast("list[dict[str, Any]]", asked.evidence["findings"])
        return DeploymentResult(
            version=self.version.version,
            ending="waits for approval",
            request=asked.id,
            missing=asked.missing,
            findings=tuple(each["reason"] for each in findings if each["result"] == "needs review"),
        )

    @property
    def reviewers(self) -> tuple[str, ...]:
        """Whose approval takes the place of a gate that decides nothing: of those who approve Production, or an engineer's."""
        named = tuple(dict.fromkeys(role for gate in self.deployment.gates for role in gate.roles))
        return self.policy.roles or named or (ENGINEER,)

    def copy(self) -> serving_bundle.Staged:
        """The copy that servers start from, with what MLflow's pyfunc answers on rows of the training set."""
        made: dict[str, serving_bundle.Staged] = {}

        def stage() -> serving_bundle.Staged:
            rows = self.lakehouse.snapshot(table_name(self.deployment.model), self.version.training_set)
            samples = rows.to_arrow().to_pandas()
            samples = samples[samples[PART] == "test"].head(serving_bundle.SAMPLES)
            made = serving_bundle.stage(
                self.tracking, self._fresh, self.home, samples=samples, serve=self.deployment.serve
            )
            self.registry.seal_copy(self.version, made.copy_hash, by=self.by)
            return made

        def do(_: StepContext) -> Output:
            made["copy"] = stage()
            return {
                "samples": made["copy"].samples,
                "says": f"{counted(made['copy'].samples, 'sample')}, {made['copy'].mismatches} unlike MLflow's pyfunc",
            }

        serve = repr(self.deployment.serve)
        self.run.step(f"copy {self._name}", {**self._key, "serve": serve}, do, holds=self._lies)
        return made.get("copy") or stage()

    def check(self, staged: serving_bundle.Staged) -> list[GateFinding]:
        """The gates that look at the version alone."""
        described = descriptions(self.deployment.model, self.lakehouse)
        gates = of_phase(self.deployment.gates, "check")

        def do(step: StepContext) -> Output:
            evidence = Evidence(
                model=self.deployment.model,
                version=self.version,
                plan=staged.plan,
                descriptions=described,
                champion=self.champion,
                staged=staged,
                load_held_out=self._held_out,
            )
            return _evaluated(step, [gate.evaluate(evidence) for gate in gates])

        key = {**self._key, "gates": repr(tuple(gates)), "described": described}
        return _findings(self.run.step(f"check {self._name}", key, do).output)

    def compare(self) -> list[GateFinding]:
        """The gates that look at the version beside the champion."""
        gates = of_phase(self.deployment.gates, "compare")
        names = (*tables(self.deployment.model),)
        inputs = {name: self.lakehouse.snapshot(name).content for name in names}

        def do(step: StepContext) -> Output:
            champion = self.champion
            with ExitStack() as loaded:
                challenger = loaded.enter_context(self._load(self.version))
                compared = comparison.gather(
                    self.lakehouse,
                    self.deployment.model,
                    (self.version, challenger),
                    (champion, loaded.enter_context(self._load(champion))) if champion else None,
                    as_of=self.as_of,
                )
            evidence = Evidence(
                model=self.deployment.model,
                version=self.version,
                plan=challenger.plan,
                descriptions=descriptions(self.deployment.model, self.lakehouse),
                champion=champion,
                compared=compared,
                must_help=champion is not None and self.version.alert is not None,
                load_held_out=self._held_out,
            )
            findings = [gate.evaluate(evidence) for gate in gates]
            comparison.keep(self.lakehouse, self.version, findings, id=step.key)
            return _evaluated(step, findings)

        key = {
            **self._key,
            "champion": self.champion.artifact_hash if self.champion else None,
            "gates": repr(gates),
            "inputs": inputs,
            "as_of": self.as_of.isoformat(),
        }
        return _findings(self.run.step(f"compare {self._name}", key, do).output) if gates else []

    def _held_out(self) -> HeldOutRows:
        """The test rows of the version's training set, with what it answers to them."""
        kept = self.lakehouse.snapshot(table_name(self.deployment.model), self.version.training_set)
        rows = kept.to_arrow().to_pandas()
        rows = rows[rows[PART] == "test"]
        with self._load(self.version) as loaded:
            outputs = loaded.predict(rows)
        return HeldOutRows(rows=rows.drop(columns=[LABEL, PART]), labels=rows[LABEL], outputs=outputs)

    def ask_for_production(self, findings: Sequence[GateFinding]) -> TransitionRequest:
        """The request, with everything that a person needs to decide on it."""
        evidence: dict[str, Json] = {
            "as_of": self.as_of.isoformat(),
            "metrics": dict(self.version.metrics),
            "findings": [*self._passed_before(), *(finding.to_json() for finding in findings)],
            "gates": list(self.policy.gates),
            "code": self.version.code,
            "inputs": dict(self.version.inputs),
            "fit": [self.version.fit_from, self.version.fit_to],
        }
        waived = [role for gate in self.deployment.gates for role in gate.roles]
        if waived and not self.policy.roles:
            evidence["waived"] = f"approval by {', '.join(waived)}: {self.by} is alone here"
        if self.deployment.rollout is not None and self.champion is not None:
            columns = self.deployment.rollout.plan.by
            rollouts.check_copy(self.registry, self._fresh, home=self.home, columns=columns)  # before anybody signs
            evidence[PLAN] = self.deployment.rollout.plan.to_json()
        roles = self.reviewers if together(findings) == "needs review" else self.policy.roles
        return self._ask("Production", evidence, roles=roles, basis=self._basis(findings))

    def _basis(self, findings: Sequence[GateFinding]) -> str:
        """Of what the evidence says, whenever it was gathered."""
        names = ("gate", "result", "value", "limit", "reason", "evidence")
        found = [[getattr(finding, name) for name in names] for finding in findings]
        return digest({**self._key, "findings": found, "metrics": self.version.metrics, "against": self._against})

    def _passed_before(self) -> list[Json]:
        """What the checks before Staging found, from the request that was approved on it."""
        for request in self.registry.requests.list(model=self.version.model):
            if request.version == self.version.version and request.to == "Staging":
                decision = self.registry.requests.decision(request.id)
                if decision is not None and decision.approved:
                    return cast("list[Json]", request.evidence["findings"])
        return []

    def to_production(self, request: TransitionRequest, *, again: bool = False) -> DeploymentResult:
        """The stage, or the first step of the rollout that was asked for, when everybody who has to has approved.

        Args:
            request: for Production.
            again: whether a rollout that was stopped begins again.
        """
        if not request.roles:
            self._decide("Production", request, approved=True, findings=[])
        decision = self.registry.requests.decision(request.id)
        if decision is None:
            return self._waits(request)
        plan = self.registry.authorization.plan(decision)
        if plan is not None:
            return self._rollout(request, decision, plan, again=again)
        self._move("Production", request)
        return DeploymentResult(version=self.version.version, ending="in production", request=request.id)

    def _rollout(
        self, request: TransitionRequest, decision: Decision, plan: RolloutPlan, *, again: bool
    ) -> DeploymentResult:
        last = self.registry.rollouts.of(decision)
        if last is not None and last.status != "running" and not (again and not self._has_begun):
            return DeploymentResult(
                version=self.version.version, ending="rollout stopped", request=request.id, findings=(last.reason,)
            )

        def do(_: StepContext) -> Output:
            begun = rollouts.begin(
                self.registry, self._fresh, decision, plan, home=self.home, by=self.by, reason=f"request {request.id}"
            )
            return {"rollout": begun.id, "says": f"{percent(begun.share)} by decision {decision.id}"}

        def stands(was: Output) -> bool:
            running = self.registry.rollouts.running(self.version.model)
            return running is not None and running.id == was["rollout"]

        after = last.id if last else None
        self.run.step(f"rollout, {self._name}", {**self._key, "after": after}, do, holds=stands)
        running = self.registry.rollouts.of(decision)
        assert running is not None  # just begun
        where = f"at {percent(running.share)}, step {running.step + 1} of {len(plan.steps)}"
        return DeploymentResult(
            version=self.version.version, ending="on a rollout", request=request.id, findings=(where,)
        )

    @property
    def _has_begun(self) -> bool:
        """Whether it was this run, before it was taken over, that began the rollout."""
        return bool(self.run.outputs(prefix="rollout, "))

    def archive(self, findings: Sequence[GateFinding]) -> None:
        """A version that failed a gate is out of the way, with the reasons."""
        evidence: dict[str, Json] = {"findings": [finding.to_json() for finding in findings]}
        request = self._ask("Archived", evidence, roles=())
        self._decide("Archived", request, approved=True, findings=findings)
        self._move("Archived", request)

    def follow(self, follow: Callable[[], Sequence[DeliveryFailure]]) -> None:
        """Aliases and `serving.json`. What cannot follow now is told, and tried again later."""

        def do(step: StepContext) -> Output:
            troubles = follow()
            for trouble in troubles:
                step.log(f"{trouble.channel}: {trouble.error}; again after {trouble.again:%H:%M:%S} UTC")
            vital = [trouble for trouble in troubles if is_projection(trouble.channel)]
            if vital:
                raise HeadraceError(
                    f"the stages stand, but {vital[0].channel} could not follow: {vital[0].error}",
                    hint="The same command tries again.",
                )
            late = ", ".join(trouble.channel for trouble in troubles)
            return {"says": f"told everybody but {late}, tried again later" if late else "aliases and serving.json"}

        self.run.step("follow", {"run": self.run.id}, do)

    def _lies(self, _: Output) -> bool:
        return serving_bundle.is_whole(self.home / serving_bundle.folder_name(self.version), self._fresh)

    @property
    def _fresh(self) -> Version:
        """The version with the hash of its copy, which is made on the way."""
        return self.registry.get(self.version.model, self.version.version)

    @property
    def _name(self) -> str:
        return f"version {self.version.version}"

    @property
    def _key(self) -> dict[str, Json]:
        return {"model": self.version.model, "version": self.version.version, "artifact": self.version.artifact_hash}

    def _load(self, version: Version) -> AbstractContextManager[LoadedVersion]:
        return load(
            self.tracking,
            version.model_uri,
            model=version.model,
            number=version.version,
            artifact_hash=version.artifact_hash,
        )

    @property
    def _against(self) -> int | None:
        return self.champion.version if self.champion else None

    def _ask(self, to: Stage, evidence: dict[str, Json], *, roles: Sequence[str], basis: str = "") -> TransitionRequest:
        against = self._against

        def do(step: StepContext) -> Output:
            asked = self.registry.requests.ask(
                self.version,
                to,
                key=step.key,
                by=self.by,
                hands=self.hands,
                evidence=evidence,
                basis=basis,
                against=against,
                roles=roles,
                comment=f"{self.deployment.name} version {self.version.version} to {to}",
            )
            waits = f", takes the approval of {', '.join(roles)}" if roles else ""
            return {"request": asked.id, "says": f"request {asked.id} by {asked.by}{waits}"}

        key = {
            **self._key,
            "evidence": evidence,
            "against": against,
            "roles": list(roles),
            "policy": self.policy.hash,
        }
        made = self.run.step(f"ask for {to}, {self._name}", key, do, holds=self._stands)
        return self.registry.requests.get(cast("int", made.output["request"]))

    def _stands(self, was: Output) -> bool:
        request = self.registry.requests.get(was["request"])
        if request.status == "replaced" or request.policy_hash != self.policy.hash:
            return False
        return request.status == "open" or _good(self.registry.requests.decision(request.id))

    def _decide(
        self, to: Stage, request: TransitionRequest, *, approved: bool, findings: Sequence[GateFinding]
    ) -> None:
        good = approved and to != "Archived"
        reasons = [finding.reason for finding in findings if (finding.result == "passed") == good]
        reason = "; ".join(reasons) or "no gate stands in the way"

        def do(_: StepContext) -> Output:
            decision = self.registry.requests.by_gates(request.id, approved=approved, reason=reason)
            return {"decision": decision.id, "says": f"request {request.id} {'approved' if approved else 'rejected'}"}

        self.run.step(f"decide on {to}, {self._name}", {**self._key, "request": request.id}, do)

    def _move(self, to: Stage, request: TransitionRequest) -> None:
        decision = self.registry.requests.decision(request.id)
        assert decision is not None  # made before, or to_production() would have waited

        def do(_: StepContext) -> Output:
            here = self.registry.get(self.version.model, self.version.version)
            expect = self.version.stage if here.stage == to else here.stage
            change = self.registry.move(self.version, to, expect=expect, decision=decision, by=self.by)
            return {"at": change.at.isoformat(), "says": f"by decision {decision.id} of {', '.join(decision.by)}"}

        self.run.step(f"{to}, {self._name}", {**self._key, "decision": decision.id}, do)


def _good(decision: Decision | None) -> bool:
    """Whether a decision can still be spent."""
    return decision is not None and decision.approved and decision.spent is None and decision.expires > now()


def _evaluated(step: StepContext, findings: Sequence[GateFinding]) -> Output:
    for finding in findings:
        step.log(f"{finding.gate}: {finding.result}: {finding.reason}")
    return {"findings": [finding.to_json() for finding in findings], "says": _summary(findings)}


def _reasons(findings: Sequence[GateFinding]) -> tuple[str, ...]:
    """Of the gates that did not pass."""
    return tuple(finding.reason for finding in findings if finding.result != "passed")


def _findings(output: Output) -> list[GateFinding]:
    return [GateFinding(**each) for each in output["findings"]]


def _summary(findings: Sequence[GateFinding]) -> str:
    bad = [f"{finding.gate} {finding.result}: {finding.reason}" for finding in findings if finding.result != "passed"]
    if bad:
        return "; ".join(bad)
    last = [finding.reason for finding in findings if finding.details]
    return last[-1] if last else f"{counted(len(findings), 'gate')} passed"
