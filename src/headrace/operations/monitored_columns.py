"""Columns of a monitored version one by one: their drift over time, and what they hold now beside what they held in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from headrace.core.errors import DeclarationError, NotFoundError
from headrace.operations.monitoring import ColumnDrift, judged_drift
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.stored_monitoring import open_stored
from headrace.operations.table_drift import DriftBar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from headrace.monitoring.binning import Grid
    from headrace.monitoring.declarations import Granularity
    from headrace.monitoring.histograms import Histograms
    from headrace.monitoring.metric_tables import StoredDrift
    from headrace.monitoring.profile import Profile
    from headrace.operations.stored_monitoring import StoredMonitoring
    from headrace.registry.records import Stage
    from headrace.workspace.workspace import Workspace

WINDOWS = 400  # more than a year of days
RUNS = 50  # of monitoring, in which the bins are looked for
FIGURES = {
    "mean": "avg",
    "standard deviation": "stddev",
    "smallest": "min",
    "median": "median",
    "largest": "max",
    "zeros, percent": "percent_zeros",
    "different texts": "distinct_count",
    "mean length": "avg_length",
}


@dataclass(frozen=True, kw_only=True)
class ColumnFigure(Record):
    """A figure of a column in the reference and in a window.

    Attributes:
        name: of the figure, in words.
        reference: its value there; None where it has none.
        now: its value in the window.
    """

    name: str
    reference: float | None
    now: float | None


@dataclass(frozen=True, kw_only=True)
class ColumnMonitoring(Record):
    """A feature or an output of a version: its drift by window, and one window beside the reference.

    Attributes:
        model: its name.
        version: the number of the version.
        stage: of the version.
        granularity: the length of the windows.
        predictions: the table of predictions.
        column: its name.
        reference: `training`: the rows that the version was fitted on; `first window`, for what is no feature.
        series: its drift, by window.
        earlier: the number of earlier windows that are left out of the series.
        warn: the value of the measure over which it may be a `warn`.
        alert: the same of an `alert`.
        window: the drift of the window that is compared; None where that window has none.
        bars: both distributions; nothing where no histogram of it is kept.
        reference_rows: the number of rows of the reference; None without a histogram.
        rows: the number of rows of the window; None without a histogram.
        reference_missing: the number of rows of the reference without a value.
        missing: the number of rows of the window without a value.
        figures: those that apply to what the column holds.
    """

    model: str
    version: int
    stage: Stage
    granularity: Granularity
    predictions: str
    column: str
    reference: Literal["training", "first window"]
    series: tuple[ColumnDrift, ...]
    earlier: int
    warn: float
    alert: float
    window: ColumnDrift | None
    bars: tuple[DriftBar, ...]
    reference_rows: int | None
    rows: int | None
    reference_missing: int | None
    missing: int | None
    figures: tuple[ColumnFigure, ...]


@operation("monitor show", of="name")
def show_columns(
    workspace: Workspace,
    name: str,
    columns: Sequence[str],
    *,
    version: int | None = None,
    window: datetime | None = None,
    windows: int = WINDOWS,
) -> tuple[ColumnMonitoring, ...]:
    """Columns of a version as monitoring has stored them, in the order in which they are asked for.

    Args:
        workspace: the environment.
        name: of the model.
        columns: their names.
        version: its number; None: as `show_monitoring` chooses.
        window: the beginning of the window that is compared with the reference; None: the latest one of each column.
        windows: how many of the latest windows a series has; at least 1.

    Raises:
        NotFoundError: there is no such model, version, column or window, or the model has no deployment.
        DeclarationError: fewer than one window is asked for.
    """
    if windows < 1:
        raise DeclarationError(
            f"{windows} windows cannot be shown.", hint=f"Ask for 1 or more; {WINDOWS} is the default."
        )
    with open_stored(workspace, name, version, also=("histograms",)) as stored:
        drifts = stored.drift(workspace.lakehouse, columns=columns)
        by_column: dict[str, list[StoredDrift]] = {}
        for each in drifts:
            by_column.setdefault(each.column, []).append(each)
        for column in columns:
            if column not in by_column:
                raise NotFoundError(f"monitored column of {stored.version.name}", column, _known(workspace, stored))
        starts = sorted({each.start for each in drifts})
        if window is not None and window not in starts:
            raise NotFoundError("window", window.isoformat(), [each.isoformat() for each in starts[-5:]])
        begun = window or (starts[-1] if starts else None)
        pair = None if begun is None else _histograms(workspace, stored, columns, begun)
    judged = judged_drift(workspace, stored, [each for found in by_column.values() for each in found[-windows:]])
    series = {column: tuple(each for each in judged if each.column == column) for column in by_column}
    return tuple(_column(stored, column, series[column], len(by_column[column]), begun, pair) for column in columns)


def _known(workspace: Workspace, stored: StoredMonitoring) -> list[str]:
    """The columns of the latest windows, for whoever asked for another one."""
    return sorted(
        {each.column for each in stored.drift(workspace.lakehouse, since=max(stored.starts[:-2], default=None))}
    )


def _histograms(
    workspace: Workspace, stored: StoredMonitoring, columns: Sequence[str], window: datetime
) -> tuple[Histograms, Histograms] | None:
    """Of the reference and of a window, over the bins that the ledger keeps."""
    from headrace.monitoring.history import stored_histograms

    return stored_histograms(
        stored.tables,
        stored.deployment.score.table,
        model=stored.version.model,
        version=stored.version.version,
        window=window,
        columns=columns,
        grids=_grids(workspace, stored),
    )


def _grids(workspace: Workspace, stored: StoredMonitoring) -> Mapping[str, Grid]:
    """The bins of every column of a version, as they were laid last."""
    from headrace.monitoring import binning
    from headrace.pipelines.outputs.monitor import Baseline

    version = stored.version
    for run in workspace.ledger.runs(f"monitor {version.model}", limit=RUNS):
        for step in workspace.ledger.steps(run.id, named=[f"baseline of version {version.version}"]):
            made = None if step.output is None else Baseline.from_json(step.output)
            if made is not None:
                return {name: binning.from_json(each) for name, each in made.grids.items()}
    return {}


def _column(
    stored: StoredMonitoring,
    column: str,
    series: tuple[ColumnDrift, ...],
    every: int,
    window: datetime | None,
    pair: tuple[Histograms, Histograms] | None,
) -> ColumnMonitoring:
    from headrace.monitoring import drift, text_drift
    from headrace.monitoring.profile import profiles

    of_texts = any(each.energy_distance is not None for each in series)
    before, now = ({}, {}) if pair is None else ({each.column: each for each in profiles(side)} for side in pair)
    then, current = before.get(column), now.get(column)
    model = stored.deployment.model
    fitted = model.predict is None and not model.task.watched([column])
    return ColumnMonitoring(
        model=stored.version.model,
        version=stored.version.version,
        stage=stored.version.stage,
        granularity=stored.granularity,
        predictions=stored.deployment.score.table,
        column=column,
        reference="training" if fitted else "first window",
        series=series,
        earlier=every - len(series),
        warn=text_drift.WARN if of_texts else drift.WARN,
        alert=text_drift.ALERT if of_texts else drift.ALERT,
        window=next((each for each in series if each.start == window), None),
        bars=() if pair is None or then is None or current is None else _bars(pair, column),
        reference_rows=None if then is None else then.count + then.num_nulls,
        rows=None if current is None else current.count + current.num_nulls,
        reference_missing=None if then is None else _missing(then),
        missing=None if current is None else _missing(current),
        figures=() if then is None or current is None else _figures(then, current),
    )


def _bars(pair: tuple[Histograms, Histograms], column: str) -> tuple[DriftBar, ...]:
    from headrace.monitoring.bars import bars

    return tuple(
        DriftBar(low=bar.low, high=bar.high, value=bar.value, reference_rows=bar.rows[0], rows=bar.rows[1])
        for bar in bars([each.columns[column] for each in pair])
    )


def _missing(profile: Profile) -> int:
    return profile.num_nulls + (profile.num_nan or 0)


def _figures(then: Profile, current: Profile) -> tuple[ColumnFigure, ...]:
    found = [
        ColumnFigure(name=name, reference=getattr(then, of), now=getattr(current, of)) for name, of in FIGURES.items()
    ]
    return tuple(each for each in found if each.reference is not None or each.now is not None)
