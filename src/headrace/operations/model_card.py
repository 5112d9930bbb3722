"""The card of a version: what it is for, what it was made of, how good it is and where not, who decided, and what it serves."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import DataError, HeadraceError, NotFoundError
from headrace.core.text import counted, percent
from headrace.operations.comparison import ComparisonReport, list_comparisons
from headrace.operations.models import VersionDetails, show_version
from headrace.operations.monitoring import WindowQuality, show_monitoring
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.requests import RequestDetails, list_requests, show_request
from headrace.training.declarations import Model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from headrace.registry.records import Version
    from headrace.workspace.workspace import Workspace

LOG = logging.getLogger("headrace.operations")
WINDOWS = 12
LISTED = 5  # slices that are named among the limitations
LOCK = "requirements.txt"  # of a logged model: what it was fitted with


@dataclass(frozen=True, kw_only=True)
class CardTable(Record):
    """A table that a version was made from.

    Attributes:
        table: its name.
        version: the number of its Delta version.
        at: when that version was written; None where its log does not reach back so far.
    """

    table: str
    version: int
    at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ModelCard(Record):
    """A version of a model for whoever has to judge it without having made it.

    Attributes:
        env: the environment.
        details: the version, with its metrics, slices and stages.
        task: what kind of task it is; empty where the project does not declare the model.
        use: the intended use in a sentence, as declared: for which rows, at which moment, it predicts what; empty where the
            project does not declare the model.
        parameters: of the fit function.
        features: by the names that the model sees; None where its files are gone.
        data: the tables that it was made from.
        libraries: with which it was fitted, as `name==version`; None where its files are gone.
        comparisons: what gates found when it was compared with another version on the same decisions, with intervals.
        quality: of the windows that are judged, the latest first; nothing where none is.
        requests: for it, with evidence, approvals and decisions, the latest first.
        limitations: what is known to limit it, a sentence each.
        serves: what it answers now, a sentence each.
    """

    env: str
    details: VersionDetails
    task: str
    use: str
    parameters: Mapping[str, bool | int | float | str]
    features: tuple[str, ...] | None
    data: tuple[CardTable, ...]
    libraries: tuple[str, ...] | None
    comparisons: tuple[ComparisonReport, ...]
    quality: tuple[WindowQuality, ...]
    requests: tuple[RequestDetails, ...]
    limitations: tuple[str, ...]
    serves: tuple[str, ...]


@operation("model card", of="name")
def show_card(workspace: Workspace, name: str, *, version: int | None = None) -> ModelCard:
    """The card of a version, from what was stored when it was trained, compared, decided on and monitored.

    Args:
        workspace: the environment.
        name: of the model.
        version: its number; None: the one in Production, else the newest.

    Raises:
        NotFoundError: there is no such model or version.
    """
    registry = workspace.registry
    known = registry.versions(name)
    chosen = registry.current(name, "Production") if version is None else registry.get(name, version)
    record = chosen or known[-1]
    details = show_version(workspace, name, version=record.version)
    declared = _declared(workspace, name)
    features, libraries = _files(workspace, record)
    quality = _quality(workspace, record)
    return ModelCard(
        env=workspace.environment.name,
        details=details,
        task="" if declared is None else declared.task.name,
        use="" if declared is None else _use(declared),
        parameters=record.params,
        features=features,
        data=tuple(_table(workspace, table, number) for table, number in record.inputs.items()),
        libraries=libraries,
        comparisons=tuple(each for each in list_comparisons(workspace, name) if each.version == record.version),
        quality=quality,
        requests=tuple(
            show_request(workspace, each.request)
            for each in list_requests(workspace, decided=True)
            if (each.model, each.version) == (name, record.version)
        ),
        limitations=tuple(_limitations(details, declared, quality)),
        serves=tuple(_serves(workspace, record)),
    )


def _declared(workspace: Workspace, name: str) -> Model | None:
    """As the project declares it; None where it does not, or is broken: a card shows all the same."""
    try:
        return next((each for each in workspace.project.all(Model) if each.name == name), None)
    except HeadraceError:
        return None


def _use(model: Model) -> str:
    label = model.task.label
    if model.predict is not None:
        return f"It answers questions; right answers are in {label.name!r} of {label.table.name}."
    decisions = model.decisions
    return (
        f"For a row of {decisions.table.name}, at the moment in its {decisions.at!r}, it predicts {label.name!r} of "
        f"{label.table.name}. It was not measured on other rows, nor at other moments."
    )


def _files(workspace: Workspace, version: Version) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """The features and the libraries of a version, from its files; no code of it is loaded."""
    from headrace.training.package import read_spec

    try:
        with workspace.tracking.download(version.model_uri) as logged:
            lock = logged / LOCK
            lines = lock.read_text(encoding="utf-8").splitlines() if lock.is_file() else None
        with workspace.tracking.logged_folder(version.model_uri) as folder:
            names = tuple(read_spec(folder).plan.names)
    except DataError as error:
        LOG.warning("the files of %s cannot be read: %s", version.name, error.what)
        return None, None
    return names, None if lines is None else tuple(
        each for each in map(str.strip, lines) if each and each[0] not in "#-"
    )


def _table(workspace: Workspace, table: str, version: int) -> CardTable:
    try:
        written = {entry.version: entry.at for entry in workspace.lakehouse.history(table)}
    except NotFoundError:
        written = {}
    return CardTable(table=table, version=version, at=written.get(version))


def _quality(workspace: Workspace, version: Version) -> tuple[WindowQuality, ...]:
    try:
        report = show_monitoring(workspace, version.model, version=version.version, windows=WINDOWS, drift_windows=0)
    except HeadraceError:  # no deployment, or a project that cannot be loaded
        return ()
    return tuple(sorted((each for each in report.quality if each.judged), key=lambda each: each.start, reverse=True))


def _limitations(details: VersionDetails, declared: Model | None, quality: Sequence[WindowQuality]) -> list[str]:
    """What follows from what is stored; a judgement that people have to make is not among them."""
    found: list[str] = []
    if details.imported_from:
        found.append(
            f"It was fitted elsewhere ({details.imported_from}): nothing is known of the rows that it was fitted on."
        )
    else:
        found.append(
            f"It was fitted on decisions from {details.fit_from[:10]} to {details.fit_to[:10]}, and has seen nothing later."
        )
    missing = [name for name, value in details.metrics.items() if value is None]
    if missing:
        found.append(f"Not defined on its test rows: {', '.join(missing)}.")
    metric = declared.measured[0] if declared is not None else None
    overall = details.metrics.get(metric.name) if metric is not None else None
    if metric is not None and overall is not None and details.slices:
        sign = 1 if metric.direction == "maximize" else -1
        known = [(each, each.metrics.get(metric.name)) for each in details.slices]
        worse = [(sign * (value - overall), each, value) for each, value in known if value is not None]
        worse = sorted((each for each in worse if each[0] < 0), key=lambda each: (each[0], each[1].key, each[1].value))
        for _, each, value in worse[:LISTED]:
            found.append(
                f"On its test rows with {each.key} {each.value} ({counted(each.rows, 'row')}) {metric.name} is {value:.4g}, "
                f"worse than {overall:.4g} on all."
            )
        if len(worse) > LISTED:
            found.append(
                f"{metric.name} is worse than on all rows in {len(worse) - LISTED} further slices, listed below."
            )
    elif not details.slices:
        found.append("It was not measured on slices of the test rows.")
    if not quality:
        found.append("No window of its predictions is judged: how good it is at work is not known.")
    return found


def _serves(workspace: Workspace, version: Version) -> list[str]:
    """What it answers now."""
    from headrace.deployment.declarations import Deployment

    split = workspace.registry.traffic.current(version.model)
    found: list[str] = []
    if split.primary == version.version:
        left = 1.0 - sum(each.weight for each in split.candidates)
        found.append(f"It is in Production, and answers {percent(left)} of the requests.")
    found += [
        f"It answers {percent(each.weight)} of the requests beside version {split.primary}."
        for each in split.candidates
        if each.version == version.version
    ]
    found += [
        f"It is asked for {percent(each.weight)} of the requests as a shadow: its answers are only logged."
        for each in split.shadows
        if each.version == version.version
    ]
    try:
        deployment = next((each for each in workspace.project.all(Deployment) if each.name == version.model), None)
    except HeadraceError:
        deployment = None
    if deployment is not None and found:
        found.append(f"Predictions of batch scoring go into {deployment.score.table}.")
        if deployment.serve is None:
            found.append("No server of it is declared: requests are those of batch scoring.")
    return found or [f"Nothing: it is at stage {version.stage}."]
