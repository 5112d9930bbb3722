"""Pictures and tables of what monitoring has stored: quality by window, drift as a heat map, a column beside its training.

Pages and reports show the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from headrace.console import charts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from markupsafe import Markup

    from headrace.operations.monitored_columns import ColumnMonitoring
    from headrace.operations.monitoring import ColumnDrift, MonitoringReport, WindowQuality
    from headrace.operations.table_drift import DriftBar

FORMATS = {"1h": "%Y-%m-%d %H:00", "1d": "%Y-%m-%d", "1w": "%Y-%m-%d", "1mo": "%Y-%m"}
LENGTHS = {"1h": "an hour", "1d": "a day", "1w": "a week", "1mo": "a month"}
HOT = (0.5, 1.0, 2.0, 5.0, 10.0)  # times the value of a warning, where the next class begins
HOT_TEXTS = (0.5, 1.0, 3.0, 6.0, 12.0)  # of the energy distance, whose alert is three times its warning


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A column in a window.

    Attributes:
        value: of the measure, as it is written; empty where there is none.
        heat: 0 to 5; None where there is no value.
        mark: the verdict where it asks to be looked at, else empty.
        title: the verdict with its reasons.
    """

    value: str
    heat: int | None
    mark: str
    title: str


@dataclass(frozen=True, kw_only=True)
class HeatRow:
    """A column of a heat map: its name, and a cell for each window."""

    column: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """Columns by windows, the most drifted column first.

    Attributes:
        starts: of the windows, as they are written.
        rows: of the columns.
        legend: class → from which value on, as it is written.
        texts: the same of the energy distance; nothing where no column has one.
    """

    starts: tuple[str, ...]
    rows: tuple[HeatRow, ...]
    legend: tuple[tuple[int, str], ...]
    texts: tuple[tuple[int, str], ...]


@dataclass(frozen=True, kw_only=True)
class QualityChart:
    """A metric over time.

    Attributes:
        metric: its name.
        picture: realised with its interval, and estimated.
        limit: the rule whose limit is drawn; empty where there is none.
        rows: by window, the latest first.
    """

    metric: str
    picture: Markup
    limit: str
    rows: tuple[WindowQuality, ...]


def heat_map(report: MonitoringReport) -> HeatMap:
    """The drift of a version."""
    starts = sorted({each.start for each in report.drift})
    place = {start: number for number, start in enumerate(starts)}
    by_column: dict[str, list[ColumnDrift | None]] = {}
    most: dict[str, float] = {}
    texts = False
    for each in report.drift:
        by_column.setdefault(each.column, [None] * len(starts))[place[each.start]] = each
        of_texts = each.psi is None and each.energy_distance is not None
        texts = texts or of_texts
        warn = report.embedding_warn if of_texts else report.drift_warn
        most[each.column] = max(most.get(each.column, 0.0), (measured(each) or 0.0) / warn)
    ordered = sorted(by_column, key=lambda column: (-most[column], column))
    return HeatMap(
        starts=tuple(window_name(start, report.granularity) for start in starts),
        rows=tuple(
            HeatRow(column=column, cells=tuple(_cell(each, report) for each in by_column[column])) for column in ordered
        ),
        legend=_legend(HOT, report.drift_warn),
        texts=_legend(HOT_TEXTS, report.embedding_warn) if texts else (),
    )


def quality_charts(report: MonitoringReport, *, most: int | None = None) -> list[QualityChart]:
    """The metrics of a version over time, the main one first.

    Args:
        report: of the version.
        most: how many metrics; None: all.
    """
    by_metric: dict[str, list[WindowQuality]] = {}
    for each in report.quality:
        by_metric.setdefault(each.metric, []).append(each)
    found: list[QualityChart] = []
    for metric, windows in list(by_metric.items())[:most]:
        rule = next((each for each in report.rules if each.metric == metric), None)
        realised = charts.Series(
            name="realised, with its 95 % interval",
            points=[charts.Point(x=each.start, y=each.value, low=each.low, high=each.high) for each in windows],
        )
        estimated = charts.Series(
            name="estimated without labels", points=[charts.Point(x=each.start, y=each.estimated) for each in windows]
        )
        expected = any(each.estimated is not None for each in windows)
        found.append(
            QualityChart(
                metric=metric,
                picture=charts.line(
                    f"{metric} of {report.model} version {report.version} by window",
                    [realised, estimated] if expected else [realised],
                    limit=None if rule is None else rule.limit,
                ),
                limit="" if rule is None else rule.rule,
                rows=tuple(reversed(windows)),
            )
        )
    return found


def coverage_said(report: MonitoringReport) -> str:
    """How many labels are known, in words."""
    by_window = {each.start: each for each in report.quality}
    if not by_window:
        return "No quality is stored: no label is known yet, or no window was scored."
    last = by_window[max(by_window)]
    judged = [each for each in by_window.values() if each.judged]
    told = (
        f"In the window of {window_name(last.start, report.granularity)} the labels of {last.labelled:,} of {last.rows:,} "
        f"predictions are known ({last.label_coverage:.1%})"
    )
    if last.judged:
        return f"{told}; it is judged."
    before = max(judged, key=lambda each: each.start, default=None)
    when = (
        "no window is judged yet"
        if before is None
        else f"the last window that is judged is that of {window_name(before.start, report.granularity)}"
    )
    return f"{told}; it is not judged ({last.reason}), and {when}."


def series_picture(column: ColumnMonitoring) -> Markup:
    """The drift of a column over time, beside the value of an alert."""
    points = [charts.Point(x=each.start, y=measured(each)) for each in column.series]
    return charts.line(
        f"drift of {column.column} by window", [charts.Series(name=measure(column), points=points)], limit=column.alert
    )


def distribution_picture(column: ColumnMonitoring) -> Markup:
    """What a column holds in a window beside what it held in the reference, as shares of the rows."""
    names = [bar_name(each) for each in column.bars]
    pairs = [(column.reference_rows, [each.reference_rows for each in column.bars]), (column.rows, [each.rows for each in column.bars])]  # fmt: skip
    names, shares = [*names, "missing"], [[rows / max(every or 0, 1) for rows in side] for every, side in pairs]
    for side, missing, every in zip(shares, (column.reference_missing, column.missing), (column.reference_rows, column.rows), strict=True):  # fmt: skip
        side.append((missing or 0) / max(every or 0, 1))
    if not column.bars:
        return charts.histograms("", [], [], [])
    return charts.histograms(f"{column.column}: {column.reference} and now", [column.reference, "now"], names, shares)


def bar_name(bar: DriftBar) -> str:
    """The range or the text of a bar."""
    if bar.value is not None:
        return bar.value
    if bar.low is None or bar.high is None:
        return "all others"
    low, high = (f"{each:.4g}" if isinstance(each, float) else str(each) for each in (bar.low, bar.high))
    return low if bar.low == bar.high else f"{low} to {high}"


def measure(column: ColumnMonitoring) -> str:
    """What the drift of a column is measured by."""
    texts = any(each.psi is None and each.energy_distance is not None for each in column.series)
    return "energy distance" if texts else "population stability index"


def measured(drift: ColumnDrift) -> float | None:
    """The value of that measure."""
    return drift.energy_distance if drift.psi is None else drift.psi


def window_name(start: datetime, granularity: str) -> str:
    """The beginning of a window, as precisely as its length asks for."""
    return f"{start:{FORMATS[granularity]}}"


def _cell(drift: ColumnDrift | None, report: MonitoringReport) -> Cell:
    value = None if drift is None else measured(drift)
    if drift is None or value is None:
        return Cell(value="", heat=None, mark="", title="")
    of_texts = drift.psi is None
    warn, steps = (report.embedding_warn, HOT_TEXTS) if of_texts else (report.drift_warn, HOT)
    mark = drift.verdict if drift.verdict in ("warn", "alert", "not judged") else ""
    return Cell(
        value=f"{value:.3f}",
        heat=sum(value >= each * warn for each in steps),
        mark=mark or "",
        title="; ".join(drift.reasons),
    )


def _legend(steps: Iterable[float], warn: float) -> tuple[tuple[int, str], ...]:
    edges: Sequence[float] = [each * warn for each in steps]
    names = [f"under {edges[0]:g}", *(f"{low:g} to {high:g}" for low, high in pairwise(edges)), f"{edges[-1]:g} and more"]  # fmt: skip
    return tuple(enumerate(names))
