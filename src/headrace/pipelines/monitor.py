"""Monitor: the log of answers, skew, the baseline, profile and drift of each new window, quality, estimates, alerts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from headrace.core.clock import instant
from headrace.core.events import publish
from headrace.core.failpoints import reach
from headrace.deployment.serving_bundle import plan_of
from headrace.lakehouse.identifiers import column, quoted
from headrace.monitoring import binning, columns, drift, histograms, metric_tables, quality, skew, windows
from headrace.monitoring.alert_windows import Measured
from headrace.monitoring.declarations import Monitor
from headrace.pipelines.log import collect_log
from headrace.pipelines.outputs.monitor import Baseline, CheckedSkew, JudgedRules, WindowDrift
from headrace.pipelines.planned_step import PlannedStep
from headrace.pipelines.score import measure
from headrace.scoring.columns import log_table
from headrace.training.training_set import PART
from headrace.training.training_set import table_name as training_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    import duckdb
    import pyarrow as pa

    from headrace.core.ids import Json
    from headrace.core.state import State
    from headrace.deployment.declarations import Deployment
    from headrace.inference.ingest import Trace
    from headrace.jobs.run import Run, StepContext
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.monitoring.alert_records import Alert
    from headrace.monitoring.alerts import Alerts
    from headrace.monitoring.binning import Grid
    from headrace.monitoring.blocks import MonitoredColumn
    from headrace.monitoring.declarations import AlertRule
    from headrace.monitoring.histograms import Histograms
    from headrace.monitoring.text_drift import TextDrift
    from headrace.registry.records import Version

BASELINE = "BASELINE"
ORDER = {"alert": 0, "warn": 1, "ok": 2, "not judged": 3}  # of verdicts: the worst first
FORMATS = {"1h": "%Y-%m-%d %H:00", "1d": "%Y-%m-%d", "1w": "%Y-%m-%d", "1mo": "%Y-%m"}


def outline(deployment: Deployment) -> list[PlannedStep]:
    """What monitoring does, for a dry run."""
    into, model = deployment.score.table, deployment.model
    monitor = deployment.monitor or Monitor()
    return [
        PlannedStep(step="log", reads="the spool of the servers", writes=log_table(model.name)),
        PlannedStep(step="skew", reads=f"{log_table(model.name)}, feature tables", writes=skew.TABLE),
        PlannedStep(step="baseline", reads=training_table(model), writes=f"{into}_profile_metrics, …_histograms"),
        PlannedStep(step=f"window of {monitor.window}", reads=into, writes=f"{into}_profile_metrics, …_drift_metrics"),
        PlannedStep(step="quality", reads=f"{into}, {model.task.label.table.name}", writes=quality.TABLE),
        PlannedStep(step="alerts", reads=", ".join(rule.name for rule in monitor.alerts), writes="alerts"),
    ]


def monitor(
    lakehouse: Lakehouse,
    alerts: Alerts,
    run: Run,
    deployment: Deployment,
    versions: Callable[[], Sequence[Version]],
    *,
    spool: Path,
    home: Path,
    as_of: datetime,
    watch: type[VersionMonitoring],
    trace: Trace | None = None,
) -> list[Alert]:
    """Watches what versions have predicted up to a moment; gives the alerts that hold.

    All of them are measured, so that a shadow can be compared; alerts are those of the version in Production, and of
    the last one while none is. Alerts of a version that was replaced are closed.

    Args:
        lakehouse: the tables.
        alerts: of the environment.
        run: of the ledger.
        deployment: what to watch.
        versions: which have predicted, the one in Production last; asked once the log is there.
        spool: of the servers of this model.
        home: of the model, with the copies of its versions.
        as_of: nothing later exists.
        watch: what watches a version.
        trace: what makes traces of answers; None for none. See `inference.ingest`.
    """
    collect_log(lakehouse, run, deployment.name, spool, trace=trace)
    predicted = versions()
    for version in predicted:
        check_skew(lakehouse, alerts.state, run, version, home)
    current = [version for version in predicted if version.stage == "Production"]
    judged = current or [version for version in predicted if version.stage != "Archived"][-1:]
    holding: list[Alert] = []
    for version in predicted:
        watched = watch(lakehouse, run, deployment, version, as_of)
        watched.profile_windows()
        watched.measure()
        if version in judged:
            holding += watched.judge(alerts)
    rules = (deployment.monitor or Monitor()).alerts
    alerts.retire(deployment.name, {(version.version, rule.name) for version in judged for rule in rules})
    return holding


def check_skew(lakehouse: Lakehouse, state: State, run: Run, version: Version, home: Path) -> None:
    """Whether what the newest answers of a version were made from is what training would have seen."""
    log, known = log_table(version.model), plan_of(version, home)
    if known is None or not known[0].lookups or not lakehouse.exists(log, own=True):
        return
    plan, serve = known

    def do(step: StepContext) -> CheckedSkew:
        before = skew.last(lakehouse, version.model, version.version)
        found = skew.check(
            lakehouse,
            plan,
            log,
            version=version.version,
            after=None if before is None else before.until,
            hidden=serve.redact,
        )
        if found is None:
            return CheckedSkew(rows=0, features=0, skewed=(), behind=0, unknown=0)
        for each in found.skewed:
            step.log(
                f"{each.name} of {each.table}: {each.skewed} of {each.rows} served otherwise, as in {each.example}"
            )
        if found.skewed:
            _tell_skew(state, version, found)
            reach("skew.reported")
        skew.keep(lakehouse, version.model, version.version, found, id=step.key)
        return CheckedSkew(
            rows=found.rows,
            features=len(found.features),
            skewed=[each.name for each in found.skewed],
            behind=max((each.behind for each in found.features), default=0),
            unknown=max((each.unknown for each in found.features), default=0),
        )

    key: dict[str, Json] = {"log": lakehouse.snapshot(log).content, "run": run.id}
    run.step(f"skew of version {version.version}", key, do, output=CheckedSkew)


def _tell_skew(state: State, version: Version, found: skew.Skew) -> None:
    """Everybody who wants to know; again if this is killed before the step ends."""
    features: dict[str, Json] = {each.name: each.skewed for each in found.skewed}
    with state.begin() as connection:
        publish(
            connection,
            "skew.found",
            version.name,
            {"model": version.model, "version": version.version, "rows": found.rows, "features": features},
        )


@dataclass(frozen=True)
class VersionMonitoring:
    """One version under watch; each step gives its output, which the ledger keeps."""

    lakehouse: Lakehouse
    run: Run
    deployment: Deployment
    version: Version
    as_of: datetime
    _counted: dict[datetime | Literal["reference"], Histograms] = field(default_factory=dict, init=False, repr=False)

    @property
    def source(self) -> str:
        """The table of predictions that is read."""
        return self.deployment.score.table

    @property
    def stamp(self) -> str:
        """Its column that says when a row was made."""
        return "scored_at"

    @cached_property
    def declared(self) -> Monitor:
        """How it is to be watched."""
        return self.deployment.monitor or Monitor()

    @cached_property
    def _schema(self) -> pa.Schema:
        """Of the predictions."""
        return self.lakehouse.snapshot(self.source).schema

    @cached_property
    def inputs(self) -> list[MonitoredColumn]:
        """The features, as columns of the predictions; none is called as an output is."""
        return columns.features_of(self._schema, self.outputs)

    @cached_property
    def outputs(self) -> list[MonitoredColumn]:
        """What the version predicts."""
        return columns.outputs_of(self._schema, self.deployment.model.task)

    @cached_property
    def slices(self) -> list[MonitoredColumn]:
        """What the predictions are cut by as well.

        Raises:
            NotFoundError: no such feature or column.
        """
        keys = self.deployment.model.decisions.table.keys
        return columns.slices_of(self._schema, self.declared.slices, self.inputs, keys=keys, table=self.source)

    @cached_property
    def about(self) -> metric_tables.ProfiledModel:
        """What rows of metric tables are about."""
        return metric_tables.ProfiledModel(
            table=self.deployment.score.table,
            model=self.version.model,
            version=self.version.version,
            granularity=self.declared.window,
        )

    def profile_windows(self) -> None:
        """Profile and drift of every window whose predictions are new, against the baseline and the window before."""
        marks = self._marks
        if not marks:
            return
        grids = self.baseline(self._first())
        for start in sorted(marks):
            self.window(start, marks[start], grids)

    def baseline(self, first: datetime) -> dict[str, Grid]:
        """Bins over the reference, kept in the ledger: features of the fitting rows, predictions of the first window."""

        def do(step: StepContext) -> Baseline:
            grids = self._grids(first)
            kept = self._kept_reference(grids)
            metric_tables.keep(
                self.lakehouse, replace(self.about, log_type=BASELINE), None, None, kept, [], id=step.key
            )
            return Baseline(
                grids={name: each.to_json() for name, each in grids.items()},
                features=len(self.inputs),
                outputs=len(self.outputs),
            )

        key: dict[str, Json] = {
            "artifact": self.version.artifact_hash,
            "first": first.isoformat(),
            "window": self.declared.window,
            "slices": list(self.declared.slices),
        }
        made = self.run.step(f"baseline of {self._name}", key, do, output=Baseline).output
        return {name: binning.from_json(each) for name, each in made.grids.items()}

    def window(self, start: datetime, mark: str, grids: Mapping[str, Grid]) -> None:
        """One window."""
        end = windows.end_of(start, self.declared.window)

        def do(step: StepContext) -> WindowDrift:
            reference, current = self._kept_reference(grids), self._kept_window(grids, start)
            drifts = drift.compare(reference, current)
            beside: list[tuple[str, datetime | None, datetime | None, list[drift.Drift]]] = [
                ("BASELINE", None, None, drifts)
            ]
            before = windows.start_of(start - windows.LENGTHS["1h"], self.declared.window)
            earlier = self._kept_window(grids, before)
            if earlier.rows.num_rows:
                beside.append(("CONSECUTIVE", before, start, drift.compare(earlier, current)))
            texts = self.text_drift(start)
            metric_tables.keep(self.lakehouse, self.about, start, end, current, beside, id=step.key, texts=texts)
            whole = [each for each in drifts if each.slice_key is None]
            judged = drift.judge(whole, min_rows=self.declared.min_rows)
            for each in judged:
                if each.reasons and each.verdict != "not judged":
                    step.log(f"{each.verdict}: {each.drift.column}: {'; '.join(each.reasons)}")
            for each in texts:
                if each.reasons:
                    step.log(f"{each.verdict}: {each.column}: {'; '.join(each.reasons)}")
            found = [each.to_json() for each in (*texts, *judged)]
            found.sort(key=lambda each: ORDER[str(each["verdict"])])
            return WindowDrift(start=start.isoformat(), end=end.isoformat(), columns=found)

        key: dict[str, Json] = {
            "artifact": self.version.artifact_hash,
            "window": [start.isoformat(), end.isoformat()],
            "mark": [mark, self._marks.get(windows.start_of(start - windows.LENGTHS["1h"], self.declared.window))],
            "grids": {name: each.to_json() for name, each in grids.items()},
            "min_rows": self.declared.min_rows,
            "slices": list(self.declared.slices),
            "reference": self._first().isoformat(),
        }
        self.run.step(f"window {self._when(start)} of {self._name}", key, do, output=WindowDrift)

    def text_drift(self, start: datetime) -> list[TextDrift]:
        """How far texts have moved in a window; of a model without texts none."""
        del start
        return []

    def measure(self) -> None:
        """Realised quality of the windows whose predictions or labels are new."""
        measure(self.lakehouse, self.run, self.deployment, self.version, as_of=self.as_of)

    def judge(self, alerts: Alerts) -> list[Alert]:
        """The rules, on all windows so far."""

        def do(step: StepContext) -> JudgedRules:
            found: list[Alert] = []
            for rule in self.declared.alerts:
                measured = self._measured(rule)
                found += alerts.evaluate(
                    self.version.model, self.version.version, rule, measured, owner=self.deployment.owner
                )
            for alert in found:
                step.log(f"alert {alert.id}: {alert.rule}, since the window of {alert.window:%Y-%m-%d}")
            return JudgedRules(
                alerts=[alert.id for alert in found],
                broken=[alert.rule for alert in found],
                rules=len(self.declared.alerts),
            )

        key: dict[str, Json] = {"run": self.run.id, "version": self.version.version}
        judged = self.run.step(f"alerts of {self._name}", key, do, output=JudgedRules).output
        return [alerts.get(number) for number in judged.alerts]

    def _measured(self, rule: AlertRule) -> list[Measured]:
        """What a rule looks at, a window each."""
        if rule.metric in ("psi", "null_share"):
            return self._drifted(rule.metric)
        kept = quality.stored(self.lakehouse, self.version.model, self.version.version, self.declared.window)
        ended = [window for window in kept if window.end <= self.as_of]
        return quality.seen(ended, rule.metric, min_rows=self.declared.min_rows)

    def _drifted(self, metric: str) -> list[Measured]:
        """`psi` or `null_share` of the worst judged column of each window."""
        found: list[Measured] = []
        for step in self.run.outputs(WindowDrift, prefix="window ", suffix=f" of {self._name}"):
            columns = [
                each for each in step.columns if each["verdict"] != "not judged" and each.get(metric) is not None
            ]
            worst = max(columns, key=lambda each: each[metric], default=None)
            found.append(
                Measured(
                    start=instant(step.start),
                    end=instant(step.end),
                    value=worst[metric] if worst else None,
                    judged=worst is not None,
                    explanation=f"{worst['column']}: {'; '.join(worst['reasons'])}" if worst else "",
                )
            )
        return found

    @cached_property
    def _marks(self) -> dict[datetime, str]:
        """Window → what its predictions are, for the windows that have ended."""
        with self._connected() as connection:
            rows = connection.sql(
                f"""
                select
                    {windows.sql("decision_time", self.declared.window)} as start, count(*) as predicted,
                    max({self.stamp}) as latest
                from {quoted(self.source)}
                where model = '{self.version.model}' and model_version = {self.version.version}
                    and decision_time < timestamptz '{self.as_of.isoformat()}'
                group by start
                """
            ).to_arrow_table()
        return {
            row["start"]: f"{row['predicted']} {row['latest'].isoformat()}"
            for row in rows.to_pylist()
            if windows.end_of(row["start"], self.declared.window) <= self.as_of
        }

    def _first(self) -> datetime:
        """The window that is the reference of what was not fitted on."""
        return min(self._marks)

    def _connected(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A connection in which the predictions can be read."""
        return self.lakehouse.connect({self.source: None})

    def _grids(self, first: datetime) -> dict[str, Grid]:
        table, plain = training_table(self.deployment.model), self._plain()
        with self.lakehouse.connect({table: self.version.training_set}) as connection:
            found = binning.make_grids(connection, f"(from {quoted(table)} where {PART} = 'fit')", plain)
        with self._connected() as connection:
            found |= binning.make_grids(connection, self._rows_of(first), self.outputs)
        return found

    def _plain(self) -> list[MonitoredColumn]:
        """The features as the training set holds them; on-demand ones it does not hold."""
        there = self._training_columns
        return [replace(each, expression=column(each.feature)) for each in self.inputs if each.feature in there]

    @cached_property
    def _training_columns(self) -> list[str]:
        table = training_table(self.deployment.model)
        return self.lakehouse.snapshot(table, self.version.training_set).schema.names

    def _cuts(self) -> list[MonitoredColumn]:
        """What the training set is cut by: features, and what is no output of the model."""
        outputs = {each.name for each in self.outputs}
        named = [(each, each.feature or each.name) for each in self.slices if each.name not in outputs]
        return [replace(each, expression=column(name)) for each, name in named if name in self._training_columns]

    def _reference(self, grids: Mapping[str, Grid], first: datetime) -> Histograms:
        """The fitting rows; for what the training set does not hold, the first window."""
        table, plain = training_table(self.deployment.model), self._plain()
        with self.lakehouse.connect({table: self.version.training_set}) as connection:
            relation = f"(from {quoted(table)} where {PART} = 'fit')"
            features = histograms.collect(connection, relation, grids, plain, slices=self._cuts())
        with self._connected() as connection:
            outputs = histograms.collect(connection, self._rows_of(first), grids, self.outputs, slices=self.slices)
        return histograms.merge([features, outputs])

    def _kept_reference(self, grids: Mapping[str, Grid]) -> Histograms:
        """The reference, counted once for all windows."""
        if "reference" not in self._counted:
            self._counted["reference"] = self._reference(grids, self._first())
        return self._counted["reference"]

    def _kept_window(self, grids: Mapping[str, Grid], start: datetime) -> Histograms:
        """A window, counted once: the next one is compared with it. Only the last two are kept."""
        if start not in self._counted:
            made = self._collect(grids, start)
            for old in [each for each in self._counted if each != "reference"][:-1]:
                del self._counted[old]
            self._counted[start] = made
        return self._counted[start]

    def _collect(self, grids: Mapping[str, Grid], start: datetime) -> Histograms:
        watched = [each for each in (*self.inputs, *self.outputs) if each.kind == "string" or each.name in grids]
        with self._connected() as connection:
            return histograms.collect(connection, self._rows_of(start), grids, watched, slices=self.slices)

    def _rows_of(self, start: datetime) -> str:
        end = windows.end_of(start, self.declared.window)
        return (
            f"(from {quoted(self.source)} where model = '{self.version.model}' and model_version = {self.version.version} "
            f"and decision_time >= timestamptz '{start.isoformat()}' and decision_time < timestamptz '{end.isoformat()}')"
        )

    def _when(self, start: datetime) -> str:
        return f"{start:{FORMATS[self.declared.window]}}"

    @property
    def _name(self) -> str:
        return f"version {self.version.version}"
