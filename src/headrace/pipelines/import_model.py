"""Import: what was fitted elsewhere, measured on held-out rows, registered with stage None as a training registers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.pipelines.train import Training

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.environments.project import Project
    from headrace.jobs.run import Run
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.registry.registry import Registry
    from headrace.tracking.tracking import Tracking
    from headrace.training.declarations import Model
    from headrace.training.imported import ImportedModel


def import_model(
    project: Project,
    lakehouse: Lakehouse,
    tracking: Tracking,
    registry: Registry,
    run: Run,
    model: Model,
    imported: ImportedModel,
    *,
    as_of: datetime,
    by: str,
    sample: float = 1.0,
) -> int:
    """Makes a version of a model of an estimator that was fitted elsewhere; returns its number.

    Args:
        project: whose code runs.
        lakehouse: the tables.
        tracking: where it is logged.
        registry: where it becomes a version.
        run: of the ledger.
        model: as declared; its own function, parameters and search are not used.
        imported: the estimator, which was checked against the model.
        as_of: the moment up to which decisions and labels count; those that are held out evaluate it.
        by: for whom.
        sample: the share of the decisions, by key.
    """
    given = replace(model, fit=lambda _data, _params: imported.fitted, params={}, tune=None)
    training = Training(project, lakehouse, tracking, registry, run, given, as_of, by, sample=sample, imported=imported)
    return training.finish(training.fit(None))
