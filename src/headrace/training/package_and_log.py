"""A version of a model that answers by itself, on one MLflow run: its chain, packaged and logged."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

from headrace.tracking.records import SignatureColumn
from headrace.training import code, package
from headrace.training.fit_and_log import HASH, LOADER, Logged
from headrace.training.generated import NUMBERS, TEXTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.core.ids import Json
    from headrace.tracking.tracking import TrackedRun
    from headrace.training.chain_estimator import ChainEstimator
    from headrace.training.declarations import Model
    from headrace.training.package import Origin
    from headrace.training.training_set import TrainingSet


def package_and_log(
    run: TrackedRun,
    model: Model,
    data: TrainingSet,
    estimator: ChainEstimator,
    *,
    origin: Origin,
    by_value: Sequence[str],
    notes: Mapping[str, Json],
) -> Logged:
    """Logs the prompts as texts, and the package: the chain, its indexes and the project's code. No model is called.

    A run that was finished before is not logged on again: what it holds is given back.

    Raises:
        DataError: the code is too large.
    """
    if run.done:
        return Logged(run_id=run.id, model_uri=run.model_uri or "", artifact_hash=run.summary.tags[HASH])
    chain = estimator.chain
    run.log_params(
        {
            **{f"prompt.{name}": each.digest for name, each in chain.prompts.items()},
            **{f"index.{name}": each.version for name, each in chain.indexes.items()},
            **({"route": ", ".join(chain.route.names)} if chain.route else {}),
        }
    )
    for name, each in chain.prompts.items():
        run.log_text(each.text, f"prompts/{name}.md")
    for name, note in notes.items():
        run.log_dict(cast("dict[str, Json]", note), f"{name}.json")
    with tempfile.TemporaryDirectory(prefix="headrace-package-") as scratch:
        written = package.write(
            Path(scratch),
            model=model.name,
            task=model.task,
            classes=(),
            plan=data.plan,
            categories={},
            estimator=estimator,
            calibration=None,
            params={},
            origin=origin,
            by_value=by_value,
        )
        uri = run.log_model(
            written.folder,
            loader=LOADER,
            inputs=[SignatureColumn(name=each.name, type="string") for each in data.plan.inputs],
            outputs=[
                *(SignatureColumn(name=name, type="string") for name in TEXTS),
                *(SignatureColumn(name=name, type="double") for name in NUMBERS),
            ],
            requirements=code.pinned(written.distributions),
            example=None,  # MLflow would have it answered, and that is paid for
        )
    run.set_tags({HASH: written.hash})
    return Logged(run_id=run.id, model_uri=uri, artifact_hash=written.hash, left_out=written.left_out)
