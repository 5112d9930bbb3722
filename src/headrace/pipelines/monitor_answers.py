"""Monitoring of a version that answers by itself: its answers are in the inference log, and have no labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

from headrace.chains.declarations import check_predict, indexes
from headrace.core.clock import instant
from headrace.core.errors import MissingExtraError
from headrace.llm.embedding.opening import open_embedder
from headrace.llm.feedback.table import TABLE as SAID
from headrace.monitoring import answer_quality, binning, columns, histograms, quality, text_columns, text_drift
from headrace.monitoring.alert_windows import Measured
from headrace.monitoring.declarations import EMBEDDING_DRIFT
from headrace.pipelines.monitor import VersionMonitoring
from headrace.pipelines.outputs.monitor import MeasuredAnswers, WindowDrift
from headrace.scoring.columns import is_log, log_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    import duckdb

    from headrace.core.ids import Json
    from headrace.deployment.declarations import Deployment
    from headrace.jobs.run import StepContext
    from headrace.llm.embedding.base import Embedder
    from headrace.llm.embedding.declarations import Embedding
    from headrace.monitoring.binning import Grid
    from headrace.monitoring.blocks import MonitoredColumn
    from headrace.monitoring.declarations import AlertRule
    from headrace.monitoring.histograms import Histograms
    from headrace.monitoring.text_drift import TextDrift


def monitored_table(deployment: Deployment) -> str:
    """Where the answers are that monitoring reads: of a model with `predict=` that is served, its inference log."""
    served = deployment.model.predict is not None and deployment.serve is not None
    return log_table(deployment.name) if served else deployment.score.table


@dataclass(frozen=True)
class AnswerMonitoring(VersionMonitoring):
    """The same steps, on texts: the reference is the first window with enough rows, as nothing was fitted."""

    @property
    def source(self) -> str:
        """See `monitored_table`."""
        return monitored_table(self.deployment)

    @property
    def stamp(self) -> str:
        """The column that says when a row was made."""
        return "requested_at" if is_log(self.source) else "scored_at"

    @cached_property
    def inputs(self) -> list[MonitoredColumn]:
        """Length and language of each input."""
        return text_columns.inputs_of(self.source, self._names)

    @cached_property
    def outputs(self) -> list[MonitoredColumn]:
        """What an answer counts, and its language."""
        return text_columns.outputs_of(self.source, self._schema)

    @cached_property
    def slices(self) -> list[MonitoredColumn]:
        """What the answers are cut by as well.

        Raises:
            NotFoundError: no such column.
        """
        known = [*self.inputs, *self.outputs]
        return columns.slices_of(self._schema, self.declared.slices, known, keys=(), table=self.source)

    def measure(self) -> None:
        """What answers count, and what people say of them, by window."""
        if not is_log(self.source):
            if self.deployment.model.task.label.table.time is not None:
                super().measure()
            return
        model, version = self.deployment.model, self.version.version

        def do(step: StepContext) -> MeasuredAnswers:
            before = quality.stored(self.lakehouse, model.name, version, self.declared.window)
            report = answer_quality.measured(
                self.lakehouse,
                model,
                self.source,
                before,
                version=version,
                as_of=self.as_of,
                granularity=self.declared.window,
                min_rows=self.declared.min_rows,
                said=self.deployment.feedback,
                retrieves=bool(indexes(model.uses)),
            )
            quality.keep(self.lakehouse, model.name, version, report, id=step.key)
            last = report.windows[-1] if report.windows else None
            return MeasuredAnswers(
                windows=len(report.windows),
                changed=len(report.changed),
                rows=sum(window.rows for window in report.windows),
                metrics={}
                if last is None
                else {name: value for name, value in last.metrics.items() if value is not None},
            )

        seen = (self.source, *((SAID,) if self.lakehouse.exists(SAID) else ()))
        key: dict[str, Json] = {
            "version": version,
            "inputs": {name: self.lakehouse.snapshot(name).content for name in seen},
            "as_of": self.as_of.isoformat(),
            "metrics": [each.name + each.content for each in model.measured],
            "monitor": repr(self.declared),
            "feedback": repr(self.deployment.feedback),
        }
        self.run.step(f"quality of {self._name}", key, do, output=MeasuredAnswers)

    def _measured(self, rule: AlertRule) -> list[Measured]:
        if rule.metric != EMBEDDING_DRIFT:
            return super()._measured(rule)
        found: list[Measured] = []
        for step in self.run.outputs(WindowDrift, prefix="window ", suffix=f" of {self._name}"):
            tested = [each for each in step.columns if each.get("distance") is not None]
            worst = max(tested, key=lambda each: each["distance"], default=None)
            # what chance explains as well is no drift, however large it is
            real = worst is not None and worst["p_value"] <= text_drift.CHANCE
            found.append(
                Measured(
                    start=instant(step.start),
                    end=instant(step.end),
                    value=None if worst is None else worst["distance"] if real else 0.0,
                    judged=worst is not None,
                    explanation="" if worst is None else f"{worst['column']}: {'; '.join(worst['reasons'])}",
                )
            )
        return found

    # ------------------------------------------------------------------------------------------ texts

    @property
    def _names(self) -> tuple[str, ...]:
        """Of the inputs."""
        return check_predict(self.deployment.name, self.deployment.model.predict)

    @cached_property
    def _embedder(self) -> Embedder | str:
        """What makes vectors of texts here, as the model's first index does; or why nothing does."""
        built_in = [cast("Embedding", each.embed) for each in indexes(self.deployment.model.uses)]
        chosen = next((each for each in built_in if each.model is not None), None)
        if chosen is None:
            return "not measured: the model has no index with a built-in embedding"
        try:
            return open_embedder(chosen)
        except MissingExtraError as error:
            return f"not measured: {error}"

    def text_drift(self, start: datetime) -> list[TextDrift]:
        """Each input of a window against the reference."""
        embedder = self._embedder
        if isinstance(embedder, str):
            return [text_drift.skipped(name, embedder) for name in self._names]
        return [
            text_drift.compare(name, self._texts(self._first(), name), self._texts(start, name), embedder)
            for name in self._names
        ]

    def _texts(self, start: datetime, name: str) -> list[str]:
        with self._connected() as connection:
            return text_drift.sample(connection, self._rows_of(start), text_columns.input_text(self.source, name))

    # ------------------------------------------------------------------------------------------ reference

    def _first(self) -> datetime:
        """The first window with enough rows to be judged; the first one while there is none."""
        enough = [start for start, mark in self._marks.items() if int(mark.partition(" ")[0]) >= self.declared.min_rows]
        return min(enough or self._marks)

    def _connected(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        return text_columns.connect(self.lakehouse, self.source)

    def _grids(self, first: datetime) -> dict[str, Grid]:
        with self._connected() as connection:
            return binning.make_grids(connection, self._rows_of(first), [*self.inputs, *self.outputs])

    def _reference(self, grids: Mapping[str, Grid], first: datetime) -> Histograms:
        with self._connected() as connection:
            watched = [*self.inputs, *self.outputs]
            return histograms.collect(connection, self._rows_of(first), grids, watched, slices=self.slices)
