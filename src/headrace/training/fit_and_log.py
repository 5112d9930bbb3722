"""One fitted version on one MLflow run: fitted by the user's function, calibrated, packaged, logged."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from headrace.features.matrix import check_rowwise, encode, fit_categories, to_json
from headrace.tracking.autolog import fitted_params
from headrace.training import code, load_check, package, signature
from headrace.training.estimator import importances, own, sample
from headrace.training.measures import by_name, check_measurable, evaluate
from headrace.training.output import output
from headrace.training.package import Expected
from headrace.training.plots import importance
from headrace.training.split import check_features, check_labels
from headrace.training.train import fit, training_data

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

    from headrace.core.ids import Json
    from headrace.features.matrix import Categories
    from headrace.tracking.tracking import TrackedRun
    from headrace.training.calibration import Calibration
    from headrace.training.declarations import Model, Params, TrainingData
    from headrace.training.estimator import Estimator
    from headrace.training.load_check import LoadReport
    from headrace.training.package import Origin, WrittenPackage
    from headrace.training.tasks.base import Class, Task
    from headrace.training.training_set import TrainingSet

ASKED = 200  # full rows that the package is asked before it is logged
EXAMPLE = 5  # full rows that are kept beside the model
EXPECTED = 50  # full rows that are kept with what the estimator itself predicts
HASH = "headrace.artifact_hash"
LOADER = "headrace.scoring.pyfunc"


@dataclass(frozen=True, kw_only=True)
class Logged:
    """A version that was logged: its run, where its model is, the hash of what is there, and files that were left out."""

    run_id: str
    model_uri: str
    artifact_hash: str
    left_out: tuple[str, ...] = ()


def prepare(
    model: Model, data: TrainingSet, functions: Mapping[str, Callable[..., object]]
) -> tuple[TrainingData, Categories]:
    """The fitting rows as the user's function gets them, and the categories of the texts.

    Raises:
        DataError: a part with one class only, classes whose names meet, or a feature that is missing everywhere.
        UserCodeError: an on-demand function looks at other rows.
    """
    rows = data.part("fit")
    check_labels(data.y.loc[rows], "fit on")
    model.task.check_classes(data.y.loc[rows])
    if model.task.sets_aside:
        check_labels(data.y.loc[data.part("calibrate")], "calibrate")
    check_measurable(model, data.y.loc[data.part("test")])
    check_features(data.plan, data.computed.loc[rows])
    check_rowwise(data.plan, functions, data.inputs.loc[rows])
    categories = fit_categories(data.plan, data.computed.loc[rows])
    matrix = encode(data.plan, categories, data.computed.loc[rows])
    return training_data(model, matrix, data.y.loc[rows], data.at.loc[rows]), categories


def fit_and_log(
    run: TrackedRun,
    model: Model,
    data: TrainingSet,
    functions: Mapping[str, Callable[..., object]],
    params: Params,
    *,
    origin: Origin,
    by_value: Sequence[str],
    notes: Mapping[str, Json],
) -> Logged:
    """Fits on the fitting rows, calibrates on theirs, logs parameters, figures and the package on the run.

    Before the package is logged, it is asked in a process that has nothing but what it will have elsewhere (`load_check`).

    A run that was finished before is not logged on again: what it holds is given back.

    Raises:
        DataError: see `prepare`.
        UserCodeError: the user's function raised, or gave nothing that predicts, or something that would not predict
            elsewhere.
    """
    if run.done:
        return Logged(run_id=run.id, model_uri=run.model_uri or "", artifact_hash=run.summary.tags[HASH])
    fitting, categories = prepare(model, data, functions)
    run.log_params(params)
    for name, note in notes.items():
        run.log_dict(cast("dict[str, Json]", note), f"{name}.json")
    with run.autologging():
        estimator = fit(model, fitting, params)
    run.log_params(fitted_params(estimator.fitted))
    task, classes = model.task, model.task.classes(fitting.y)
    held_out = {
        part: encode(data.plan, categories, data.computed.loc[data.part(part)]) for part in ("calibrate", "test")
    }
    calibration = None
    if task.sets_aside:
        raw = output(task, classes, estimator, held_out["calibrate"])
        calibration = task.calibration(raw, data.y.loc[data.part("calibrate")])
    given = output(task, classes, estimator, held_out["test"], calibration=calibration)
    y, sliced = data.y.loc[data.part("test")], data.rows.loc[data.part("test"), list(model.evaluate.slices)]
    measures = evaluate(task, y, given, sliced, metrics=model.measured)
    run.log_metrics({f"test_{name}": value for name, value in by_name(measures).items()})
    run.log_dict([vars(measure) for measure in measures if measure.slice_key], "slices.json")
    weights = importances(estimator, data.plan.names)
    figures = dict(task.plots(y, given))
    if weights:
        figures["importance.png"] = importance(weights)
    for name, figure in figures.items():
        run.log_figure(figure, f"plots/{name}")
    if weights:
        run.log_dict(weights, "importances.json")
    places = sample(fitting.X, EXPECTED)
    expected = _expected(data, task, classes, estimator, fitting.X.iloc[places], calibration)
    with tempfile.TemporaryDirectory(prefix="headrace-package-") as scratch:
        rows = _spread(data)
        told = output(
            task, classes, estimator, encode(data.plan, categories, data.computed.loc[rows]), calibration=calibration
        )

        def write(
            into: str, functions: Mapping[str, Callable[..., object]] | None
        ) -> tuple[WrittenPackage, LoadReport]:
            made = package.write(
                _folder(scratch, into),
                model=model.name,
                task=task,
                classes=classes,
                plan=data.plan,
                categories=categories,
                estimator=estimator,
                calibration=calibration,
                params=params,
                origin=origin,
                by_value=by_value,
                functions=functions,
                expected=expected,
            )
            return made, load_check.ask(
                made.folder,
                data.inputs.loc[rows],
                told,
                loader=LOADER,
                distributions={"headrace", *made.distributions},
                project=origin.folder,
                left_out=made.left_out,
            )

        written, seen = write("needed", functions)
        if seen.problem and written.spec.code is not None and written.spec.code.functions is not None:
            whole = write("whole", None)  # what the functions need was not told rightly: everything, then
            written, seen = whole if not whole[1].problem or not seen.reads else (written, seen)
        if seen.problem:
            raise seen.refuse(model.name)
        columns, kept = signature.inputs(data.plan, data.rows), data.part("fit")[:EXAMPLE]
        uri = run.log_model(
            written.folder,
            loader=LOADER,
            inputs=columns,
            outputs=signature.outputs(given),
            requirements=code.pinned({*written.distributions, *seen.distributions}),
            example=signature.example(columns, data.rows.loc[kept], data.inputs.loc[kept]),
        )
    run.set_tags({HASH: written.hash})
    return Logged(run_id=run.id, model_uri=uri, artifact_hash=written.hash, left_out=written.left_out)


def _spread(data: TrainingSet) -> pd.Index:
    """Some rows from everywhere."""
    places = np.unique(np.linspace(0, len(data.inputs) - 1, ASKED).astype(int))
    return data.inputs.index[places]


def _folder(parent: str, name: str) -> Path:
    folder = Path(parent) / name
    folder.mkdir()
    return folder


def _expected(
    data: TrainingSet,
    task: Task,
    classes: Sequence[Class],
    estimator: Estimator,
    X: pd.DataFrame,  # noqa: N803
    calibration: Calibration | None,
) -> Expected:
    """Some full rows to fit on, and what the object that fit() gave predicts for them."""
    made = output(task, classes, own(estimator), X, calibration=calibration)
    return Expected(
        rows=to_json(data.plan, data.inputs.loc[X.index]),
        columns=[str(name) for name in made.columns],
        outputs=made.astype(object).to_numpy().tolist(),
    )
