"""Records of the registry: versions, the history of their stages, requests, decisions, and splits of the traffic."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from headrace.core.clock import instant
from headrace.core.ids import digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from headrace.core.ids import Json

Stage = Literal["None", "Staging", "Production", "Archived"]
Status = Literal["open", "approved", "rejected", "expired", "replaced"]
RolloutStatus = Literal["running", "done", "stopped", "ended"]
STAGES: tuple[Stage, ...] = get_args(Stage)
VALID = timedelta(days=7)  # how long a request may wait, and a decision be spent


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a model.

    Attributes:
        step_key: of the job step that registered it; one key is one version.
        run_id: of the MLflow run.
        model_uri: where MLflow keeps it.
        artifact_hash: of all files of the package; the same for the same training.
        logged_hash: of all files that MLflow keeps of it, the package among them.
        copy_hash: of what servers find beside these in its copy: how it is served, and samples; None before it is copied.
        code: commit, or the digest of a working tree.
        inputs: table → Delta version that it was made from.
        training_set: version of the table `training.<model>`.
        params: the fit function was given.
        fit_from: the first decision that it was fitted on, ISO 8601.
        fit_to: the last one.
        as_of: the training moment.
        metrics: on the test rows.
        alert: that it was trained to answer; such a version must do better than the one in Production.
        imported: for a version that was fitted elsewhere: `source`, where it came from, and `digest`, of what was read
            there. Nothing is known of the rows that it was fitted on. None where the project's function fitted it.
        promoted: for a version that was made in another environment: `environment` and `version`, from which it was copied;
            `origin`, the environment and number of the one that was trained (`dev/3`); `run`, its MLflow run there. `params`,
            `fit_from`, `fit_to`, `as_of`, `code` and the hashes are those of the origin; `inputs`, `training_set` and
            `metrics` are of the rows that evaluated it here. None where it was made here.
        routes: route → protocol, url and model behind it when the version was evaluated: its metrics hold for these.
    """

    model: str
    version: int
    stage: Stage
    step_key: str
    run_id: str
    model_uri: str
    artifact_hash: str
    logged_hash: str
    copy_hash: str | None = None
    code: str
    inputs: Mapping[str, int]
    training_set: int
    params: Mapping[str, bool | int | float | str]
    fit_from: str
    fit_to: str
    as_of: str
    metrics: Mapping[str, float | None]
    alert: int | None
    imported: Mapping[str, str] | None = None
    promoted: Mapping[str, str] | None = None
    routes: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, "Mapping[str, str]"])
    created: datetime

    @property
    def name(self) -> str:
        """`arrival_delay/2`."""
        return f"{self.model}/{self.version}"

    @property
    def fitted(self) -> tuple[datetime, datetime]:
        """The first and the last decision that it was fitted on."""
        return instant(self.fit_from), instant(self.fit_to)

    @property
    def seal(self) -> str:
        """What a decision on it is bound to."""
        return digest([self.artifact_hash, self.logged_hash])


@dataclass(frozen=True, kw_only=True)
class StageChange:
    """A version came to a stage, by a decision (None: it was registered)."""

    at: datetime
    version: int
    stage: Stage
    by: str
    reason: str
    decision: int | None


@dataclass(frozen=True, kw_only=True)
class Approval:
    """One signature under a request; `hands` as in `Request`."""

    role: str
    by: str
    hands: tuple[str, ...]
    at: datetime
    reason: str


@dataclass(frozen=True, kw_only=True)
class PromotionPolicy:
    """What the way to Production takes for a model, as running code declared it.

    Attributes:
        number: of the declaration; 0 before the first one.
        gates: each with all that it says, in declared order.
        roles: whose approval Production takes.
        rollout: how a version comes there; None: at once.
        code: that declared it.
    """

    model: str
    number: int
    gates: tuple[str, ...]
    roles: tuple[str, ...]
    rollout: Mapping[str, Json] | None
    code: str
    by: str
    at: datetime | None

    @property
    def hash(self) -> str:
        """Of what is asked for; which code says it does not matter."""
        return policy_hash(self.gates, self.roles, self.rollout) if self.number else ""


def policy_hash(gates: Sequence[str], roles: Sequence[str], rollout: Mapping[str, Json] | None) -> str:
    """What requests and decisions are bound to; the order of roles does not matter."""
    return digest({"gates": list(gates), "roles": sorted(roles), "rollout": rollout})


@dataclass(frozen=True, kw_only=True)
class Reopening:
    """A person lets a rejected request be asked again."""

    request: int
    by: str
    at: datetime
    reason: str


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """What a person said of a request, and who let it be asked again, if anybody did."""

    request: int
    version: int
    to: Stage
    at: datetime
    by: str
    reason: str
    reopened_by: str | None
    because: str | None


@dataclass(frozen=True, kw_only=True)
class TransitionRequest:
    """Somebody asks that a version comes to a stage.

    Attributes:
        key: one key is one request.
        against: the version in Production when the evidence was made.
        evidence: what the decision is to be made on.
        basis: a digest of what the evidence says, whenever it was gathered: the same basis has the same answer.
        policy_hash: of the gates and roles that were declared when it was made; it is good for these alone.
        code: that ran then.
        roles: whose approval it takes, each by another person; none: the gates decide.
        hands: who could act as the one who asked, by then (`headrace.access.identity.Identity`).
        approvals: signatures so far.
    """

    id: int
    key: str
    model: str
    version: int
    to: Stage
    against: int | None
    seal: str
    evidence: Mapping[str, Json]
    evidence_hash: str
    basis: str
    policy_hash: str
    code: str
    roles: tuple[str, ...]
    comment: str
    status: Status
    by: str
    hands: tuple[str, ...]
    at: datetime
    expires: datetime
    approvals: tuple[Approval, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The roles whose approval is still missing."""
        signed = {approval.role for approval in self.approvals}
        return tuple(role for role in self.roles if role not in signed)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was decided on a request: good for one move of one artifact on one body of evidence, until it expires.

    Attributes:
        policy_hash: of the gates and roles in force when it was made.
        code: that declared them.
        by: who approved or rejected; `gates` where no person had to.
        spent: when a version was moved by it.
    """

    id: int
    request: int
    model: str
    version: int
    to: Stage
    against: int | None
    approved: bool
    seal: str
    evidence_hash: str
    policy_hash: str
    code: str
    by: tuple[str, ...]
    reason: str
    at: datetime
    expires: datetime
    spent: datetime | None


@dataclass(frozen=True, kw_only=True)
class Share:
    """A version's part of the traffic, between 0 and 1."""

    version: int
    weight: float


@dataclass(frozen=True, kw_only=True)
class TrafficSplit:
    """How the traffic of a model is divided, since a change of it.

    Attributes:
        number: of the change; 0 before the first one.
        primary: the version in Production, which has what the candidates leave; None when nothing is there.
        candidates: versions that answer a share of the entities.
        shadows: versions that are asked too, for a share of the requests, and whose answers are only logged.
        salt: what entities are hashed with; it stays while a candidate stays.
        columns: of a request, which name the entity; none for the key of the decision.
    """

    model: str
    number: int
    primary: int | None
    candidates: tuple[Share, ...]
    shadows: tuple[Share, ...]
    salt: str
    columns: tuple[str, ...]
    at: datetime | None
    by: str
    reason: str

    @property
    def id(self) -> str:
        """As the audit, `serving.json` and the log of answers name it: `late.3`."""
        return f"{self.model}.{self.number}"

    @property
    def primary_weight(self) -> float:
        """What is left for the version in Production."""
        return round(1 - sum(each.weight for each in self.candidates), 9)

    def weight(self, version: int) -> float | None:
        """The share of a candidate; None for what is none."""
        return next((each.weight for each in self.candidates if each.version == version), None)


@dataclass(frozen=True, kw_only=True)
class RolloutPlan:
    """How a candidate's share grows, as it was approved.

    Attributes:
        steps: shares, rising.
        every: seconds that each step takes at least.
        min_requests: that the candidate must have answered in a step before the next one.
        guardrails: what ends it, as declared: `metric`, and `above`, `below` or `worse_by`.
        alpha: the probability that a candidate which breaks no rule is stopped, over all looks and rules together.
        by: columns of a request that name the entity.
        metric: by which the candidate must be better than Production before it comes there; None for none.
    """

    steps: tuple[float, ...]
    every: float
    min_requests: int
    guardrails: tuple[Mapping[str, Json], ...]
    alpha: float
    by: tuple[str, ...]
    metric: str | None = None

    def to_json(self) -> dict[str, Json]:
        """As evidence of a request."""
        return {
            "steps": list(self.steps),
            "every": self.every,
            "min_requests": self.min_requests,
            "guardrails": [dict(each) for each in self.guardrails],
            "alpha": self.alpha,
            "by": list(self.by),
            **({} if self.metric is None else {"metric": self.metric}),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> RolloutPlan:
        """What `to_json` gave."""
        return cls(
            steps=tuple(kept["steps"]),
            every=kept["every"],
            min_requests=kept["min_requests"],
            guardrails=tuple(kept["guardrails"]),
            alpha=kept["alpha"],
            by=tuple(kept["by"]),
            metric=kept.get("metric"),
        )


@dataclass(frozen=True, kw_only=True)
class RolloutState:
    """A version on its way into Production, step by step.

    Attributes:
        decision: by which it may come to Production.
        step: where it is, from 0.
        status: `done`: in Production; `stopped`: by a rule; `ended`: by a person, or because Production changed.
        checked: when its quality was compared the last time.
        reason: it is where it is.
        held: rule → why it could not be judged, at the last look; the rollout waits for it.
        waived: rule → who said, and why, that the rollout goes on without it.
    """

    id: int
    model: str
    version: int
    decision: int
    plan: RolloutPlan
    step: int
    status: RolloutStatus
    started: datetime
    step_started: datetime
    checked: datetime | None
    ended: datetime | None
    by: str
    reason: str
    held: Mapping[str, str] = field(default_factory=dict[str, str])
    waived: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, "Mapping[str, str]"])

    @property
    def share(self) -> float:
        """Of the step that it is at."""
        return self.plan.steps[self.step]

    @property
    def is_at_the_last_step(self) -> bool:
        """Whether Production comes next."""
        return self.step == len(self.plan.steps) - 1
