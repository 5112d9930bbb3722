"""Promote: a version of another environment is copied as it is, measured on the held-out rows of this one, and registered with stage None."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from headrace.core.errors import DataError, RefusedError
from headrace.pipelines.outputs.train import LoggedModel
from headrace.tracking.tracking import package_folder
from headrace.training.fit_and_log import HASH

if TYPE_CHECKING:
    from headrace.core.ids import Json
    from headrace.jobs.run import StepContext
    from headrace.pipelines.promoted_version import PromotedVersion
    from headrace.pipelines.train import Training


def promote_model(training: Training, promoted: PromotedVersion) -> int:
    """Registers a version of another environment; gives its number here.

    Args:
        training: of the model here, with what is promoted.
        promoted: the same version.

    Raises:
        DataError: the copy is not what was registered, or no decision here may test it.
        RefusedError: it takes other features than the code here declares.
    """
    _check_features(training, promoted)
    return training.finish(_copy(training, promoted))


def _copy(training: Training, promoted: PromotedVersion) -> LoggedModel:
    """The files of the logged model on a run of this environment, with the hashes that they have there."""
    version = promoted.version

    def do(step: StepContext) -> LoggedModel:
        with training.tracking.open_run(
            version.model,
            step.key,
            name=f"{version.model} promoted from {promoted.name}",
            tags={**training.tags(), **{f"promoted.{name}": value for name, value in promoted.origin.items()}},
            holds=lambda run: training.stands(run.model_uri or "", version.artifact_hash, version.logged_hash),
        ) as tracked:
            if not tracked.done:
                tracked.log_params(version.params)
                tracked.log_copy(promoted.files)
                tracked.set_tags({HASH: version.artifact_hash})
        uri = tracked.model_uri or ""
        if not training.stands(uri, version.artifact_hash, version.logged_hash):
            raise DataError(
                f"the copy of {promoted.name} of {version.model} is not what is registered there.",
                hint="Try again. If it stays, look at the artifact store of this environment: headrace doctor",
            )
        step.log(f"{version.model} of {promoted.name}: {version.artifact_hash}")
        return LoggedModel(
            run_id=tracked.id,
            model_uri=uri,
            artifact_hash=version.artifact_hash,
            logged_hash=version.logged_hash,
            params=version.params,
            searched=(),
        )

    key: dict[str, Json] = {
        "model": version.model,
        "promoted": {**promoted.origin},
        "artifact": version.artifact_hash,
        "logged": version.logged_hash,
        "routes": {name: {**each} for name, each in training.routes.items()},
    }
    return training.run.step("copy", key, do, output=LoggedModel, holds=training.is_logged).output


def _check_features(training: Training, promoted: PromotedVersion) -> None:
    """Refuses a version whose look-ups are not those of the code here: it would be measured on other features than it takes."""
    package = package_folder(promoted.files, promoted.name)
    said: Any = json.loads((package / "spec.json").read_text(encoding="utf-8"))
    theirs, ours = said["plan"], json.loads(json.dumps(training.plan.to_json()))
    if theirs == ours:
        return
    differing = [name for name in dict.fromkeys((*theirs, *ours)) if theirs.get(name) != ours.get(name)]
    raise RefusedError(
        f"{promoted.version.model} of {promoted.name} takes other features than the code here declares: "
        f"{', '.join(differing)} differ.",
        hint="Train it by the code that runs here, or release the code that it was trained by.",
    )
