"""A package, ready to predict: full rows in, the task's output out."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from headrace.chains import opening
from headrace.chains.gateways import current
from headrace.chains.routes import changes
from headrace.core.errors import DataError
from headrace.environments.importing import load_tree
from headrace.environments.scan import scan
from headrace.features.matrix import compute, encode, read
from headrace.features.plan import on_demand_functions
from headrace.training.chain_estimator import ChainEstimator
from headrace.training.declarations import Model
from headrace.training.estimator import LightGBM
from headrace.training.output import columns, output
from headrace.training.package import read_estimator, read_spec
from headrace.training.tasks.base import Task
from headrace.training.tasks.known import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from headrace.features.plan import FeaturePlan
    from headrace.training.package import CodeSpec, PackageSpec


LOG = logging.getLogger(__name__)


class PackagePredictor:
    """What a package predicts with: its plan, categories, on-demand functions, estimator and calibration.

    The project's code comes out of the package, under a name of its own content: two versions live in one process, and an
    old one loads after the project has changed.

    Attributes:
        spec: of the package.
        columns: of the output.

    Raises:
        DataError: the folder holds no package that this Headrace can read, or one of a task that is not known.
        MissingExtraError: the estimator's library is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.spec = read_spec(folder)
        self._functions = on_demand(folder, self.spec)
        self._task = read_task(folder, self.spec)
        self._estimator = (
            _read_chain(folder, self.spec) if self.spec.estimator == "chain" else read_estimator(folder, self.spec)
        )
        self.columns = tuple(columns(self._task, self.spec.classes))
        self._by_column = False  # whether a table's numbers are the model's matrix

    @property
    def plan(self) -> FeaturePlan:
        """Where the columns of a full row come from."""
        return self.spec.plan

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The output for full rows, same index; one row and many give the same bits.

        Raises:
            DataError: a column is missing, or holds something that cannot be read as declared.
        """
        return self.predict_with_features(rows)[1]

    def expect_many(self, threads: int) -> None:
        """Prepares for rows by the thousand, in a process with so many threads; outputs stay what they are, to the last bit."""
        if isinstance(self._estimator, LightGBM) and self._estimator.expect_many(threads):
            self._by_column = all(each.kind == "number" for each in self.plan.inputs) and not self.plan.calls

    def predict_table(self, rows: pa.Table) -> tuple[pd.DataFrame, pd.DataFrame]:
        """As `predict_with_features`, of full rows as an Arrow table, whose numbers are not copied where that can be.

        Raises:
            DataError: as `predict`.
        """
        inputs = rows.select([column.name for column in self.plan.inputs])
        if not self._by_column or not all(map(_is_number, inputs.schema.types)):
            return self.predict_with_features(inputs.to_pandas())
        columns = {name: inputs[name].to_numpy().astype("float64", copy=False) for name in self.plan.names}
        features = pd.DataFrame(columns, copy=False)
        return features, self._output(features)

    @property
    def task(self) -> Task:
        """The task, without its label."""
        return self._task

    @property
    def chain(self) -> ChainEstimator | None:
        """What answers by itself; None where an estimator predicts."""
        return self._estimator if isinstance(self._estimator, ChainEstimator) else None

    @property
    def functions(self) -> Mapping[str, Callable[..., object]]:
        """The on-demand functions, by name."""
        return self._functions

    def predict_with_features(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The features that full rows come to (texts as they were given, learned or not), and the output, same index.

        Raises:
            DataError: as `predict`.
        """
        features = compute(self.plan, self._functions, read(self.plan, rows))
        return features, self._output(encode(self.plan, self.spec.categories, features))

    def _output(self, matrix: pd.DataFrame) -> pd.DataFrame:
        spec = self.spec
        return output(self._task, spec.classes, self._estimator, matrix, calibration=spec.calibration)


def _is_number(kind: pa.DataType) -> bool:
    """Whether pandas gets an array of numbers, and no objects."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def read_task(folder: Path, spec: PackageSpec) -> Task:
    """The task of a package, without its label.

    Raises:
        DataError: its name is not that of a built-in task and its code did not travel, or that code is no task.
    """
    kept = spec.task_code
    if kept is None:
        return resolve(spec.task)
    module, _, name = kept.place.partition(":")
    if kept.in_project and spec.code is not None:
        held = load_tree(folder / "code", module, version=spec.code.content)
    else:
        try:
            held = import_module(module)
        except ImportError as error:
            raise DataError(
                f"the task {spec.task!r} of model {spec.model!r} is {kept.place}, which cannot be imported: {error}.",
                hint="Install the distribution that holds it; a task of the project itself travels with the version.",
            ) from error
    task = getattr(held, name, None)
    if not isinstance(task, type) or not issubclass(task, Task):
        raise DataError(
            f"the task {spec.task!r} of model {spec.model!r} is {kept.place}, which is {task!r}, no subclass of hr.Task."
        )
    return task.restore(kept.settings)


def on_demand(folder: Path, spec: PackageSpec) -> dict[str, Callable[..., object]]:
    """The on-demand functions of a package, by name."""
    if not spec.plan.calls or spec.code is None:
        return {}
    if spec.code.functions is not None:
        return {name: _function(folder, spec.code, place) for name, place in spec.code.functions.items()}
    return on_demand_functions(_declared(folder, spec, spec.code).inputs)


def _declared(folder: Path, spec: PackageSpec, code: CodeSpec) -> Model:
    """The model as the code of its package declares it."""
    module = load_tree(folder / "code", code.module, version=code.content)
    return next(each for each in scan(module) if isinstance(each, Model) and each.name == spec.model)


def _read_chain(folder: Path, spec: PackageSpec) -> ChainEstimator:
    if spec.code is None:
        raise DataError(f"the package of model {spec.model!r} has no code, and its answers are made by a function.")
    model = _declared(folder, spec, spec.code)
    assert model.predict is not None, "it was packaged"
    chain = opening.read(folder / "estimator", model.predict, model.uses)
    if chain.routes and (changed := changes(chain.routes, current())):
        LOG.warning("model %s was evaluated with other language models: %s", spec.model, "; ".join(changed))
    return ChainEstimator(chain, model.uses)


def _function(folder: Path, code: CodeSpec, place: str) -> Callable[..., object]:
    module, _, name = place.partition(":")
    return getattr(load_tree(folder / "code", module, version=code.content), name)
