"""Headrace: declare tables, features, a model and its policy; the whole loop is run for you.

`import headrace as hr` gives the declarations, lazily: nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.core.schema import Schema
    from headrace.deployment.declarations import (
        Deployment,
        Retrain,
        Rollout,
        approval,
        at_least,
        documented,
        forbid_inputs,
        guardrail,
        not_worse,
        signature,
    )
    from headrace.features.declarations import FeatureTable, external_feature_table, on_demand
    from headrace.inference.declarations import Score, database, files
    from headrace.inference.streaming.declarations import Stream, change_feed, kafka
    from headrace.jobs.schedule import cron
    from headrace.lakehouse.declarations import Source, Table, expect, repair, sql_file
    from headrace.monitoring.declarations import Monitor, alert
    from headrace.serving.declarations import Serve
    from headrace.training.declarations import (
        Evaluate,
        Model,
        Params,
        TrainingData,
        Tune,
        choice,
        integer,
        log_uniform,
        uniform,
    )
    from headrace.training.metrics.own import metric
    from headrace.training.tasks.base import Task
    from headrace.training.tasks.binary import Binary
    from headrace.training.tasks.multiclass import Multiclass
    from headrace.training.tasks.regression import Regression
    from headrace.workspace.workspace import open_workspace as open  # noqa: A004

HOMES = {
    "Schema": "headrace.core.schema",
    **dict.fromkeys(("Source", "Table", "expect", "repair", "sql_file"), "headrace.lakehouse.declarations"),
    **dict.fromkeys(("FeatureTable", "external_feature_table", "on_demand"), "headrace.features.declarations"),
    **dict.fromkeys(
        (
            "Evaluate",
            "Model",
            "Params",
            "TrainingData",
            "Tune",
            "choice",
            "integer",
            "log_uniform",
            "uniform",
        ),
        "headrace.training.declarations",
    ),
    **dict.fromkeys(
        (
            "Deployment",
            "Rollout",
            "Retrain",
            "approval",
            "at_least",
            "documented",
            "forbid_inputs",
            "not_worse",
            "signature",
            "guardrail",
        ),
        "headrace.deployment.declarations",
    ),
    **dict.fromkeys(("Monitor", "alert"), "headrace.monitoring.declarations"),
    **dict.fromkeys(("Score", "database", "files"), "headrace.inference.declarations"),
    **dict.fromkeys(("Stream", "change_feed", "kafka"), "headrace.inference.streaming.declarations"),
    "Binary": "headrace.training.tasks.binary",
    "Multiclass": "headrace.training.tasks.multiclass",
    "Regression": "headrace.training.tasks.regression",
    "Task": "headrace.training.tasks.base",
    "metric": "headrace.training.metrics.own",
    "Serve": "headrace.serving.declarations",
    "cron": "headrace.jobs.schedule",
    "open": "headrace.workspace.workspace",
}
__all__ = [
    "Binary",
    "Deployment",
    "Evaluate",
    "FeatureTable",
    "Model",
    "Monitor",
    "Multiclass",
    "Params",
    "Regression",
    "Retrain",
    "Rollout",
    "Schema",
    "Score",
    "Serve",
    "Source",
    "Stream",
    "Table",
    "Task",
    "TrainingData",
    "Tune",
    "alert",
    "approval",
    "at_least",
    "change_feed",
    "choice",
    "cron",
    "database",
    "documented",
    "expect",
    "external_feature_table",
    "files",
    "forbid_inputs",
    "guardrail",
    "integer",
    "kafka",
    "log_uniform",
    "metric",
    "not_worse",
    "on_demand",
    "open",
    "repair",
    "signature",
    "sql_file",
    "uniform",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("headrace")
    if name not in HOMES:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(HOMES[name]), "open_workspace" if name == "open" else name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
