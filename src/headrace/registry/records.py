"""What the registry keeps: versions, and the history of their stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

Stage = Literal["None", "Staging", "Production", "Archived"]


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a model.

    Attributes:
        step_key: of the job step that registered it; one key is one version.
        run_id: of the MLflow run.
        model_uri: where MLflow keeps it.
        artifact_hash: of all files of the package.
        code: commit, or the digest of a working tree.
        inputs: table → Delta version that it was made from.
        fit_from: the first decision that it was fitted on, ISO 8601.
        fit_to: the last one.
        as_of: the training moment.
        metrics: on the test rows.
    """

    model: str
    version: int
    stage: Stage
    step_key: str
    run_id: str
    model_uri: str
    artifact_hash: str
    code: str
    inputs: Mapping[str, int]
    fit_from: str
    fit_to: str
    as_of: str
    metrics: Mapping[str, float | None]
    created: datetime


@dataclass(frozen=True, kw_only=True)
class StageChange:
    """A version came to a stage."""

    at: datetime
    stage: Stage
    by: str
    why: str
