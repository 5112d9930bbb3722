"""Comparisons of versions: what gates found, and any two versions of a model side by side.

Everything is read from what was stored when the versions were trained and compared; nothing is predicted again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from headrace.core.errors import DataError, DeclarationError
from headrace.operations.answer_comparison import AnswersComparison, compare_answers
from headrace.operations.models import VersionReport, report_version, slices_of
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.features.plan import FeaturePlan
    from headrace.registry.records import Version
    from headrace.workspace.workspace import Workspace

LOG = logging.getLogger("headrace.operations")

Value = bool | int | float | str
Key = TypeVar("Key")


@dataclass(frozen=True, kw_only=True)
class ComparisonReport(Record):
    """What a gate found when a version was compared.

    Attributes:
        model: its name.
        version: the number of the version, the challenger.
        gate: as declared.
        result: `passed`, `failed` or another result of a gate.
        value: what the gate looks at, in the unit of its metric.
        limit: that the value was held against; None where there is none.
        reason: the result in words.
        metric: the name of the metric.
        champion: the number of the version in Production then; None: a constant prediction.
        champion_value: its metric on the compared decisions.
        challenger_value: the challenger's metric on the same decisions.
        low: the lower end of the confidence interval of `value`.
        high: its upper end.
        alpha: the probability that the interval does not hold the true value.
        rows: the number of compared decisions.
        since: the moment of the first one, ISO 8601.
        until: the moment of the last one.
    """

    model: str
    version: int
    gate: str
    result: str
    value: float | None
    limit: float | None
    reason: str | None
    metric: str | None
    champion: int | None
    champion_value: float | None
    challenger_value: float | None
    low: float | None
    high: float | None
    alpha: float | None
    rows: int | None
    since: str | None
    until: str | None


@dataclass(frozen=True, kw_only=True)
class ParameterComparison(Record):
    """A parameter of the fit function in two versions.

    Attributes:
        name: of the parameter.
        a: its value in version A; None where A has no such parameter.
        b: its value in version B; None where B has no such parameter.
        differs: whether the two values are not the same.
    """

    name: str
    a: Value | None
    b: Value | None
    differs: bool


@dataclass(frozen=True, kw_only=True)
class FeatureComparison(Record):
    """The features of two versions, by the names that the model sees, in the order in which it sees them.

    Attributes:
        added: features of version B that A does not have.
        removed: features of version A that B does not have.
        same: features of both.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    same: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TableComparison(Record):
    """A table from which the training set of a version was made.

    Attributes:
        table: its name.
        a: the number of the Delta version that version A was trained on; None where A did not read the table.
        b: the same of version B.
    """

    table: str
    a: int | None
    b: int | None


@dataclass(frozen=True, kw_only=True)
class MetricComparison(Record):
    """A metric of two versions, each on its own test rows.

    The test rows of two versions are not the same ones, so a difference here is not evidence that one version is better:
    `VersionComparison.same_rows` is.

    Attributes:
        metric: its name.
        a: its value on the test rows of version A; None where it has none there.
        b: its value on the test rows of version B; None where it has none there.
    """

    metric: str
    a: float | None
    b: float | None


@dataclass(frozen=True, kw_only=True)
class SliceComparison(Record):
    """A slice of the test rows of two versions.

    Attributes:
        key: the column that divides the rows.
        value: of that column, as text.
        rows_a: the number of test rows of version A in the slice; None where A has no such slice.
        rows_b: the same of version B.
        metrics: of both, each on its own test rows in the slice.
    """

    key: str
    value: str
    rows_a: int | None
    rows_b: int | None
    metrics: tuple[MetricComparison, ...]


@dataclass(frozen=True, kw_only=True)
class VersionComparison(Record):
    """Two versions of a model side by side.

    Attributes:
        model: its name.
        a: version A: its stage, the decisions that it was fitted on, its code and its metrics.
        b: version B.
        parameters: those that differ first, then those that are the same, by name.
        features: added and removed from A to B; None where the files of a version are gone or cannot be read.
        tables: by name.
        metrics: each version on its own test rows.
        same_rows: what gates found when one of the two was compared with the other on the same decisions; nothing where they
            were never compared.
        slices: of the test rows.
        answers: of a model with `predict=`: prompts, routes, and the answers of both to the same questions; None for others.
    """

    model: str
    a: VersionReport
    b: VersionReport
    parameters: tuple[ParameterComparison, ...]
    features: FeatureComparison | None
    tables: tuple[TableComparison, ...]
    metrics: tuple[MetricComparison, ...]
    same_rows: tuple[ComparisonReport, ...]
    slices: tuple[SliceComparison, ...]
    answers: AnswersComparison | None = None


@operation("model comparisons", of="name")
def list_comparisons(workspace: Workspace, name: str) -> list[ComparisonReport]:
    """What each version of a model was compared with, on which decisions, and the results, by version.

    Raises:
        NotFoundError: there is no such model.
    """
    from headrace.deployment.comparison import TABLE

    workspace.registry.check(name)  # an unknown model is answered with those that there are
    if not workspace.lakehouse.exists(TABLE, own=True):
        return []
    rows = workspace.lakehouse.snapshot(TABLE).to_arrow().drop_columns(["comparison_id"]).to_pylist()
    return sorted((ComparisonReport(**row) for row in rows if row["model"] == name), key=lambda row: row.version)


@operation("model compare", of="name")
def compare_versions(workspace: Workspace, name: str, a: int, b: int) -> VersionComparison:
    """Two versions of a model side by side.

    Args:
        workspace: the environment.
        name: of the model.
        a: the number of version A, usually the earlier one.
        b: the number of version B.

    Returns:
        Stages, parameters, features, tables, metrics and slices of both, and what gates found when they were compared.

    Raises:
        NotFoundError: there is no such model or version.
        DeclarationError: both numbers are the same.
    """
    registry = workspace.registry
    registry.check(name)  # an unknown model is answered with those that there are
    first, second = registry.get(name, a), registry.get(name, b)
    if a == b:
        raise DeclarationError(
            f"{first.name} cannot be compared with itself: two different versions are needed.",
            hint=f"headrace model list shows the versions; headrace model show {name} --version {a} shows this one.",
        )
    compared = list_comparisons(workspace, name)
    return VersionComparison(
        model=name,
        a=report_version(first),
        b=report_version(second),
        parameters=_parameters(first.params, second.params),
        features=_features(workspace, first, second),
        tables=tuple(
            TableComparison(table=table, a=first.inputs.get(table), b=second.inputs.get(table))
            for table in sorted({*first.inputs, *second.inputs})
        ),
        metrics=_metrics(first.metrics, second.metrics),
        same_rows=tuple(each for each in compared if {each.version, each.champion} == {a, b}),
        slices=_slices(workspace, first, second),
        answers=compare_answers(workspace, first, second),
    )


def _parameters(a: Mapping[str, Value], b: Mapping[str, Value]) -> tuple[ParameterComparison, ...]:
    """All parameters of two versions. A parameter that only one has differs; so do 1, 1.0 and true."""
    compared = [
        ParameterComparison(
            name=name,
            a=a.get(name),
            b=b.get(name),
            differs=(name in a, type(a.get(name)), a.get(name)) != (name in b, type(b.get(name)), b.get(name)),
        )
        for name in sorted({*a, *b})
    ]
    return tuple(sorted(compared, key=lambda each: not each.differs))


def _features(workspace: Workspace, a: Version, b: Version) -> FeatureComparison | None:
    """Features that were added and removed; None, and a warning, where the files of a version cannot be read."""
    try:
        before, after = _plan(workspace, a).names, _plan(workspace, b).names
    except DataError as error:
        LOG.warning("the features of %s and %s cannot be compared: %s", a.name, b.name, error.what)
        return None
    return FeatureComparison(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        same=tuple(name for name in after if name in before),
    )


def _plan(workspace: Workspace, version: Version) -> FeaturePlan:
    """The plan of a version: from its copy for servers, else from MLflow's files. No code of the version is loaded."""
    from headrace.deployment.serving_bundle import plan_of
    from headrace.training.package import read_spec

    copied = plan_of(version, workspace.home(version.model))
    if copied is not None:
        return copied[0]
    with workspace.tracking.logged_folder(version.model_uri) as folder:
        return read_spec(folder).plan


def _metrics(a: Mapping[str, float | None], b: Mapping[str, float | None]) -> tuple[MetricComparison, ...]:
    """The metrics of both, in the order of A, then those that only B has."""
    return tuple(MetricComparison(metric=name, a=a.get(name), b=b.get(name)) for name in _union(a, b))


def _slices(workspace: Workspace, a: Version, b: Version) -> tuple[SliceComparison, ...]:
    """The slices of both, in the order of A, then those that only B has."""
    before = {(each.key, each.value): each for each in slices_of(workspace, a)}
    after = {(each.key, each.value): each for each in slices_of(workspace, b)}
    compared: list[SliceComparison] = []
    for key, value in _union(before, after):
        mine, theirs = before.get((key, value)), after.get((key, value))
        compared.append(
            SliceComparison(
                key=key,
                value=value,
                rows_a=mine.rows if mine else None,
                rows_b=theirs.rows if theirs else None,
                metrics=_metrics(mine.metrics if mine else {}, theirs.metrics if theirs else {}),
            )
        )
    return tuple(compared)


def _union(first: Iterable[Key], second: Iterable[Key]) -> list[Key]:
    return list(dict.fromkeys((*first, *second)))
