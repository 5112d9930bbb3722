"""Models and their versions: the list, one version with its evidence, and the history of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.access import people
from headrace.core.errors import HeadraceError, NotFoundError
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from headrace.registry.records import Rejection, Stage, StageChange, Version
    from headrace.training.declarations import Model
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class VersionReport(Record):
    """A version of a model.

    Attributes:
        model: its name.
        version: its number.
        stage: `None`, `Staging`, `Production` or `Archived`.
        metrics: metric → its value on the test rows; None where it has none there.
        fit_from: the moment of the first decision that it was fitted on, ISO 8601.
        fit_to: the moment of the last one.
        code: commit, or the digest of a working tree.
        inputs: table → the number of the Delta version that it was made from.
        run_id: of the MLflow run.
        model_uri: where MLflow keeps it.
        artifact_hash: of all files of its package.
        created: when it was registered.
        as_of: the training moment, ISO 8601: only decisions and labels up to it were used.
        imported_from: where it came from, when it was fitted elsewhere: `fit_from` and `fit_to` are then those of the rows
            that were not held out, and nothing is known of what it was fitted on. None where the project fitted it.
        promoted_from: the environment from which it came, and its number there, `staging/2`; None where it was made here. Its
            metrics are those of the rows here.
        origin: the environment in which it was trained, and its number there, `dev/3`; None where it was made here.
    """

    model: str
    version: int
    stage: Stage
    metrics: Mapping[str, float | None]
    fit_from: str
    fit_to: str
    code: str
    inputs: Mapping[str, int]
    run_id: str
    model_uri: str
    artifact_hash: str
    created: datetime
    as_of: str
    imported_from: str | None
    promoted_from: str | None
    origin: str | None


@dataclass(frozen=True, kw_only=True)
class VersionList(Record):
    """The versions of an environment's models.

    Attributes:
        env: the environment.
        versions: by model, and by number within a model.
    """

    env: str
    versions: tuple[VersionReport, ...]


@dataclass(frozen=True, kw_only=True)
class ModelSummary(Record):
    """A model, and its versions that matter now.

    Attributes:
        model: its name.
        versions: how many it has.
        production: the version in Production; None where none is.
        staging: the newest version in Staging; None where none is.
        newest: the version that was registered last.
    """

    model: str
    versions: int
    production: VersionReport | None
    staging: VersionReport | None
    newest: VersionReport


@dataclass(frozen=True, kw_only=True)
class StageReport(Record):
    """A version came to a stage.

    Attributes:
        at: when.
        stage: `None`, `Staging`, `Production` or `Archived`.
        by: who moved it, or registered it.
        reason: why.
    """

    at: datetime
    stage: Stage
    by: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RejectionReport(Record):
    """A request for a version was rejected.

    Attributes:
        request: its id.
        version: the number of the version.
        to: the stage that was requested.
        at: when it was rejected.
        by: the names of those who rejected it, separated by commas.
        reason: why.
        reopened_by: who has allowed it to be requested again; None where nobody has.
        because: why they have; None where nobody has.
    """

    request: int
    version: int
    to: Stage
    at: datetime
    by: str
    reason: str
    reopened_by: str | None
    because: str | None


@dataclass(frozen=True, kw_only=True)
class SliceReport(Record):
    """How good a version is on a part of the test rows.

    Attributes:
        key: the column that divides the rows.
        value: of that column, as text.
        rows: the number of rows.
        metrics: metric → its value on these rows; None where it has none there.
    """

    key: str
    value: str
    rows: int
    metrics: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class VersionDetails(VersionReport):
    """A version of a model with its way and its evidence.

    Attributes:
        stages: to which it came, the earliest first.
        rejected: requests for it that were rejected.
        slices: of the test rows, as the model's evaluation declares them.
        description: of the model, as declared; empty where the project does not declare it.
        owner: of the model, as declared.
    """

    stages: tuple[StageReport, ...]
    rejected: tuple[RejectionReport, ...]
    slices: tuple[SliceReport, ...]
    description: str
    owner: str


@dataclass(frozen=True, kw_only=True)
class Person(Record):
    """Whoever did something.

    Attributes:
        name: by which the environment knows them.
        simulated: whether they stand for a person who does not exist, as in a demonstration.
    """

    name: str
    simulated: bool

    @property
    def label(self) -> str:
        """The name as people read it: a simulated person is labelled."""
        return people.label(self.name, [self.name] if self.simulated else [])


@dataclass(frozen=True, kw_only=True)
class HistoryEntry(Record):
    """A version came to a stage, or a request for it was rejected.

    Attributes:
        at: when.
        version: the number of the version.
        stage: to which it came; None where a request was rejected.
        by: who moved it, registered it or rejected the request.
        reason: why, in words.
        decision: the id of the decision by which it was moved; None where it took none.
        rejected: the stage that was requested and refused; None where it came to a stage.
        decided_by: who approved that decision; nobody where it took none.
    """

    at: datetime
    version: int
    stage: Stage | None
    by: tuple[Person, ...]
    reason: str
    decision: int | None
    rejected: Stage | None
    decided_by: tuple[Person, ...]


@operation("model list")
def list_versions(
    workspace: Workspace, *, model: str | None = None, limit: int | None = None, offset: int = 0
) -> VersionList:
    """Every version of every model, or of one.

    Args:
        workspace: the environment.
        model: its name; None: every model.
        limit: only so many of the latest of a model; None: all.
        offset: how many of the latest are left out before them.

    Raises:
        NotFoundError: there is no such model.
    """
    records = workspace.registry.versions(model, latest=limit, skip=offset)
    return VersionList(env=workspace.environment.name, versions=tuple(report_version(record) for record in records))


@operation("model list")
def summarize_models(workspace: Workspace) -> list[ModelSummary]:
    """Every model that has a version, by name: how many it has, and those that matter now."""
    registry = workspace.registry
    production, staging = registry.in_stage("Production"), registry.in_stage("Staging")
    newest = registry.newest()
    return [
        ModelSummary(
            model=model,
            versions=count,
            production=report_version(production[model]) if model in production else None,
            staging=report_version(staging[model]) if model in staging else None,
            newest=report_version(newest[model]),
        )
        for model, count in registry.counts().items()
        if model in newest
    ]


@operation("model list")
def list_models(workspace: Workspace) -> tuple[str, ...]:
    """The names of the models that have versions, or that the project declares, sorted."""
    from headrace.training.declarations import Model

    declared = (each.name for each in workspace.project.all(Model))
    return tuple(sorted({*workspace.registry.models(), *declared}))


@operation("model show", of="name")
def show_production(workspace: Workspace, name: str) -> VersionDetails:
    """The version of a model that is in Production.

    Raises:
        NotFoundError: there is no such model, or none of its versions is.
    """
    return show_version(workspace, name, version=production(workspace, name).version)


@operation("model show", of="name")
def show_version(workspace: Workspace, name: str, *, version: int | None = None) -> VersionDetails:
    """One version of a model.

    Args:
        workspace: the environment.
        name: of the model.
        version: its number; None: the newest.

    Raises:
        NotFoundError: there is no such model or version.
    """
    registry = workspace.registry
    newest = registry.versions(name, latest=1)[-1]  # an unknown model is answered with those that there are
    record = registry.get(name, version) if version else newest
    declared = _declared(workspace, name)
    return VersionDetails(
        **vars(report_version(record)),
        stages=tuple(
            StageReport(at=change.at, stage=change.stage, by=change.by, reason=change.reason)
            for change in registry.history(name, record.version)
        ),
        rejected=tuple(
            RejectionReport(**vars(rejection)) for rejection in registry.requests.rejections(name, record.version)
        ),
        slices=tuple(slices_of(workspace, record)),
        description="" if declared is None else declared.description,
        owner="" if declared is None else declared.owner,
    )


@operation("model history", of="name")
def show_model_history(workspace: Workspace, name: str, *, limit: int | None = None) -> list[HistoryEntry]:
    """Every stage to which a version of a model came, and every request that was rejected, the earliest first.

    Args:
        workspace: the environment.
        name: of the model.
        limit: only so many of the latest entries; None: all.

    Raises:
        NotFoundError: there is no such model.
    """
    registry = workspace.registry
    registry.check(name)  # an unknown model is answered with those that there are
    simulated = workspace.access.simulated()
    changes = registry.history(name, latest=limit)
    deciders = registry.requests.deciders([change.decision for change in changes if change.decision is not None])
    entries = [_moved(change, deciders, simulated) for change in changes]
    entries += [_rejected(rejection, simulated) for rejection in registry.requests.rejections(name)]
    entries.sort(key=lambda entry: entry.at)
    return entries if limit is None else entries[-limit:]


def production(workspace: Workspace, name: str) -> Version:
    """The version of a model that is in Production.

    Raises:
        NotFoundError: there is no such model, or none of its versions is.
    """
    known = workspace.registry.versions(name)
    current = workspace.registry.current(name, "Production")
    if current is None:
        there = [f"{each.version}, stage {each.stage}" for each in known]
        raise NotFoundError(
            f"version of {name} in",
            "Production",
            there,
            hint=f"Name one of them by its number, or bring one there: headrace run deploy --model {name}",
        )
    return current


def _declared(workspace: Workspace, name: str) -> Model | None:
    """A model as the project declares it; None where it does not, or its program is broken: a version shows all the same."""
    from headrace.training.declarations import Model

    try:
        return next((each for each in workspace.project.all(Model) if each.name == name), None)
    except HeadraceError:
        return None


def report_version(version: Version) -> VersionReport:
    """A version as it is shown."""
    return VersionReport(
        model=version.model,
        version=version.version,
        stage=version.stage,
        metrics=version.metrics,
        fit_from=version.fit_from,
        fit_to=version.fit_to,
        code=version.code,
        inputs=version.inputs,
        run_id=version.run_id,
        model_uri=version.model_uri,
        artifact_hash=version.artifact_hash,
        created=version.created,
        as_of=version.as_of,
        imported_from=None if version.imported is None else version.imported["source"],
        promoted_from=None
        if version.promoted is None
        else f"{version.promoted['environment']}/{version.promoted['version']}",
        origin=None if version.promoted is None else version.promoted["origin"],
    )


def _moved(change: StageChange, deciders: Mapping[int, Collection[str]], simulated: Collection[str]) -> HistoryEntry:
    decided = () if change.decision is None else deciders[change.decision]
    return HistoryEntry(
        at=change.at,
        version=change.version,
        stage=change.stage,
        by=_people(change.by.split(", "), simulated),
        reason=change.reason,
        decision=change.decision,
        rejected=None,
        decided_by=_people(decided, simulated),
    )


def _rejected(rejection: Rejection, simulated: Collection[str]) -> HistoryEntry:
    """A rejection as an entry of the history: the version came to no stage."""
    reason = f"request {rejection.request} rejected: {rejection.reason}"
    if rejection.reopened_by:
        reason += f"; re-opened by {rejection.reopened_by}: {rejection.because}"
    return HistoryEntry(
        at=rejection.at,
        version=rejection.version,
        stage=None,
        by=_people(rejection.by.split(", "), simulated),
        reason=reason,
        decision=None,
        rejected=rejection.to,
        decided_by=(),
    )


def _people(names: Collection[str], simulated: Collection[str]) -> tuple[Person, ...]:
    return tuple(Person(name=name, simulated=name in simulated) for name in names)


def slices_of(workspace: Workspace, version: Version) -> list[SliceReport]:
    """The slices of a version's test rows with their metrics, in the order in which they were evaluated."""
    from headrace.training.evaluation import TABLE

    if not workspace.lakehouse.exists(TABLE, own=True):
        return []
    from headrace.lakehouse.identifiers import literal

    kept = workspace.lakehouse.snapshot(TABLE).to_arrow(where=f"run_id = {literal(version.run_id)}").to_pylist()
    rows: dict[tuple[str, str], int] = {}
    metrics: dict[tuple[str, str], dict[str, float | None]] = {}
    for row in kept:
        if row["slice_key"]:
            name = (row["slice_key"], row["slice_value"])
            rows.setdefault(name, row["rows"])
            metrics.setdefault(name, {})[row["metric"]] = row["value"]
    return [
        SliceReport(key=key, value=value, rows=count, metrics=metrics[key, value])
        for (key, value), count in rows.items()
    ]
