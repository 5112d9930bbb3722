"""Drift of many features and windows, in a copy of a monitored project: rows as monitoring writes them."""

import shutil
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from headrace.lakehouse.writes import Append
from headrace.monitoring.metric_tables import DRIFT
from headrace.workspace.workspace import open_workspace

FIRST = datetime(2022, 1, 3, tzinfo=UTC)
WEEK = timedelta(days=7)


def add(project, folder, columns, *, windows):
    """A copy of the project whose second version has drifted in these columns, more from window to window."""
    copy = shutil.copytree(project, folder, symlinks=True)
    rows = [_row(column, place, window) for window in range(windows) for place, column in enumerate(columns)]
    table = pa.Table.from_pylist(rows, DRIFT)
    table = table.append_column("place", pa.array(range(1000, 1000 + len(rows)), pa.int64()))
    with open_workspace("dev", folder=copy) as workspace:
        workspace.lakehouse.commit("answers.days_drift_metrics", "a year of drift", lambda _: Append(table))
    return copy


def psi(place, window):
    """Of a column in a window."""
    return round(0.011 * place + 0.003 * window, 6)


def _row(column, place, window):
    start = FIRST + window * WEEK
    return {
        "window": {"start": start, "end": start + WEEK},
        "window_key": start.isoformat(),
        "log_type": "INPUT",
        "granularity": "1w",
        "model": "days",
        "model_version": 2,
        "column_name": column,
        "data_type": "string",
        "drift_type": "BASELINE",
        "population_stability_index": psi(place, window),
        "psi_pvalue": 0.5,
        "js_distance": 0.01,
        "percent_null_delta": 0.0,
        "new_share": 0.25,
        "new_categories": ["<b>new</b>"],
    }
