"""Requests to move a version, and decisions on them: rights, and what a decision is bound to.

A request is bound to the gates and roles that were declared when it was made (`policies`); when the declaration
changes, it is replaced. A rejected version stays rejected on the same evidence, until a person re-opens the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from headrace.access import people
from headrace.access.audit import AUDIT, record
from headrace.core.clock import instant, now
from headrace.core.errors import ConflictError, NotFoundError, RefusedError
from headrace.core.events import CHANNELS, EVENTS, publish
from headrace.core.ids import digest
from headrace.registry import policies
from headrace.registry.records import VALID, Approval, Decision, Rejection, Reopening, TransitionRequest
from headrace.registry.tables import APPROVALS, DECISIONS, POLICIES, REOPENINGS, REQUESTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection, RowMapping, Select

    from headrace.access.identity import Identity
    from headrace.core.ids import Json
    from headrace.core.state import State
    from headrace.registry.records import Stage, Status, Version

GATES = "gates"  # decides where no person has to


class Requests:
    """Requests and decisions of one environment."""

    def __init__(self, state: State) -> None:
        self.state = state
        state.create(REQUESTS, APPROVALS, DECISIONS, REOPENINGS, POLICIES, AUDIT, EVENTS, CHANNELS, *people.ALL)

    def ask(
        self,
        version: Version,
        to: Stage,
        *,
        key: str,
        by: str,
        hands: Collection[str],
        evidence: Mapping[str, Json],
        basis: str = "",
        against: int | None = None,
        roles: Sequence[str] = (),
        comment: str = "",
        valid: timedelta = VALID,
    ) -> TransitionRequest:
        """Asks that a version comes to a stage. Called again with the same key it gives the same request.

        An older open request for the same move is replaced: its evidence is not the latest any more.

        Args:
            version: that is to be moved.
            to: the stage.
            key: one key is one request.
            by: who asks.
            hands: who could act as them now (`headrace.access.identity.Identity`); kept.
            evidence: what the decision is to be made on.
            basis: a digest of what the evidence says, whenever it was gathered; default: of the evidence itself.
            against: the version in Production when the evidence was made.
            roles: whose approval it takes.
            comment: for a person.
            valid: how long it may wait.
        """
        with self.state.begin() as connection:
            known = connection.execute(select(REQUESTS.c.id).where(REQUESTS.c.key == key)).scalar()
            if known is not None:
                return _request(connection, known)
            policy = policies.current(connection, version.model)
            same = (REQUESTS.c.model == version.model, REQUESTS.c.version == version.version, REQUESTS.c.to == to)
            older = update(REQUESTS).where(*same, REQUESTS.c.status == "open")
            connection.execute(older.values(status="replaced"))
            at = now()
            connection.execute(
                insert(REQUESTS).values(
                    key=key,
                    model=version.model,
                    version=version.version,
                    to=to,
                    against=against,
                    seal=version.seal,
                    evidence=dict(evidence),
                    evidence_hash=digest(evidence),
                    basis=basis or digest(evidence),
                    policy_hash=policy.hash,
                    code=policy.code,
                    roles=list(roles),
                    comment=comment,
                    status="open",
                    by=by,
                    hands=sorted(hands),
                    at=at,
                    expires=at + valid,
                )
            )
            made = connection.execute(select(REQUESTS.c.id).where(REQUESTS.c.key == key)).scalar_one()
            request = _request(connection, made)
            told: dict[str, Json] = {"request": request.id, "to": to, "evidence": request.evidence_hash}
            told |= {"policy": policy.hash, "code": policy.code}
            record(connection, by, "transition.requested", version.name, told)
            publish(connection, "transition.requested", version.name, {**told, "by": by, "roles": list(roles)})
        return request

    def get(self, request: int) -> TransitionRequest:
        """One request.

        Raises:
            NotFoundError: there is none of this number.
        """
        self._expire()
        with self.state.read() as connection:
            return _request(connection, request)

    def list(
        self, *, status: Status | None = None, model: str | None = None, version: int | None = None
    ) -> list[TransitionRequest]:
        """Requests, the latest first."""
        self._expire()
        wanted = select(REQUESTS).order_by(REQUESTS.c.id.desc())
        if status is not None:
            wanted = wanted.where(REQUESTS.c.status == status)
        if model is not None:
            wanted = wanted.where(REQUESTS.c.model == model)
        if version is not None:
            wanted = wanted.where(REQUESTS.c.version == version)
        with self.state.read() as connection:
            return _requests(connection, wanted)

    def unspent(self) -> list[tuple[TransitionRequest, Decision]]:
        """Approved requests whose decision may still move their version, and has not, the latest first."""
        of = (DECISIONS.c.approved.is_(True), DECISIONS.c.spent.is_(None), DECISIONS.c.expires > now())
        decided = select(DECISIONS.c.request).where(*of)
        wanted = select(REQUESTS).where(REQUESTS.c.status == "approved", REQUESTS.c.id.in_(decided))
        found: list[tuple[TransitionRequest, Decision]] = []
        with self.state.read() as connection:
            for request in _requests(connection, wanted.order_by(REQUESTS.c.id.desc())):
                decision = _decision(connection, request.id)
                assert decision is not None  # by the condition
                found.append((request, decision))
        return found

    def decision(self, request: int) -> Decision | None:
        """What was decided on a request; None while it is open."""
        with self.state.read() as connection:
            return _decision(connection, request)

    def deciders(self, decisions: Collection[int]) -> dict[int, tuple[str, ...]]:
        """Who made each of these decisions, by its number."""
        wanted = select(DECISIONS.c.id, DECISIONS.c.by).where(DECISIONS.c.id.in_(decisions))
        with self.state.read() as connection:
            return {number: tuple(by) for number, by in connection.execute(wanted)}

    def decided(self, decision: int) -> Decision:
        """The decision of a number that somebody kept."""
        with self.state.read() as connection:
            of = connection.execute(select(DECISIONS.c.request).where(DECISIONS.c.id == decision)).scalar_one()
            found = _decision(connection, of)
        assert found is not None  # just found
        return found

    def approve(self, request: int, identity: Identity, *, reason: str = "") -> Decision | None:
        """Signs a request for one missing role that the identity holds. The last signature makes the decision.

        Returns:
            The decision; None while signatures are missing.

        Raises:
            RefusedError: it is one's own request, the role is missing, or it is not open any more.
        """
        with self.state.begin() as connection:
            asked = self._open(connection, request)
            role = _may_decide(connection, asked, identity, "approve")
            signed_by = {"by": identity.name, "hands": sorted(identity.hands)}
            connection.execute(
                insert(APPROVALS).values(request=request, role=role, **signed_by, at=now(), reason=reason)
            )
            told: dict[str, Json] = {
                "request": request,
                "role": role,
                "evidence": asked.evidence_hash,
                "reason": reason,
                **_labelled(identity),
            }
            record(connection, identity.name, "transition.approved", f"{asked.model}/{asked.version}", told)
            signed = _request(connection, request)
            if signed.missing:
                return None
            return _decide(connection, signed, approved=True, by=[each.by for each in signed.approvals], reason=reason)

    def reject(self, request: int, identity: Identity, *, reason: str) -> Decision:
        """Rejects a request, for whoever could approve it.

        Raises:
            RefusedError: as `approve`.
        """
        with self.state.begin() as connection:
            asked = self._open(connection, request)
            _may_decide(connection, asked, identity, "reject")
            told: dict[str, Json] = {"request": request, "reason": reason, **_labelled(identity)}
            record(connection, identity.name, "transition.rejected", f"{asked.model}/{asked.version}", told)
            return _decide(connection, asked, approved=False, by=[identity.name], reason=reason)

    def rejection(self, version: Version, to: Stage, *, basis: str, as_of: datetime) -> TransitionRequest | None:
        """The request that a person rejected, under the gates of now, and nobody re-opened.

        It stands on the same basis, and on every other one that was known then already: only what became known later is
        new evidence.
        """
        wanted = (
            select(REQUESTS.c.id)
            .where(REQUESTS.c.model == version.model, REQUESTS.c.version == version.version, REQUESTS.c.to == to)
            .where(REQUESTS.c.seal == version.seal, REQUESTS.c.status == "rejected")
            .where(REQUESTS.c.id.not_in(select(REOPENINGS.c.request)))
            .order_by(REQUESTS.c.id.desc())
        )
        with self.state.read() as connection:
            in_force = wanted.where(REQUESTS.c.policy_hash == policies.current(connection, version.model).hash)
            for number in connection.execute(in_force).scalars().all():
                asked = _request(connection, number)
                known = asked.evidence.get("as_of")
                if asked.basis == basis or (isinstance(known, str) and as_of <= instant(known)):
                    return asked
        return None

    def rejections(self, model: str, version: int | None = None) -> list[Rejection]:
        """What persons rejected of a model, or of one version, oldest first. What gates refused, the stages tell."""
        wanted = (
            select(
                DECISIONS.c.request,
                DECISIONS.c.version,
                DECISIONS.c.to,
                DECISIONS.c.at,
                DECISIONS.c.by,
                DECISIONS.c.reason,
                REOPENINGS.c.by.label("reopened_by"),
                REOPENINGS.c.reason.label("because"),
            )
            .outerjoin_from(DECISIONS, REOPENINGS, REOPENINGS.c.request == DECISIONS.c.request)
            .where(DECISIONS.c.model == model, DECISIONS.c.approved.is_(False))
            .order_by(DECISIONS.c.id)
        )
        if version is not None:
            wanted = wanted.where(DECISIONS.c.version == version)
        with self.state.read() as connection:
            rows = connection.execute(wanted).mappings().all()
        found: list[dict[str, Any]] = [{**row, "by": ", ".join(row["by"])} for row in rows if row["by"] != [GATES]]
        return [Rejection(**each) for each in found]

    def check(self, request: int, identity: Identity) -> TransitionRequest:
        """A request that somebody may sign, once its gates are those that are declared.

        Raises:
            RefusedError: as `approve`.
        """
        with self.state.read() as connection:
            asked = _request(connection, request)
            if asked.status == "open":
                _may_decide(connection, asked, identity, "approve")
            return asked

    def reopening(self, request: int) -> Reopening | None:
        """Who let a rejected request be asked again; None: nobody."""
        with self.state.read() as connection:
            return _reopening(connection, request)

    def reopen(self, request: int, identity: Identity, *, reason: str) -> Reopening:
        """Lets a rejected request be asked again on the same evidence; again is the same. The caller has checked the right.

        Raises:
            RefusedError: it was not rejected, or there is no reason.
        """
        if not reason.strip():
            raise RefusedError("a re-opening without a reason.", hint="Say why: --reason, for whoever decides next.")
        with self.state.begin() as connection:
            asked = _request(connection, request, lock=True)
            known = _reopening(connection, request)
            if known is not None:
                return known
            if asked.status != "rejected":
                raise RefusedError(f"request {request} is {asked.status}: only what was rejected is re-opened.")
            connection.execute(insert(REOPENINGS).values(request=request, by=identity.name, at=now(), reason=reason))
            subject, told = f"{asked.model}/{asked.version}", {"request": request, "reason": reason}
            record(connection, identity.name, "transition.reopened", subject, told)
            publish(connection, "transition.reopened", subject, {**told, "by": identity.name})
            made = _reopening(connection, request)
        assert made is not None  # just written
        return made

    def by_gates(self, request: int, *, approved: bool, reason: str) -> Decision:
        """Decides a request that takes no person. Called again it gives the same decision.

        Raises:
            RefusedError: it takes somebody's approval, or is not open any more.
        """
        with self.state.begin() as connection:
            _request(connection, request, lock=True)
            known = _decision(connection, request)
            if known is not None and known.by == (GATES,) and known.approved == approved:
                return known
            asked = self._open(connection, request)
            if asked.roles and approved:
                raise RefusedError(
                    f"request {request} takes the approval of {', '.join(asked.roles)}; gates alone cannot give it.",
                    hint=f"headrace request approve {request}",
                )
            told: dict[str, Json] = {"request": request, "approved": approved, "reason": reason}
            record(connection, GATES, "transition.decided", f"{asked.model}/{asked.version}", told)
            return _decide(connection, asked, approved=approved, by=[GATES], reason=reason)

    def by_person(self, request: int, identity: Identity, *, reason: str) -> Decision:
        """Decides one's own request that takes nobody's approval: a rollback. The caller has checked the right.

        Raises:
            RefusedError: it takes somebody's approval, is another one's, or is not open any more.
        """
        with self.state.begin() as connection:
            asked = self._open(connection, request)
            if asked.roles or asked.by != identity.name:
                raise RefusedError(f"request {request} is not {identity.name}'s alone to decide.")
            told: dict[str, Json] = {"request": request, "reason": reason}
            record(connection, identity.name, "transition.decided", f"{asked.model}/{asked.version}", told)
            return _decide(connection, asked, approved=True, by=[identity.name], reason=reason)

    def _open(self, connection: Connection, request: int) -> TransitionRequest:
        """A request that can be decided; whoever else would decide it waits for the end of this transaction.

        Raises:
            RefusedError: it is not open, or the gates have changed.
        """
        asked = _request(connection, request, lock=True)
        if asked.status == "open" and asked.expires > now():
            if asked.policy_hash != policies.current(connection, asked.model).hash:
                raise _of_other_gates(asked)
            return asked
        decided = _decision(connection, request)
        said = f"was {asked.status} by {', '.join(decided.by)} at {decided.at:%Y-%m-%d %H:%M} UTC" if decided else ""
        if not said:
            said = (
                "was replaced by a later one"
                if asked.status == "replaced"
                else f"expired at {asked.expires:%Y-%m-%d %H:%M} UTC"
            )
        raise RefusedError(f"request {request} {said}.", hint="`headrace request list` shows the open ones.")

    def _expire(self) -> None:
        late = (REQUESTS.c.status == "open", REQUESTS.c.expires <= now())
        with self.state.read() as connection:
            if connection.execute(select(REQUESTS.c.id).where(*late).limit(1)).first() is None:
                return
        with self.state.begin() as connection:
            connection.execute(update(REQUESTS).where(*late).values(status="expired"))


def check_in_force(connection: Connection, request: TransitionRequest) -> None:
    """Refuses what was asked for under other gates and roles than those that are declared now.

    Raises:
        RefusedError: says how to ask again.
    """
    status = connection.execute(
        select(REQUESTS.c.status).where(REQUESTS.c.id == request.id).with_for_update()
    ).scalar_one()
    if status == "replaced" or request.policy_hash != policies.current(connection, request.model).hash:
        raise _of_other_gates(request)


def _of_other_gates(request: TransitionRequest) -> RefusedError:
    return RefusedError(
        f"request {request.id} was made under other gates than those that {request.model} has to pass now; its approval "
        "would be one of those.",
        hint=f"Everything is checked again: headrace run deploy --model {request.model} --version {request.version}",
    )


def _may_decide(connection: Connection, asked: TransitionRequest, identity: Identity, verb: str) -> str:
    """The missing role that somebody signs for.

    Raises:
        RefusedError: their own request, a second signature, one of the same hands as either, or none of the roles.
    """
    if not asked.roles:
        raise RefusedError(f"request {asked.id} takes nobody's approval: the gates decide it.")
    if identity.name == asked.by:
        raise RefusedError(
            f"{identity.name} made request {asked.id} and cannot {verb} it: four eyes see more than two.",
            hint=people.advice(connection, asked.missing[0], asked_by=asked.by)
            or f"Somebody else with the role {' or '.join(asked.missing)} can.",
        )
    if identity.shares_hands(asked.by, asked.hands):
        maker, bearer = (asked.by, identity.name) if asked.by in identity.hands else (identity.name, asked.by)
        raise RefusedError(
            f"{identity.name} cannot {verb} request {asked.id} of {asked.by}: the token of {bearer} came through the hands "
            f"of {maker}, and four eyes take two pairs of hands.",
            hint=f"Another person with the role {' or '.join(asked.missing)} can, or another one asks: headrace run deploy",
        )
    if any(identity.name == approval.by for approval in asked.approvals):
        raise RefusedError(
            f"{identity.name} has signed request {asked.id} already.", hint=f"Missing: {', '.join(asked.missing)}."
        )
    if (one := next((one for one in asked.approvals if identity.shares_hands(one.by, one.hands)), None)) is not None:
        raise RefusedError(
            f"{identity.name} cannot {verb} request {asked.id} beside {one.by}: one of them made the other's token.",
            hint=f"Missing: {', '.join(asked.missing)}.",
        )
    identity.require(*asked.missing, to=f"{verb} request {asked.id}")
    return next(role for role in asked.missing if identity.holds(role))


def _labelled(identity: Identity) -> dict[str, Json]:
    return {"simulated": True} if identity.simulated else {}


def _decide(
    connection: Connection, asked: TransitionRequest, *, approved: bool, by: Sequence[str], reason: str
) -> Decision:
    status: Status = "approved" if approved else "rejected"
    still_open = update(REQUESTS).where(REQUESTS.c.id == asked.id, REQUESTS.c.status == "open")
    if connection.execute(still_open.values(status=status)).rowcount != 1:  # PostgreSQL only: replaced since our look
        raise ConflictError(f"request {asked.id} was decided or replaced at the same time.")
    bound = {name: getattr(asked, name) for name in ("model", "version", "to", "against", "seal", "evidence_hash")}
    policy = policies.current(connection, asked.model)
    bound |= {"policy_hash": policy.hash, "code": policy.code}
    at = now()
    connection.execute(
        insert(DECISIONS).values(
            **bound, request=asked.id, approved=approved, by=list(by), reason=reason, at=at, expires=at + VALID
        )
    )
    told: dict[str, Json] = {"request": asked.id, "to": asked.to, "by": list(by), "reason": reason}
    publish(connection, f"transition.{status}", f"{asked.model}/{asked.version}", told)
    decision = _decision(connection, asked.id)
    assert decision is not None
    return decision


def _request(connection: Connection, number: int, *, lock: bool = False) -> TransitionRequest:
    """A request, with its approvals as they are once nobody else decides it."""
    wanted = select(REQUESTS).where(REQUESTS.c.id == number)
    row = connection.execute(wanted.with_for_update() if lock else wanted).mappings().first()
    if row is None:
        known = connection.execute(select(REQUESTS.c.id)).scalars()
        raise NotFoundError(
            "request", str(number), [str(each) for each in known], hint="`headrace request list` shows them."
        )
    signed = select(APPROVALS).where(APPROVALS.c.request == number).order_by(APPROVALS.c.at)
    return _with(row, connection.execute(signed).mappings())


def _requests(connection: Connection, wanted: Select[Any]) -> list[TransitionRequest]:
    """Requests with their approvals, in two statements however many there are."""
    rows = connection.execute(wanted).mappings().all()
    of = APPROVALS.c.request.in_(wanted.with_only_columns(REQUESTS.c.id).order_by(None))
    signed: dict[int, list[RowMapping]] = {}
    for one in connection.execute(select(APPROVALS).where(of).order_by(APPROVALS.c.at)).mappings():
        signed.setdefault(one["request"], []).append(one)
    return [_with(row, signed.get(row["id"], ())) for row in rows]


def _with(row: RowMapping, signed: Iterable[RowMapping]) -> TransitionRequest:
    approvals = tuple(
        Approval(role=one["role"], by=one["by"], hands=tuple(one["hands"]), at=one["at"], reason=one["reason"])
        for one in signed
    )
    kept: dict[str, Any] = {**row, "roles": tuple(row["roles"]), "hands": tuple(row["hands"])}
    return TransitionRequest(**kept, approvals=approvals)


def _reopening(connection: Connection, request: int) -> Reopening | None:
    row = connection.execute(select(REOPENINGS).where(REOPENINGS.c.request == request)).mappings().first()
    return None if row is None else Reopening(**dict(row))


def _decision(connection: Connection, request: int) -> Decision | None:
    row = connection.execute(select(DECISIONS).where(DECISIONS.c.request == request)).mappings().first()
    if row is None:
        return None
    kept: dict[str, Any] = {**row, "by": tuple(row["by"])}
    return Decision(**kept)
