"""`headrace monitor show`, `kpis` and `report`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.output import GAP, bold, emit, env_option, heading, json_option, put, say, show, table, width
from headrace.cli.plot import bars
from headrace.cli.report_file import output_option, write_report
from headrace.core.extras import need
from headrace.core.text import counted, said

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from headrace.operations.kpis import KpiReport, KpiVersion, KpiWindow
    from headrace.operations.monitoring import ColumnDrift, MonitoringReport, WindowQuality

LENGTHS = {"1h": "an hour", "1d": "a day", "1w": "a week", "1mo": "a month"}
FORMATS = {"1h": "%Y-%m-%d %H:00", "1d": "%Y-%m-%d", "1w": "%Y-%m-%d", "1mo": "%Y-%m"}
WIDE = 6  # metrics that have a column each
NUMBERS = "population stability index, verdict"
TEXTS = "population stability index, of embeddings the energy distance; verdict"
LOUD = ("warn", "alert", "not judged")  # verdicts that are written beside the index


@click.group(name="monitor", cls=Commands)
def command() -> None:
    """What monitoring has stored: quality, drift and business figures by window. `headrace run monitor` measures."""


@command.command(name="show")
@click.argument("model")
@click.option("--version", type=click.IntRange(1), default=None, help="Its number; defaults to the one in Production.")
@click.option(
    "--windows", type=click.IntRange(1), default=12, show_default=True, help="How many of the latest windows."
)
@env_option
@json_option
def show_(model: str, version: int | None, windows: int, env: str | None, as_json: bool) -> None:
    """Quality with intervals and labelled shares, and the drift of each column, by window."""
    from headrace.operations.monitoring import show_monitoring
    from headrace.operations.operation import At

    report = show_monitoring(At(env=env), model, version=version, windows=windows)
    if as_json:
        emit(report)
        return
    heading(f"{report.model} version {report.version} ({report.stage}), windows of {report.granularity}")
    if not report.windows:
        say(f"nothing is stored yet. Next: {bold('headrace run score')}, then {bold('headrace run monitor')}")
        return
    _show_quality(report)
    _show_drift(report)
    if report.earlier:
        every = f"--windows {report.windows + report.earlier}"
        say(f"{counted(report.earlier, 'earlier window')} not shown: {every} shows all")


@command.command()
@click.argument("model")
@click.option(
    "--windows", type=click.IntRange(1), default=12, show_default=True, help="How many of the latest windows."
)
@env_option
@json_option
def kpis(model: str, windows: int, env: str | None, as_json: bool) -> None:
    """Business figures (hr.kpi) by version and window, with intervals, and one version against another."""
    from headrace.operations.kpis import show_kpis
    from headrace.operations.operation import At

    report = show_kpis(At(env=env), model, windows=windows)
    if as_json:
        emit(report)
        return
    heading(f"{report.model}: business figures by version, with 95 % intervals")
    if not report.kpis:
        say(f"nothing is stored yet. Declare hr.Monitor(kpis=[hr.kpi(…)]), then {bold('headrace run monitor')}")
        return
    for each in report.kpis:
        unit = f", {each.unit}" if each.unit else ""
        put()
        heading(f"{each.name}{unit}: {each.description or 'by version'} ({each.better} is better)")
        if each.reason:
            say(each.reason)
        else:
            _show_kpi(each)


def _show_kpi(kpi: KpiReport) -> None:
    """All time and the latest windows, a row each, with a column for each version; then the comparisons."""
    cells: dict[str, dict[str, str]] = {"all time": {}}
    for version in kpi.versions:
        cells["all time"][f"version {version.version}"] = _mean(version)
    for window in sorted(kpi.windows, key=lambda each: each.start):
        label = f"{window.start:{FORMATS[kpi.granularity]}}"
        cells.setdefault(label, {})[f"version {window.version}"] = _mean(window)
    names = [f"version {each.version}" for each in kpi.versions]
    fitting = _fitting(names[::-1], {name: {name: max(row.get(name, "") for row in cells.values())} for name in names})
    table([{"window": label, **{name: row.get(name) for name in fitting[::-1]}} for label, row in cells.items()])
    for version in kpi.versions:
        if version.reason:
            put(f"  version {version.version}: {version.reason}")
    for each in kpi.comparisons:
        put(f"  {each.sentence}")


def _mean(figure: KpiVersion | KpiWindow) -> str:
    """`2.1 (1.8 to 2.4), n = 1,204`."""
    if figure.mean is None:
        return "-"
    interval = "" if figure.low is None or figure.high is None else f" ({said(figure.low)} to {said(figure.high)})"
    return f"{said(figure.mean)}{interval}, n = {figure.counted:,}"


@command.command()
@click.argument("model")
@click.option("--version", type=click.IntRange(1), default=None, help="Its number; defaults to the one in Production.")
@output_option
@env_option
def report(model: str, version: int | None, output: Path | None, env: str | None) -> None:
    """Write quality, drift and the columns that drifted most into one HTML file, to be sent or printed."""
    need("jinja2", "console", "a report")
    need("starlette", "console", "a report")
    from headrace.console.reports import monitoring_report
    from headrace.operations.operation import At

    made = monitoring_report(At(env=env), model, version=version)
    write_report(made.name, made.html, output)


def _show_quality(report: MonitoringReport) -> None:
    """A row for each window and a column for each metric; on a terminal also a plot."""
    put()
    heading("Quality")
    by_window: dict[datetime, list[WindowQuality]] = {}
    for each in report.quality:
        by_window.setdefault(each.start, []).append(each)
    metrics = list(dict.fromkeys(each.metric for each in report.quality))
    rows: list[dict[str, object]] = []
    remarks: list[str] = []
    for start, measures in by_window.items():
        label = f"{start:{FORMATS[report.granularity]}}"
        remarks += _remarks(label, measures)
        values = {each.metric: _with_interval(each) for each in measures}
        rows.append(
            {
                "window": label,
                **{metric: values.get(metric) for metric in metrics},
                "rows": measures[0].rows,
                "labelled": f"{measures[0].label_coverage:.1%}",
                "judged": all(each.judged for each in measures),
            }
        )
    if len(metrics) > WIDE:
        _show_measures(report, metrics)
        return
    table(rows, empty="no quality is stored: no label is known yet, or no window was scored")
    for remark in remarks:
        put(f"  {remark}")
    if rows and sys.stdout.isatty():
        put()
        for line in _plot(report.quality, metrics, list(by_window)):
            put(line)


def _with_interval(measure: WindowQuality) -> str | None:
    """`0.7310 (0.7012 to 0.7609)`."""
    if measure.value is None:
        return None
    interval = "" if measure.low is None else f" ({show(measure.low)} to {show(measure.high)})"
    return f"{show(measure.value)}{interval}"


def _remarks(start: str, measures: Sequence[WindowQuality]) -> list[str]:
    """Why a window does not count for alerts, and whether labels came late, a line each."""
    reasons = dict.fromkeys(each.reason for each in measures if not each.judged)
    late = ["it was judged before labels came late"] if measures[0].reopened else []
    return [f"{start}: {reason}" for reason in (*reasons, *late)]


def _show_measures(report: MonitoringReport, metrics: Sequence[str]) -> None:
    """The same where there are many metrics: a row for each, a column for each window; then why some do not count."""
    cells: dict[str, dict[str, str]] = {metric: {} for metric in metrics}
    reasons: dict[str, dict[str, None]] = {}
    labels: dict[str, None] = {}
    for each in report.quality:
        label = f"{each.start:{FORMATS[report.granularity]}}"
        labels[label] = None
        cells[each.metric][label] = "-" if each.value is None else f"{each.value:.4g}{'' if each.judged else ' *'}"
        if each.reason:
            reasons.setdefault(each.reason, {})[each.metric] = None
    fitting = _fitting(sorted(labels), cells)
    table([{"column": metric, **{label: row.get(label) for label in fitting}} for metric, row in cells.items()])
    for reason, about in reasons.items():
        subject = "" if reason.startswith(tuple(about)) else f"{', '.join(about)}: "
        put(f"  {subject}{reason}")


def _plot(quality: Sequence[WindowQuality], metrics: Sequence[str], starts: Sequence[datetime]) -> list[str]:
    """A line for each metric: its name, a block for each window, the lowest and the highest value."""
    room = max(len(metric) for metric in metrics)
    lines: list[str] = []
    for metric in metrics:
        values = {each.start: each.value for each in quality if each.metric == metric}
        known = [value for value in values.values() if value is not None]
        if known:
            drawn = bars([values.get(start) for start in starts])
            lines.append(f"{metric.ljust(room)}{GAP}{drawn}{GAP}{show(min(known))} to {show(max(known))}")
    return lines


def _show_drift(report: MonitoringReport) -> None:
    """A row for each column, the most drifted one first, and a column for each window, the latest ones that have room."""
    put()
    heading(f"Drift ({TEXTS if any(each.energy_distance is not None for each in report.drift) else NUMBERS})")
    cells: dict[str, dict[str, str]] = {}
    labels: dict[str, None] = {}
    most: dict[str, float] = {}
    for each in report.drift:
        most[each.column] = max(most.get(each.column, 0.0), each.psi or 0.0)
    for each in sorted(report.drift, key=lambda drift: (-most[drift.column], drift.start)):
        label = f"{each.start:{FORMATS[report.granularity]}}"
        labels[label] = None
        cells.setdefault(each.column, {})[label] = _cell(each)
    if not cells:
        say(
            f"no drift is stored: a window is measured when it has ended, here {LENGTHS[report.granularity]} after it began. "
            f"Next: {bold(f'headrace run monitor --model {report.model}')}"
        )
        return
    fitting = _fitting(sorted(labels), cells)
    table([{"column": column, **{label: row.get(label) for label in fitting}} for column, row in cells.items()])
    if len(fitting) < len(labels):
        hidden = counted(len(labels) - len(fitting), "earlier window")
        say(f"{hidden} of drift not shown for want of room: use a wider terminal, or --json")


def _cell(drift: ColumnDrift) -> str:
    measured = drift.energy_distance if drift.psi is None else drift.psi
    index = "-" if measured is None else f"{measured:.3f}"
    return f"{index} {drift.verdict}" if drift.verdict in LOUD else index


def _fitting(labels: Sequence[str], cells: dict[str, dict[str, str]]) -> list[str]:
    """The latest windows that a line has room for, at least one."""
    left = width() - max(len("column"), *(len(column) for column in cells))
    kept: list[str] = []
    for label in reversed(labels):
        left -= len(GAP) + max(len(label), *(len(row.get(label, "")) for row in cells.values()))
        if kept and left < 0:
            break
        kept.append(label)
    return kept[::-1]
