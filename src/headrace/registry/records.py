"""What the registry keeps: versions, the history of their stages, requests to move one, and what was decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from headrace.core.ids import digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from headrace.core.ids import Json

Stage = Literal["None", "Staging", "Production", "Archived"]
Status = Literal["open", "approved", "rejected", "expired", "replaced"]
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a model.

    Attributes:
        step_key: of the job step that registered it; one key is one version.
        run_id: of the MLflow run.
        model_uri: where MLflow keeps it.
        artifact_hash: of all files of the package; the same for the same training.
        logged_hash: of all files that MLflow keeps of it, the package among them.
        code: commit, or the digest of a working tree.
        inputs: table → Delta version that it was made from.
        training_set: version of the table `training.<model>`.
        params: the fit function was given.
        fit_from: the first decision that it was fitted on, ISO 8601.
        fit_to: the last one.
        as_of: the training moment.
        metrics: on the test rows.
        alert: that it was trained to answer; such a version must do better than the one in Production.
    """

    model: str
    version: int
    stage: Stage
    step_key: str
    run_id: str
    model_uri: str
    artifact_hash: str
    logged_hash: str
    code: str
    inputs: Mapping[str, int]
    training_set: int
    params: Mapping[str, bool | int | float | str]
    fit_from: str
    fit_to: str
    as_of: str
    metrics: Mapping[str, float | None]
    alert: int | None
    created: datetime

    @property
    def name(self) -> str:
        """`arrival_delay/2`."""
        return f"{self.model}/{self.version}"

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
    why: str
    decision: int | None


@dataclass(frozen=True, kw_only=True)
class Approval:
    """One signature under a request."""

    role: str
    by: str
    at: datetime
    reason: str


@dataclass(frozen=True, kw_only=True)
class Request:
    """Somebody asks that a version comes to a stage.

    Attributes:
        key: one key is one request.
        against: the version in Production when the evidence was made.
        evidence: what the decision is to be made on.
        roles: whose approval it takes, each by another person; none: the gates decide.
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
    roles: tuple[str, ...]
    comment: str
    status: Status
    by: str
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
    by: tuple[str, ...]
    reason: str
    at: datetime
    expires: datetime
    spent: datetime | None
