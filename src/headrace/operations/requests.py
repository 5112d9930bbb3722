"""Requests to move a version to a stage: the requester, the evidence, and the decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.access.people import label
from headrace.access.rights import roles
from headrace.core.errors import ConfigError
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.sync import bring_along, tell_people

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from headrace.core.ids import Json
    from headrace.registry.records import TransitionRequest
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class RequestReport(Record):
    """A request to move a version.

    Attributes:
        request: its id.
        model: the model's name.
        version: of the model.
        to: the stage that is asked for.
        status: `open`, `approved`, `rejected` or `replaced`.
        by: who asked.
        at: when.
        comment: of whoever asked.
        against: the version in Production that it was compared with; None where there was none.
        roles: whose approval it takes.
        missing: of these, whose is missing while it is open.
        expires: when it cannot be approved any more.
        seal: the hash of what is approved.
        code: that ran when it was made.
        policy_hash: of the gates that held.
        evidence_hash: of the evidence.
        simulated: who of those named is labelled as no real person.
    """

    request: int
    model: str
    version: int
    to: str
    status: str
    by: str
    at: datetime
    comment: str
    against: int | None
    roles: tuple[str, ...]
    missing: tuple[str, ...]
    expires: datetime
    seal: str
    code: str
    policy_hash: str
    evidence_hash: str
    simulated: tuple[str, ...]

    def shown(self, name: str) -> str:
        """A person's name as it is shown to people: with a label where the person is simulated."""
        return label(name, frozenset(self.simulated))


@dataclass(frozen=True, kw_only=True)
class ApprovalReport(Record):
    """A signature.

    Attributes:
        by: who signed.
        role: in which role.
        at: when.
    """

    by: str
    role: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class DecisionReport(Record):
    """What was decided on a request.

    Attributes:
        approved: or rejected.
        by: who signed.
        reason: of the last of them.
        at: when.
        spent: when the version moved by it; None before.
        code: that ran.
    """

    approved: bool
    by: tuple[str, ...]
    reason: str
    at: datetime
    spent: datetime | None
    code: str


@dataclass(frozen=True, kw_only=True)
class RequestDetails(RequestReport):
    """A request with all that whoever decides needs.

    Attributes:
        evidence: what the gates found, as it was sealed.
        approvals: signatures so far.
        decision: None while it is open.
        rejected_before: earlier rejections of the same version.
        advice: how somebody gets to be who can approve; empty where nobody is missing.
    """

    evidence: Mapping[str, Any]
    approvals: tuple[ApprovalReport, ...]
    decision: DecisionReport | None
    rejected_before: tuple[Mapping[str, Json], ...]
    advice: str


@dataclass(frozen=True, kw_only=True)
class SignedReport(RequestReport):
    """A request after a signature.

    Attributes:
        decided: whether it was the last signature that was missing.
        on_rollout: whether the version is on its rollout now, instead of at its stage.
    """

    decided: bool
    on_rollout: bool


@dataclass(frozen=True, kw_only=True)
class ReopenedReport(Record):
    """A request that may be made again on the same evidence.

    Attributes:
        request: its id.
        model: the model's name.
        version: of the model.
        by: who re-opened it.
        reason: what speaks for it now.
        at: when.
    """

    request: int
    model: str
    version: int
    by: str
    reason: str
    at: datetime


@operation("request list")
def list_requests(
    workspace: Workspace, *, decided: bool = False, model: str | None = None, version: int | None = None
) -> list[RequestReport]:
    """Open requests, the latest first.

    Args:
        workspace: where.
        decided: those that were decided, too.
        model: only those for versions of this model.
        version: only those for versions of this number.
    """
    simulated = workspace.access.simulated()
    status = None if decided else "open"
    requests = workspace.registry.requests.list(status=status, model=model, version=version)
    return [RequestReport(**_values(each, simulated)) for each in requests]


@operation("request show", of="request")
def show_request(workspace: Workspace, request: int) -> RequestDetails:
    """One request with its evidence, signatures and decision.

    Raises:
        NotFoundError: there is none of that id.
    """
    requests, access = workspace.registry.requests, workspace.access
    made, decision = requests.get(request), requests.decision(request)
    rejections = [vars(each) for each in requests.rejections(made.model, made.version) if each.request < request]
    named = [*(each.by for each in made.approvals), *(decision.by if decision else ())]
    named += [by for each in rejections for by in str(each["by"]).split(", ")]
    return RequestDetails(
        **_values(made, access.simulated(), *named),
        evidence=made.evidence,
        approvals=tuple(ApprovalReport(by=each.by, role=each.role, at=each.at) for each in made.approvals),
        decision=None
        if decision is None
        else DecisionReport(
            approved=decision.approved,
            by=decision.by,
            reason=decision.reason,
            at=decision.at,
            spent=decision.spent,
            code=decision.code,
        ),
        rejected_before=tuple(rejections),
        advice=access.advice(made.missing[0], asked_by=made.by) if made.missing else "",
    )


@operation("request approve", of="request", publishes_catalog=True)
def approve_request(workspace: Workspace, request: int, *, reason: str = "") -> SignedReport:
    """Signs a request that somebody else made. With the last signature the version moves, or begins its rollout.

    Args:
        workspace: where.
        request: its id.
        reason: kept with the decision.

    Raises:
        RefusedError: it came through the hands of whoever signs, the role is missing, or it was decided.
    """
    from headrace.deployment.promotion import promote  # with what judges a rollout, which takes half a second to import
    from headrace.operations.policies import declare_for

    requests, me = workspace.registry.requests, workspace.access.me()
    made = requests.check(request, me)
    if made.status == "open":
        declare_for(workspace, made.model, by=me.name)  # an approval is one of the gates of now
    decision = requests.approve(request, me, reason=reason)
    signed, on_rollout = requests.get(request), False
    if decision is not None:
        on_rollout = promote(workspace.registry, decision, home=workspace.home(decision.model), by=me.name)
        bring_along(workspace)
    tell_people(workspace)
    simulated = workspace.access.simulated()
    return SignedReport(**_values(signed, simulated), decided=decision is not None, on_rollout=on_rollout)


@operation("request reject", of="request")
def reject_request(workspace: Workspace, request: int, *, reason: str) -> RequestReport:
    """Rejects a request; the version stays where it is.

    Args:
        workspace: where.
        request: its id.
        reason: for whoever asked.

    Raises:
        ConfigError: there is no reason.
    """
    if not reason.strip():
        raise ConfigError("a rejection has no reason.", hint=f"headrace request reject {request} --reason '…'")
    requests = workspace.registry.requests
    requests.reject(request, workspace.access.me(), reason=reason)
    bring_along(workspace)
    tell_people(workspace)
    return RequestReport(**_values(requests.get(request), workspace.access.simulated()))


@operation("request reopen", of="request")
def reopen_request(workspace: Workspace, request: int, *, reason: str) -> ReopenedReport:
    """Lets a rejected request be made again on the same evidence.

    Args:
        workspace: where.
        request: its id.
        reason: what speaks for it now, for whoever decides next.

    Raises:
        RefusedError: neither a role that re-opens nor one of the request's is held, or it was not rejected.
    """
    me, requests = workspace.access.me(), workspace.registry.requests
    made = requests.get(request)
    me.require(*roles("request reopen"), *made.roles, to=f"re-open request {request}")
    reopening = requests.reopen(request, me, reason=reason)
    bring_along(workspace)
    tell_people(workspace)
    return ReopenedReport(
        request=request,
        model=made.model,
        version=made.version,
        by=reopening.by,
        reason=reopening.reason,
        at=reopening.at,
    )


def _values(request: TransitionRequest, simulated: Collection[str], *named: str) -> dict[str, Any]:
    return {
        "request": request.id,
        "model": request.model,
        "version": request.version,
        "to": request.to,
        "status": request.status,
        "by": request.by,
        "at": request.at,
        "comment": request.comment,
        "against": request.against,
        "roles": request.roles,
        "missing": request.missing if request.status == "open" else (),
        "expires": request.expires,
        "seal": request.seal,
        "code": request.code,
        "policy_hash": request.policy_hash,
        "evidence_hash": request.evidence_hash,
        "simulated": tuple(sorted({request.by, *named} & set(simulated))),
    }
