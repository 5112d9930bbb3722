"""The registry of one environment."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, insert, select, update

from headrace.access.audit import AUDIT, record
from headrace.core.clock import now
from headrace.core.errors import ConflictError, DataError, NotFoundError, RefusedError
from headrace.core.events import CHANNELS, EVENTS, publish
from headrace.core.failpoints import reach
from headrace.registry.authorization import PLAN, TrafficAuthorization
from headrace.registry.bound import check_bound
from headrace.registry.policies import Policies
from headrace.registry.records import Decision, Stage, StageChange, Version
from headrace.registry.requests import Requests, check_in_force
from headrace.registry.rollouts import Rollouts, refuse_before_the_end
from headrace.registry.split import follow_move
from headrace.registry.tables import ALL, DECISIONS, STAGES, VERSIONS
from headrace.registry.traffic import TrafficSplits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

    from headrace.core.ids import Json
    from headrace.core.state import State
    from headrace.registry.records import TransitionRequest
    from headrace.tracking.tracking import Tracking


class Registry:
    """Versions, and the stage of each.

    Args:
        state: where they are kept; tables are made where there are none.
        tracking: whose registry gives version numbers, so that `models:/<name>/<version>` means the same everywhere.

    Attributes:
        requests: to move a version, and decisions on them.
        policies: what Production takes, as it is declared.
        rollouts: versions on their way into Production, step by step.
        authorization: which versions may answer callers.
        traffic: who answers the traffic of a model.
    """

    def __init__(self, state: State, tracking: Tracking) -> None:
        self.state = state
        self.tracking = tracking
        state.create(*ALL, AUDIT, EVENTS, CHANNELS)
        self.requests = Requests(state)
        self.policies = Policies(state)
        self.rollouts = Rollouts(state)
        self.authorization = TrafficAuthorization(self)
        self.traffic = TrafficSplits(self, self.authorization)

    def register(
        self,
        model: str,
        *,
        step_key: str,
        run_id: str,
        model_uri: str,
        artifact_hash: str,
        logged_hash: str,
        code: str,
        inputs: Mapping[str, int],
        training_set: int,
        params: Mapping[str, bool | int | float | str],
        fit_from: str,
        fit_to: str,
        as_of: str,
        metrics: Mapping[str, float | None],
        by: str,
        alert: int | None = None,
        imported: Mapping[str, str] | None = None,
        promoted: Mapping[str, str] | None = None,
        routes: Mapping[str, Mapping[str, str]] | None = None,
        description: str = "",
    ) -> Version:
        """Makes a version with stage None; called again with the same `step_key` it gives the same one.

        MLflow's version comes first and is found again by the key: a process that dies between the two stores leaves one
        that the next attempt takes up.
        """
        with self.state.read() as connection:
            if (known := _by_key(connection, step_key)) is not None:
                return known
        tags = {"headrace.artifact_hash": artifact_hash, "headrace.code": code, "headrace.stage": "None"}
        logged = self.tracking.register(
            model, key=step_key, uri=model_uri, run_id=run_id, tags=tags, description=description
        )
        with self.state.begin() as connection:
            if (known := _by_key(connection, step_key)) is not None:
                return known
            at = now()
            connection.execute(
                insert(VERSIONS).values(
                    model=model,
                    version=logged.version,
                    stage="None",
                    step_key=step_key,
                    run_id=run_id,
                    model_uri=model_uri,
                    artifact_hash=artifact_hash,
                    logged_hash=logged_hash,
                    code=code,
                    inputs=dict(inputs),
                    training_set=training_set,
                    params=dict(params),
                    fit_from=fit_from,
                    fit_to=fit_to,
                    as_of=as_of,
                    metrics=dict(metrics),
                    alert=alert,
                    imported=None if imported is None else dict(imported),
                    promoted=None if promoted is None else dict(promoted),
                    routes={name: dict(each) for name, each in (routes or {}).items()},
                    created=at,
                )
            )
            first = {"model": model, "version": logged.version, "stage": "None", "at": at}
            reason = "registered by training" if alert is None else f"registered by training, on alert {alert}"
            if imported is not None:
                reason = f"imported from {imported['source']}"
            if promoted is not None:
                reason = f"promoted from {promoted['environment']}/{promoted['version']}"
            connection.execute(insert(STAGES).values(**first, by=by, reason=reason))
            record(
                connection,
                by,
                "version.registered",
                f"{model}/{logged.version}",
                {"artifact": artifact_hash, **(promoted or {})},
            )
            publish(connection, "version.registered", f"{model}/{logged.version}", {"by": by})
        return self.get(model, logged.version)

    def seal_copy(self, version: Version, copy_hash: str, *, by: str) -> None:
        """Keeps what a version's copy for servers holds beside the artifact; another one replaces it, and is audited."""
        here = (VERSIONS.c.model == version.model, VERSIONS.c.version == version.version)
        with self.state.begin() as connection:
            if _read(connection, version).copy_hash == copy_hash:
                return
            connection.execute(update(VERSIONS).where(*here).values(copy_hash=copy_hash))
            record(connection, by, "version.copied", version.name, {"copy": copy_hash})

    def models(self) -> list[str]:
        """The models that have a version, by name."""
        with self.state.read() as connection:
            return list(connection.execute(select(VERSIONS.c.model).distinct().order_by(VERSIONS.c.model)).scalars())

    def versions(self, model: str | None = None, *, latest: int | None = None, skip: int = 0) -> list[Version]:
        """The versions of a model, or of all, oldest first.

        Args:
            model: its name; None: all models.
            latest: only so many of the latest ones of a model; None: all.
            skip: how many of the latest are left out before them.

        Raises:
            NotFoundError: the model has none; suggests the nearest that has.
        """
        wanted = (
            select(VERSIONS).order_by(VERSIONS.c.model.desc(), VERSIONS.c.version.desc()).limit(latest).offset(skip)
        )
        if model is not None:
            wanted = wanted.where(VERSIONS.c.model == model)
        with self.state.read() as connection:
            found = [_version(row) for row in connection.execute(wanted).mappings()][::-1]
        if model is not None and not skip and not found:
            raise NotFoundError(
                "version of a model called", model, self.models(), hint="`headrace run train` makes one."
            )
        return found

    def get(self, model: str, version: int) -> Version:
        """One version.

        Raises:
            NotFoundError: no such model or version.
        """
        wanted = select(VERSIONS).where(VERSIONS.c.model == model, VERSIONS.c.version == version)
        with self.state.read() as connection:
            row = connection.execute(wanted).mappings().first()
        if row is None:
            known = [str(each.version) for each in self.versions(model)]
            raise NotFoundError(
                f"version of {model}", str(version), known, hint="`headrace model list` shows them all."
            )
        return _version(row)

    def current(self, model: str, stage: Stage) -> Version | None:
        """The newest version of a model in a stage; None when there is none."""
        with self.state.read() as connection:
            row = connection.execute(
                select(VERSIONS)
                .where(VERSIONS.c.model == model, VERSIONS.c.stage == stage)
                .order_by(VERSIONS.c.version.desc())
                .limit(1)
            ).mappings()
            found = row.first()
        return None if found is None else _version(found)

    def in_stage(self, stage: Stage) -> dict[str, Version]:
        """The newest version in a stage of every model that has one there, by the model's name."""
        wanted = select(VERSIONS).where(VERSIONS.c.stage == stage).order_by(VERSIONS.c.model, VERSIONS.c.version)
        with self.state.read() as connection:
            return {row["model"]: _version(row) for row in connection.execute(wanted).mappings()}

    def newest(self) -> dict[str, Version]:
        """The newest version of every model, by the model's name."""
        last = select(VERSIONS.c.model, func.max(VERSIONS.c.version).label("version")).group_by(VERSIONS.c.model)
        newest = last.subquery()
        of = (VERSIONS.c.model == newest.c.model, VERSIONS.c.version == newest.c.version)
        wanted = select(VERSIONS).join(newest, and_(*of)).order_by(VERSIONS.c.model)
        with self.state.read() as connection:
            return {row["model"]: _version(row) for row in connection.execute(wanted).mappings()}

    def counts(self) -> dict[str, int]:
        """How many versions every model has, by the model's name."""
        wanted = select(VERSIONS.c.model, func.count()).group_by(VERSIONS.c.model).order_by(VERSIONS.c.model)
        with self.state.read() as connection:
            return {row[0]: row[1] for row in connection.execute(wanted)}

    def check(self, model: str) -> None:
        """Refuses a model that has no version.

        Raises:
            NotFoundError: suggests the nearest that has.
        """
        with self.state.read() as connection:
            if connection.execute(select(VERSIONS.c.version).where(VERSIONS.c.model == model).limit(1)).first():
                return
        self.versions(model)

    def history(self, model: str, version: int | None = None, *, latest: int | None = None) -> list[StageChange]:
        """The stages that a version, or every version of a model, has come to, oldest first.

        Args:
            model: its name.
            version: of it; None: all.
            latest: only so many of the latest; None: all.
        """
        wanted = select(STAGES).where(STAGES.c.model == model).order_by(STAGES.c.id.desc()).limit(latest)
        if version is not None:
            wanted = wanted.where(STAGES.c.version == version)
        with self.state.read() as connection:
            return [_change(row) for row in connection.execute(wanted).mappings()][::-1]

    def move(self, version: Version, to: Stage, *, expect: Stage, decision: Decision, by: str) -> StageChange:
        """Brings a version to a stage: the only way there is.

        The decision must be an approval of this very move, for the artifact that was registered and still lies there, on
        the evidence that was shown, under the gates that are declared now, and it is spent. A version that comes to Production archives the one that was there,
        and ends what candidates have of its traffic. One that was approved with a rollout comes there at the end of it.
        Called again with a decision by which the version came to where it is, it gives that change.

        Args:
            version: as it was read.
            to: the stage.
            expect: the stage that it is believed to be in.
            decision: on a request for this move.
            by: who moves it.

        Raises:
            RefusedError: the decision is of another move, a rejection, spent, expired, made under other gates than those of now, or
                against another version in Production than is there now.
            ConflictError: the version is in another stage than `expect`.
            DataError: the artifact is not the one that was registered.
        """
        request = self.requests.get(decision.request)
        kept = self.requests.decision(request.id)
        if kept is None or replace(kept, spent=decision.spent) != decision:
            raise RefusedError(f"the decision on request {request.id} is not the one that is kept here.")
        check_bound(version, to, kept, request)
        found = self.tracking.digest(version.model_uri)
        if found != version.logged_hash:
            raise DataError(
                f"the artifact of {version.name} changed after it was registered: {found} is not {version.logged_hash}.",
                hint="It is not moved. Restore the files from a backup, or train again.",
            )
        reach(f"registry.moving:{version.name}")
        with self.state.begin() as connection:
            now_there = _read(connection, version)
            spent = connection.execute(select(DECISIONS.c.spent).where(DECISIONS.c.id == decision.id)).scalar_one()
            if spent is not None:
                return _already(connection, now_there, to, decision)
            if decision.expires <= now():
                raise RefusedError(
                    f"the decision on request {decision.request} expired at {decision.expires:%Y-%m-%d %H:%M} UTC.",
                    hint="Ask again: headrace run deploy",
                )
            check_in_force(connection, request)
            if now_there.stage != expect:
                raise ConflictError(
                    f"{version.name} is in {now_there.stage}, not in {expect}: somebody moved it.",
                    hint=f"headrace model history {version.model}",
                )
            champion = _in_production(connection, version.model)
            if to == "Production" and champion != decision.against:
                raise RefusedError(
                    f"the evidence for {version.name} was made against {_said(decision.against)}; in Production is {_said(champion)} now.",
                    hint="Ask again, against what is there: headrace run deploy",
                )
            if to == "Production" and PLAN in request.evidence:
                refuse_before_the_end(connection, version, decision)
            change = _move(connection, now_there, to, decision, by, _why(request, kept))
            follow_move(connection, now_there, was=champion, decision=decision.id, by=by)
        reach(f"registry.moved:{version.name}")
        return change


def _why(request: TransitionRequest, decision: Decision) -> str:
    said = request.comment or f"request {request.id}"
    return f"{said}: {decision.reason}" if decision.reason and decision.reason not in said else said


def _already(connection: Connection, version: Version, to: Stage, decision: Decision) -> StageChange:
    last = (
        select(STAGES)
        .where(STAGES.c.model == version.model, STAGES.c.version == version.version)
        .order_by(STAGES.c.id.desc())
        .limit(1)
    )
    row = connection.execute(last).mappings().one()
    if version.stage == to and row["decision"] == decision.id:
        return _change(row)
    raise RefusedError(
        f"the decision on request {decision.request} was spent: {version.name} came to {to} by it, and is in {version.stage} now.",
        hint="A decision is good for one move. Ask again: headrace run deploy, or headrace model rollback",
    )


def _move(connection: Connection, version: Version, to: Stage, decision: Decision, by: str, reason: str) -> StageChange:
    at = now()
    connection.execute(update(DECISIONS).where(DECISIONS.c.id == decision.id).values(spent=at))
    champion = _in_production(connection, version.model)
    if to == "Production" and champion is not None:
        _put(
            connection, version.model, champion, "Archived", at, by, f"followed by version {version.version}", decision
        )
    change = _put(connection, version.model, version.version, to, at, by, reason, decision)
    told: dict[str, Json] = {
        "from": version.stage,
        "to": to,
        "decision": decision.id,
        "archived": champion if to == "Production" else None,
    }
    record(connection, by, "stage.changed", version.name, {**told, "artifact": version.artifact_hash})
    publish(
        connection,
        "stage.changed",
        version.name,
        {**told, "model": version.model, "version": version.version, "by": by},
    )
    return change


def _put(
    connection: Connection, model: str, version: int, to: Stage, at: datetime, by: str, reason: str, decision: Decision
) -> StageChange:
    here = (VERSIONS.c.model == model, VERSIONS.c.version == version)
    connection.execute(update(VERSIONS).where(*here).values(stage=to))
    values = {
        "model": model,
        "version": version,
        "stage": to,
        "at": at,
        "by": by,
        "reason": reason,
        "decision": decision.id,
    }
    connection.execute(insert(STAGES).values(**values))
    return StageChange(at=at, version=version, stage=to, by=by, reason=reason, decision=decision.id)


def _in_production(connection: Connection, model: str) -> int | None:
    wanted = select(VERSIONS.c.version).where(VERSIONS.c.model == model, VERSIONS.c.stage == "Production")
    return connection.execute(wanted).scalar()


def _said(version: int | None) -> str:
    return "nothing" if version is None else f"version {version}"


def _read(connection: Connection, version: Version) -> Version:
    here = (VERSIONS.c.model == version.model, VERSIONS.c.version == version.version)
    return _version(connection.execute(select(VERSIONS).where(*here)).mappings().one())


def _change(row: RowMapping) -> StageChange:
    return StageChange(
        at=row["at"],
        version=row["version"],
        stage=row["stage"],
        by=row["by"],
        reason=row["reason"],
        decision=row["decision"],
    )


def _by_key(connection: Connection, step_key: str) -> Version | None:
    row = connection.execute(select(VERSIONS).where(VERSIONS.c.step_key == step_key)).mappings().first()
    return None if row is None else _version(row)


def _version(row: RowMapping) -> Version:
    kept: dict[str, Any] = dict(row)
    return Version(**kept)
