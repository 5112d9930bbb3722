"""Headrace: you declare tables, features, a model and its policy; Headrace runs the whole loop.

`import headrace as hr` provides the declarations, lazily: nothing heavy is imported before its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.chains.context import LLMContext
    from headrace.core.channels.base import Channel, ChannelSetting
    from headrace.core.schema import Schema
    from headrace.deployment.declarations import (
        Deployment,
        Retrain,
        Rollout,
        guardrail,
    )
    from headrace.deployment.gates.answer import failed, needs_review, passed
    from headrace.deployment.gates.approval import approval
    from headrace.deployment.gates.at_least import at_least
    from headrace.deployment.gates.documented import documented
    from headrace.deployment.gates.forbid_inputs import forbid_inputs
    from headrace.deployment.gates.function import gate
    from headrace.deployment.gates.injections import injections
    from headrace.deployment.gates.not_worse import not_worse
    from headrace.deployment.gates.output_schema import output_schema
    from headrace.deployment.gates.signature import signature
    from headrace.features.declarations import FeatureTable, all_columns, external_feature_table, on_demand
    from headrace.inference.declarations import Score, database, files
    from headrace.inference.streaming.declarations import Stream, change_feed, kafka
    from headrace.jobs.schedule import cron, on_change_of
    from headrace.lakehouse.declarations import Source, Table, expect, repair, sql_file
    from headrace.lakehouse.frame import frame
    from headrace.llm.embedding.declarations import Embedding
    from headrace.llm.evaluation.judge import judge
    from headrace.llm.feedback.client import send_feedback
    from headrace.llm.feedback.declarations import Feedback
    from headrace.llm.gateway.declarations import Route
    from headrace.llm.index.declarations import VectorIndex
    from headrace.llm.prompts.declarations import Prompt
    from headrace.monitoring.declarations import Monitor, alert, kpi
    from headrace.serving.declarations import LoadTest, Serve
    from headrace.serving.protocols import public as protocols
    from headrace.session.session import open_session as open  # noqa: A004
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
    from headrace.training.prompt_tuning import PromptTuning
    from headrace.training.splits.at_random import at_random
    from headrace.training.splits.base import Split
    from headrace.training.splits.by_column import by_column
    from headrace.training.splits.by_group import by_group
    from headrace.training.splits.by_time import by_time
    from headrace.training.splits.stratified import stratified
    from headrace.training.tasks.base import Task
    from headrace.training.tasks.binary import Binary
    from headrace.training.tasks.generation import Generation
    from headrace.training.tasks.multiclass import Multiclass
    from headrace.training.tasks.regression import Regression

HOMES = {
    **dict.fromkeys(("Channel", "ChannelSetting"), "headrace.core.channels.base"),
    "Schema": "headrace.core.schema",
    "frame": "headrace.lakehouse.frame",
    **dict.fromkeys(("Source", "Table", "expect", "repair", "sql_file"), "headrace.lakehouse.declarations"),
    **dict.fromkeys(
        ("FeatureTable", "all_columns", "external_feature_table", "on_demand"), "headrace.features.declarations"
    ),
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
    **dict.fromkeys(("Deployment", "Retrain", "Rollout", "guardrail"), "headrace.deployment.declarations"),
    **dict.fromkeys(("failed", "needs_review", "passed"), "headrace.deployment.gates.answer"),
    "approval": "headrace.deployment.gates.approval",
    "at_least": "headrace.deployment.gates.at_least",
    "documented": "headrace.deployment.gates.documented",
    "forbid_inputs": "headrace.deployment.gates.forbid_inputs",
    "gate": "headrace.deployment.gates.function",
    "not_worse": "headrace.deployment.gates.not_worse",
    "signature": "headrace.deployment.gates.signature",
    "Prompt": "headrace.llm.prompts.declarations",
    **dict.fromkeys(("Monitor", "alert", "kpi"), "headrace.monitoring.declarations"),
    **dict.fromkeys(("Score", "database", "files"), "headrace.inference.declarations"),
    **dict.fromkeys(("Stream", "change_feed", "kafka"), "headrace.inference.streaming.declarations"),
    "Binary": "headrace.training.tasks.binary",
    "Multiclass": "headrace.training.tasks.multiclass",
    "Regression": "headrace.training.tasks.regression",
    "Task": "headrace.training.tasks.base",
    "Split": "headrace.training.splits.base",
    "at_random": "headrace.training.splits.at_random",
    "by_column": "headrace.training.splits.by_column",
    "by_group": "headrace.training.splits.by_group",
    "by_time": "headrace.training.splits.by_time",
    "stratified": "headrace.training.splits.stratified",
    "metric": "headrace.training.metrics.own",
    **dict.fromkeys(("LoadTest", "Serve"), "headrace.serving.declarations"),
    "protocols": "headrace.serving.protocols",
    **dict.fromkeys(("cron", "on_change_of"), "headrace.jobs.schedule"),
    "Embedding": "headrace.llm.embedding.declarations",
    "VectorIndex": "headrace.llm.index.declarations",
    "open": "headrace.session.session",
    "LLMContext": "headrace.chains.context",
    "Generation": "headrace.training.tasks.generation",
    "Route": "headrace.llm.gateway.declarations",
    "judge": "headrace.llm.evaluation.judge",
    "injections": "headrace.deployment.gates.injections",
    "output_schema": "headrace.deployment.gates.output_schema",
    "PromptTuning": "headrace.training.prompt_tuning",
    "Feedback": "headrace.llm.feedback.declarations",
    "send_feedback": "headrace.llm.feedback.client",
}
__all__ = [
    "Binary",
    "Channel",
    "ChannelSetting",
    "Deployment",
    "Embedding",
    "Evaluate",
    "FeatureTable",
    "Feedback",
    "Generation",
    "LLMContext",
    "LoadTest",
    "Model",
    "Monitor",
    "Multiclass",
    "Params",
    "Prompt",
    "PromptTuning",
    "Regression",
    "Retrain",
    "Rollout",
    "Route",
    "Schema",
    "Score",
    "Serve",
    "Source",
    "Split",
    "Stream",
    "Table",
    "Task",
    "TrainingData",
    "Tune",
    "VectorIndex",
    "alert",
    "all_columns",
    "approval",
    "at_least",
    "at_random",
    "by_column",
    "by_group",
    "by_time",
    "change_feed",
    "choice",
    "cron",
    "database",
    "documented",
    "expect",
    "external_feature_table",
    "failed",
    "files",
    "forbid_inputs",
    "frame",
    "gate",
    "guardrail",
    "injections",
    "integer",
    "judge",
    "kafka",
    "kpi",
    "log_uniform",
    "metric",
    "needs_review",
    "not_worse",
    "on_change_of",
    "on_demand",
    "open",
    "output_schema",
    "passed",
    "protocols",
    "repair",
    "send_feedback",
    "signature",
    "sql_file",
    "stratified",
    "uniform",
]  # fmt: skip


if TYPE_CHECKING:
    __version__: str
else:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version("headrace")
        if name not in HOMES:
            raise AttributeError(f"module 'headrace' has no attribute {name!r}; it has {', '.join(__all__)}")
        if name == "protocols":
            return import_module("headrace.serving.protocols.public")
        return getattr(import_module(HOMES[name]), "open_session" if name == "open" else name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
