"""How a notebook shows what operations return: tables, with a small chart where there is a distribution or a series.

Every text is escaped: names and values may come from anybody's data.
"""

from __future__ import annotations

from dataclasses import fields
from functools import singledispatch
from html import escape
from typing import TYPE_CHECKING, cast

from headrace.core.text import counted, visible
from headrace.operations.comparison import VersionComparison
from headrace.operations.job import RunReport, StepReport
from headrace.operations.monitoring import MonitoringReport
from headrace.operations.profile import BarReport, ColumnProfile, TableProfile
from headrace.operations.sql import QueryResult
from headrace.operations.table_drift import DriftBar, DriftedColumn, TableDrift
from headrace.session import charts
from headrace.session.markup import CELL, RECORDS, Markup, facts, heading, is_table, records, small, table, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.operations.comparison import SliceComparison
    from headrace.operations.models import VersionReport
    from headrace.operations.record import Record

ROWS = 20  # of an answer that are shown
FORMATS = {"1h": "%Y-%m-%d %H:00", "1d": "%Y-%m-%d", "1w": "%Y-%m-%d", "1mo": "%Y-%m"}
MARKS = {"done": "✓", "unchanged": "·", "failed": "✗", "interrupted": "✗", "running": "…"}


@singledispatch
def render(record: Record) -> str:
    """A record as HTML: its plain attributes as a list, and each sequence of records as a table below."""
    plain, tables = _divided(record)
    return facts(plain) + tables if plain else tables


@render.register
def _(record: QueryResult) -> str:
    shown = record.rows(ROWS)
    below = f"{record.count:,} rows" if record.count > ROWS else counted(record.count, "row")
    if record.count > ROWS:
        below += f", the first {ROWS} shown; .to_pandas() has all"
    return table(record.arrow.column_names, [list(row.values()) for row in shown]) + small(below)


@render.register
def _(record: RunReport) -> str:
    plain, tables = _divided(record, but="steps")
    return facts(plain) + _steps(record.steps) + tables


@render.register
def _(record: TableProfile) -> str:
    version = "" if record.version is None else f", version {record.version}"
    head = f"{record.table}{version}: {record.rows:,} rows, {counted(len(record.columns), 'column')}"
    names = ["column", "type", "missing", "distinct", "distribution", "min", "median", "mean", "max", "remarks"]
    return heading(head) + table(names, [_profile(each) for each in record.columns])


@render.register
def _(record: TableDrift) -> str:
    head = f"{record.current} ({record.rows:,} rows) against {record.reference} ({record.reference_rows:,} rows)"
    names = ["column", "verdict", "PSI", "p-value", "missing", "distribution (line: current)", "reasons"]
    notes = [
        f"only in the {where}: {', '.join(columns)}"
        for where, columns in (
            ("reference", record.only_in_reference),
            ("current rows", record.only_in_current),
        )
        if columns
    ]
    if record.not_compared:
        notes.append(f"not compared: {', '.join(record.not_compared)}")
    return heading(head) + table(names, [_drift(each) for each in record.columns]) + "".join(map(small, notes))


@render.register
def _(record: VersionComparison) -> str:
    a, b = (f"version {each.version}" for each in (record.a, record.b))
    sides = zip(_side(record.a), _side(record.b), strict=True)
    parts = [table([record.model, a, b], [[label, mine, theirs] for (label, mine), (_, theirs) in sides])]
    if record.features is not None:
        features = {f"only in {b}": record.features.added, f"only in {a}": record.features.removed}
        parts += [heading("features"), facts({**features, "in both": record.features.same})]
    tables = {
        "parameters": (["", a, b], [[each.name, each.a, each.b] for each in record.parameters]),
        "tables, by Delta version": (["", a, b], [[each.table, each.a, each.b] for each in record.tables]),
        "metrics, each on its own test rows": (["", a, b], [[each.metric, each.a, each.b] for each in record.metrics]),
        "slices, each on its own test rows": _slices(record.slices, a, b),
    }
    parts += [heading(name) + table(columns, rows) for name, (columns, rows) in tables.items() if rows]
    if record.same_rows:
        parts += [heading("on the same rows"), records(record.same_rows)]
    return "".join(parts)


@render.register
def _(record: MonitoringReport) -> str:
    head = f"{record.model} version {record.version} ({record.stage}), windows of {record.granularity}"
    if not record.windows:
        return heading(head) + small("nothing is stored yet: .score(), then .monitor()")
    return heading(head) + _quality(record) + _heat_map(record)


# ---------------------------------------------------------------------------------------------- one kind


def _divided(record: Record, *, but: str = "") -> tuple[dict[str, object], str]:
    """The plain attributes of a record, and a table for each sequence of records; without secrets, and without one attribute."""
    names = [each.name for each in fields(cast("type", record)) if each.repr and each.name != but]
    values = {name: getattr(record, name) for name in names}
    tables = [
        heading(name.replace("_", " ")) + records(cast("Sequence[Record]", value))
        for name, value in values.items()
        if is_table(value)
    ]
    return {name: value for name, value in values.items() if not is_table(value)}, "".join(tables)


def _steps(steps: Iterable[StepReport]) -> str:
    rows = [[MARKS.get(each.status, each.status), each.name, each.summary or ""] for each in steps]
    return table(["", "step", "what it did"], rows)


def _side(version: VersionReport) -> list[tuple[str, object]]:
    """What a version is: names and values."""
    fitted = "imported: unknown" if version.imported_from else f"{version.fit_from[:10]} to {version.fit_to[:10]}"
    return [
        ("stage", version.stage),
        ("fitted on", fitted),
        ("as of", version.as_of),
        ("code", version.code),
        ("created", version.created),
    ]


def _slices(slices: Sequence[SliceComparison], a: str, b: str) -> tuple[list[str], list[list[object]]]:
    """Columns and rows: two columns for each metric."""
    metrics = [each.metric for each in slices[0].metrics] if slices else []
    names = ["slice", f"rows, {a}", f"rows, {b}", *(f"{metric}, {side}" for metric in metrics for side in (a, b))]
    rows: list[list[object]] = []
    for each in slices:
        values = {found.metric: (found.a, found.b) for found in each.metrics}
        both = [value for metric in metrics for value in values.get(metric, (None, None))]
        rows.append([f"{each.key} {each.value}", each.rows_a, each.rows_b, *both])
    return names, rows


def _profile(column: ColumnProfile) -> list[object]:
    bars = [each.rows for each in column.bars]
    return [
        column.column,
        column.type,
        f"{column.missing_percent:.1f} %" if column.missing else "",
        column.distinct,
        Markup(charts.bars(bars, [_bar(each) for each in column.bars])) if bars else "",
        column.min,
        column.median,
        column.mean,
        column.max,
        "; ".join(column.remarks),
    ]


def _drift(column: DriftedColumn) -> list[object]:
    drawn = charts.two_bars(
        [each.reference_rows for each in column.bars],
        [each.rows for each in column.bars],
        [_bar(each) for each in column.bars],
    )
    return [
        column.column,
        column.verdict,
        column.psi,
        column.p_value,
        f"{column.missing_percent_delta:+.1f} %" if column.missing_percent_delta else "",
        Markup(drawn) if column.bars else "",
        "; ".join(column.reasons),
    ]


def _bar(bar: BarReport | DriftBar) -> str:
    """`12 to 15: 1,204 rows`."""
    rows = f"{bar.rows:,} rows" if isinstance(bar, BarReport) else f"{bar.reference_rows:,} rows, now {bar.rows:,}"
    if bar.low is None:
        return f"{'all others' if bar.value is None else visible(bar.value)}: {rows}"
    return f"{text(bar.low)}: {rows}" if bar.low == bar.high else f"{text(bar.low)} to {text(bar.high)}: {rows}"


def _quality(report: MonitoringReport) -> str:
    """A chart for each metric, and the numbers."""
    label = FORMATS[report.granularity]
    parts = [heading("quality")]
    for metric in dict.fromkeys(each.metric for each in report.quality):
        found = [each for each in report.quality if each.metric == metric]
        drawn = charts.line([each.value for each in found], [f"{each.start:{label}}" for each in found], metric)
        parts.append(f"<div>{escape(metric)}<br>{drawn}</div>")
    rows: list[list[object]] = [
        [f"{each.start:{label}}", each.metric, each.value, each.low, each.high, each.labelled, each.reason or ""]
        for each in report.quality
    ]
    parts.append(table(["window", "metric", "value", "low", "high", "labelled", "not judged because"], rows))
    return "".join(parts) if rows else ""


def _heat_map(report: MonitoringReport) -> str:
    """Columns by windows, the most drifted ones first: the population stability index."""
    label = FORMATS[report.granularity]
    starts = sorted({each.start for each in report.drift})
    psi = {(each.column, each.start): each for each in report.drift}
    worst = {each.column: 0.0 for each in report.drift}
    for each in report.drift:
        worst[each.column] = max(worst[each.column], each.psi or 0.0)
    lines: list[str] = []
    for name in sorted(worst, key=lambda name: (-worst[name], name))[:RECORDS]:
        cells = [f"<th {CELL}>{escape(visible(name))}</th>"]
        for start in starts:
            found = psi.get((name, start))
            value = None if found is None else found.psi
            title = "" if found is None else "; ".join(found.reasons)
            style = f"text-align: right; padding: 2px 8px; {charts.heat(value)}"
            cells.append(f'<td style="{style}" title="{escape(title)}">{"" if value is None else f"{value:.2f}"}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f"<th>{start:{label}}</th>" for start in starts)
    return f"{heading('drift (population stability index)')}<table><tr><th></th>{head}</tr>{''.join(lines)}</table>"
