"""What a model is trained on, to look at: its features as of a moment, and its training set in the parts of a fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.core.clock import instant
from headrace.core.errors import DeclarationError
from headrace.operations.job import one_model, present
from headrace.operations.operation import operation
from headrace.operations.sql import QueryResult
from headrace.training.declarations import Model, TrainingData

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import pyarrow as pa

    from headrace.core.ids import Json
    from headrace.scoring.version import LoadedVersion
    from headrace.training.training_set import Part, TrainingSet
    from headrace.workspace.workspace import Workspace

ModelOrName = str | Model


@dataclass(frozen=True, kw_only=True)
class TrainingRows(QueryResult):
    """A training set: a row a decision, with its keys and moment, the features, `_label` and `_part`, in the order of time.

    Attributes:
        model: its name.
        version: the number of the version that was trained on it; None where it was assembled to be looked at.
        as_of: the training moment: only decisions and labels up to it are in it.
        counts: what became of the decisions, by name; empty for a version's.
        parts: `fit`, `calibrate` and `test`, as the fit function is given them.
    """

    model: str
    version: int | None
    as_of: datetime
    counts: Mapping[str, int]
    parts: Mapping[Part, TrainingData] = field(repr=False, compare=False)

    @property
    def fit(self) -> TrainingData:
        """The rows to fit on, as the fit function is given them: `.X`, `.y` and `.at`."""
        return self.parts["fit"]

    @property
    def calibrate(self) -> TrainingData:
        """The rows to calibrate on; empty where the task does not calibrate."""
        return self.parts["calibrate"]

    @property
    def test(self) -> TrainingData:
        """The rows that are held out to test, encoded with the categories of the rows to fit on."""
        return self.parts["test"]

    def to_json(self) -> dict[str, Json]:
        """As a `QueryResult`, with the model, version, moment and counts."""
        return {
            **super().to_json(),
            "model": self.model,
            "version": self.version,
            "as_of": self.as_of.isoformat(),
            "counts": dict(self.counts),
        }


@operation("sql", of="model")
def read_features(
    workspace: Workspace,
    model: ModelOrName | None = None,
    *,
    at: datetime | None = None,
    since: datetime | None = None,
    rows: pa.Table | None = None,
) -> QueryResult:
    """The features of decisions, each as of its moment, as training and scoring compute them. Nothing is written.

    Args:
        workspace: the environment.
        model: its name, or a model that is declared elsewhere over the project's tables; None: the only one.
        at: the last moment of a decision; None: the project's `as_of`, or the present. Of given rows it is the moment of every
            one, which then need not have one.
        since: the first moment of a decision; None: all.
        rows: decisions, with the keys, the moment and the columns of the spine that the model takes, or full rows, with every
            input of the model, of which nothing is looked up; None: the spine's own.

    Returns:
        The keys, the moment and the features: a row a given row, in their order; of the spine's own, in the order of keys.

    Raises:
        NotFoundError: there is no such model, or a table that it reads is not there yet.
        DataError: given rows cannot be read in the types of the spine.
        DeclarationError: since is after at.
        UserCodeError: an on-demand function failed.
    """
    from headrace.features.matrix import compute, read
    from headrace.features.plan import on_demand_functions
    from headrace.inference.in_memory import decided, is_full, looked_up, with_features
    from headrace.pipelines.model_inputs import feature_plan

    declared = _declared(workspace, model)
    plan = feature_plan(workspace.project, workspace.lakehouse, declared)
    if rows is not None:
        full = rows if is_full(plan, rows) else looked_up(workspace.lakehouse, plan, rows, at=at)
    else:
        until = present(workspace, at)
        if since is not None and since > until:
            raise DeclarationError(f"since {since.isoformat()} is after {until.isoformat()}.")
        full = decided(workspace.lakehouse, plan, since=since, until=until, sample=workspace.environment.sample)
    computed = compute(plan, on_demand_functions(declared.inputs), read(plan, full.to_pandas()))
    return QueryResult(arrow=with_features(plan, full, computed))


@operation("sql", of="model")
def read_training_set(
    workspace: Workspace,
    model: ModelOrName | None = None,
    *,
    as_of: datetime | None = None,
    version: int | None = None,
) -> TrainingRows:
    """A training set: assembled as `headrace run train` would, or the one that a version was trained on.

    Args:
        workspace: the environment.
        model: its name, or a model that is declared elsewhere over the project's tables; None: the only one.
        as_of: the training moment: only decisions and labels up to it exist; None: the project's `as_of`, or the present.
        version: the number of a version; its training set is read back.

    Raises:
        NotFoundError: there is no such model or version, or a table that it reads is not there yet.
        DataError: there is nothing to fit or test on.
        DeclarationError: both a version and a moment are given.
        UserCodeError: an on-demand function failed.
    """
    if version is not None:
        if as_of is not None:
            raise DeclarationError("a version has its own training moment.", hint="Give version= or as_of=.")
        name = model.name if isinstance(model, Model) else model or one_model(workspace.project, None).name
        return _of_version(workspace, name, version)
    return _assembled(workspace, _declared(workspace, model), present(workspace, as_of))


def _declared(workspace: Workspace, model: ModelOrName | None) -> Model:
    return model if isinstance(model, Model) else one_model(workspace.project, model)


def _assembled(workspace: Workspace, model: Model, as_of: datetime) -> TrainingRows:
    from headrace.features.plan import on_demand_functions
    from headrace.pipelines.model_inputs import feature_plan, tables
    from headrace.training.training_set import TrainingSet, assemble

    lakehouse = workspace.lakehouse
    plan = feature_plan(workspace.project, lakehouse, model)
    versions = {name: lakehouse.snapshot(name).version for name in tables(model)}
    made = assemble(lakehouse, model, plan, versions, as_of=as_of, sample=workspace.environment.sample)
    data = TrainingSet(plan, on_demand_functions(model.inputs), made.rows)
    return TrainingRows(
        arrow=_shown(data),
        model=model.name,
        version=None,
        as_of=as_of,
        counts=made.counts.to_json(),
        parts=data.parts(model.task),
    )


def _of_version(workspace: Workspace, name: str, number: int) -> TrainingRows:
    from headrace.scoring.version import load

    version = workspace.registry.get(name, number)
    with load(
        workspace.tracking,
        version.model_uri,
        model=name,
        number=number,
        artifact_hash=version.artifact_hash,
    ) as loaded:
        data = _read_back(workspace, loaded, name, version.training_set)
        return TrainingRows(
            arrow=_shown(data),
            model=name,
            version=number,
            as_of=instant(version.as_of),
            counts={},
            parts=data.parts(loaded.task),
        )


def _read_back(workspace: Workspace, loaded: LoadedVersion, name: str, version: int) -> TrainingSet:
    from headrace.training.training_set import TrainingSet, table_of

    rows = workspace.lakehouse.snapshot(table_of(name), version).to_arrow()
    return TrainingSet(loaded.plan, loaded.functions, rows)


def _shown(data: TrainingSet) -> pa.Table:
    """Keys, moment, features, label and part, in the order of time."""
    import pyarrow as pa

    from headrace.inference.in_memory import with_features
    from headrace.training.training_set import LABEL, PART

    rows = pa.Table.from_pandas(data.rows, preserve_index=False).replace_schema_metadata()
    made = with_features(data.plan, rows, data.computed)
    for name in (LABEL, PART):
        made = made.append_column(name, rows.column(name))
    return made
