"""Profiles and drift as tables, with the names and columns of Databricks' lakehouse monitoring.

`<table>_profile_metrics` and `<table>_drift_metrics`, and our own `<table>_histograms`, from which both are computed
and which add up. Headrace's own columns are at the end.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.lakehouse.identifiers import quoted
from headrace.lakehouse.writes import Upsert
from headrace.monitoring.columns import TABLE
from headrace.monitoring.profile import profiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    import duckdb

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.writes import Change
    from headrace.monitoring.declarations import Granularity
    from headrace.monitoring.drift import Drift
    from headrace.monitoring.histograms import Histograms
    from headrace.monitoring.profile import Profile
    from headrace.monitoring.text_drift import TextDrift

UTC_US = pa.timestamp("us", "UTC")
WINDOW = pa.struct([("start", UTC_US), ("end", UTC_US)])
TEST = pa.struct([("statistic", pa.float64()), ("pvalue", pa.float64())])
SUFFIXES = ("histograms", "profile_metrics", "drift_metrics")


@dataclass(frozen=True, kw_only=True)
class ProfiledModel:
    """What of a model is written about.

    Attributes:
        table: of the predictions.
        granularity: of the windows.
        log_type: `INPUT` for windows at work, `BASELINE` for the training set.
    """

    table: str
    model: str
    version: int
    granularity: str
    log_type: str = "INPUT"


def names(table: str) -> tuple[str, ...]:
    """The tables about a table of predictions."""
    return tuple(f"{table}_{suffix}" for suffix in SUFFIXES)


def keep(
    lakehouse: Lakehouse,
    about: ProfiledModel,
    start: datetime | None,
    end: datetime | None,
    histograms: Histograms,
    drifts: Sequence[tuple[str, datetime | None, datetime | None, Sequence[Drift]]],
    *,
    id: str,  # noqa: A002
    texts: Sequence[TextDrift] = (),
) -> None:
    """Writes one window into the three tables; what was written about it before is replaced.

    Args:
        lakehouse: where the tables are.
        about: the model.
        start: of the window; None for the baseline.
        end: of the window.
        histograms: of this window.
        drifts: (drift type, window compared with, its columns) each.
        id: of the write.
        texts: the drift of what texts mean, against the reference.
    """
    head = {
        "window": None if start is None else {"start": start, "end": end},
        "window_key": "baseline" if start is None else start.isoformat(),
        "log_type": about.log_type,
        "granularity": about.granularity,
        "model": about.model,
        "model_version": about.version,
    }
    compared = [
        {**head, **row} for kind, since, until, several in drifts for row in _drift_rows(kind, since, until, several)
    ]
    compared += [{**head, **_text_row(each)} for each in texts if each.distance is not None]
    made = {
        "histograms": _histogram_rows(head, histograms),
        "profile_metrics": pa.Table.from_pylist([{**head, **row} for row in _profile_rows(histograms)], PROFILE),
        "drift_metrics": pa.Table.from_pylist(compared, DRIFT),
    }
    for suffix, rows in made.items():
        name = f"{about.table}_{suffix}"
        lakehouse.commit(
            name,
            f"{id} {suffix}",
            lambda there, name=name, rows=rows: _replace(lakehouse, name, there, head, rows),
        )


def _replace(
    lakehouse: Lakehouse, name: str, there: Snapshot | None, head: dict[str, Any], rows: pa.Table
) -> Change | None:
    """The rows of a window and a version, instead of those that are there."""
    of = ("model", "model_version", "log_type", "window_key")
    key = (*of, "place")
    numbered = rows.append_column("place", pa.array(range(rows.num_rows), pa.int64()))
    if there is None:
        return Upsert(numbered, key=key) if rows.num_rows else None
    with lakehouse.connect({name: there.version}) as connection:
        gone = connection.sql(
            f"""
            select {", ".join(key)} from {quoted(name)}
            where model = ? and model_version = ? and log_type = ? and window_key = ? and place >= ?
            """,
            params=[*(head[column] for column in of), rows.num_rows],
        ).to_arrow_table()
    return Upsert(numbered, key=key, delete=gone) if rows.num_rows or gone.num_rows else None


@dataclass(frozen=True, kw_only=True)
class StoredDrift:
    """One column of one window against the reference, as it was kept.

    Attributes:
        start: of the window, UTC.
        end: the first moment after it.
        column: its name.
        psi: population stability index.
        p_value: of that index by chance alone.
        js_distance: Jensen-Shannon distance over the same groups.
        wasserstein: first Wasserstein distance, in the column's unit; None for texts.
        percent_null_delta: the percentage of missing values, window less reference.
        energy_distance: of the vectors of texts, from 0 to 1; None for what is no text.
        new_share: the share of the rows with a text that the reference does not have.
        new_categories: these texts, the most frequent first.
    """

    start: datetime
    end: datetime
    column: str
    psi: float | None
    p_value: float | None
    js_distance: float | None
    wasserstein: float | None
    percent_null_delta: float | None
    energy_distance: float | None
    new_share: float | None
    new_categories: tuple[str, ...]


STORED = tuple(each.name for each in fields(StoredDrift))


def stored_drift(
    lakehouse: Lakehouse,
    table: str,
    *,
    model: str,
    version: int,
    granularity: Granularity,
    since: datetime | None = None,
    until: datetime | None = None,
    columns: Sequence[str] | None = None,
    connection: duckdb.DuckDBPyConnection | None = None,
) -> list[StoredDrift]:
    """The drift of each window of a version against the reference, on all rows, in order of time; nothing where none was kept.

    Args:
        lakehouse: where the tables are.
        table: of the predictions.
        model: its name.
        version: of the model.
        granularity: of the windows.
        since: the beginning of the first window; None: of all.
        until: the beginning of the last one; None: of all.
        columns: their names; None: all.
        connection: in which the table can be read already; None: it is opened.
    """
    name = f"{table}_drift_metrics"
    if connection is None and not lakehouse.exists(name, own=True):
        return []
    with nullcontext(connection) if connection is not None else lakehouse.connect({name: None}) as opened:
        rows = opened.sql(
            f"""
            select
                "window".start as start, "window"."end" as "end", column_name as "column",
                population_stability_index as psi, coalesce(psi_pvalue, energy_test.pvalue) as p_value, js_distance,
                wasserstein_distance as wasserstein, percent_null_delta, energy_test.statistic as energy_distance,
                new_share, new_categories
            from {quoted(name)}
            where
                model = ? and model_version = ? and granularity = ?
                and drift_type = 'BASELINE' and slice_key is null and "window" is not null
                and (?::timestamptz is null or "window".start >= ?::timestamptz)
                and (?::timestamptz is null or "window".start <= ?::timestamptz)
                and (?::varchar[] is null or list_contains(?::varchar[], column_name))
            order by start, place
            """,
            params=[model, version, granularity, since, since, until, until, *[columns and list(columns)] * 2],
        ).to_arrow_table()
    moments: dict[datetime, datetime] = {}  # of few windows, in many rows
    found: list[StoredDrift] = []
    for each in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        row: dict[str, Any] = dict(zip(STORED, each, strict=True))
        for name in ("start", "end"):
            row[name] = moments.setdefault(row[name], row[name].astimezone(UTC))
        row["new_categories"] = tuple(row["new_categories"] or ())
        found.append(StoredDrift(**row))
    return found


# ---------------------------------------------------------------------------------------------- rows


def _profile_rows(histograms: Histograms) -> Iterator[dict[str, Any]]:
    for key, value, part in histograms.slices():
        found = profiles(part)
        cut = {"slice_key": key, "slice_value": value}
        yield {
            **cut,
            "column_name": TABLE,
            "count": max((each.count + each.num_nulls for each in found), default=0),
            "non_null_columns": [each.column for each in found if each.count],
        }
        for profile in found:
            yield {**cut, **_profile_row(profile)}


def _profile_row(profile: Profile) -> dict[str, Any]:
    row = {name: value for name, value in vars(profile).items() if name in PROFILE.names}
    items = None if profile.frequent is None else [{"item": item, "count": count} for item, count in profile.frequent]
    return {**row, "column_name": profile.column, "median": profile.median, "frequent_items": items}


def _drift_rows(
    kind: str, since: datetime | None, until: datetime | None, drifts: Sequence[Drift]
) -> Iterator[dict[str, Any]]:
    for drift in drifts:
        row = {name: value for name, value in vars(drift).items() if name in DRIFT.names}
        yield {
            **row,
            "drift_type": kind,
            "window_cmp": None if since is None else {"start": since, "end": until},
            "column_name": drift.column,
            "count_delta": drift.rows - drift.reference_rows,
            "percent_null_delta": 100 * drift.null_share_delta,
            "population_stability_index": drift.psi,
            "l_infinity_distance": drift.l_infinity,
            "wasserstein_distance": drift.wasserstein,
            "ks_test": _test(drift.ks, drift.ks_p_value),
            "chi_squared_test": _test(drift.chi_squared, drift.chi_squared_p_value),
            "psi_pvalue": drift.p_value,
            "new_categories": list(drift.new_categories),
        }


def _text_row(drift: TextDrift) -> dict[str, Any]:
    return {
        "drift_type": "BASELINE",
        "column_name": drift.column,
        "data_type": "embedding",
        "count_delta": drift.rows - drift.reference_rows,
        "energy_test": _test(drift.distance, drift.p_value),
    }


def _test(statistic: float | None, p_value: float | None) -> dict[str, float | None] | None:
    return None if statistic is None else {"statistic": statistic, "pvalue": p_value}


def _histogram_rows(head: dict[str, Any], histograms: Histograms) -> pa.Table:
    rows = histograms.rows
    specs = {name: grid.id for name, grid in histograms.grids.items()}
    names = rows.column("column_name").to_pylist()
    for name, value in head.items():
        rows = rows.append_column(name, pa.array([value] * rows.num_rows, HISTOGRAMS.field(name).type))
    rows = rows.append_column("spec", pa.array([specs.get(name) for name in names], pa.string()))
    return rows.select(HISTOGRAMS.names).cast(HISTOGRAMS)


# ---------------------------------------------------------------------------------------------- schemas


def _fields(type_: pa.DataType, *names: str) -> list[tuple[str, pa.DataType]]:
    return [(name, type_) for name in names]


HEAD = [
    ("window", WINDOW),
    ("window_key", pa.string()),
    ("log_type", pa.string()),
    ("granularity", pa.string()),
    ("model", pa.string()),
    ("model_version", pa.int64()),
    ("slice_key", pa.string()),
    ("slice_value", pa.string()),
    ("column_name", pa.string()),
]
PROFILE = pa.schema(
    [
        *HEAD,
        ("data_type", pa.string()),
        *_fields(pa.int64(), "count", "num_nulls", "num_nan", "num_zeros", "distinct_count"),
        *_fields(pa.float64(), "avg", "stddev", "min", "max", "median"),
        *_fields(pa.float64(), "percent_null", "percent_nan", "percent_zeros", "percent_distinct"),
        ("quantiles", pa.list_(pa.float64())),
        ("frequent_items", pa.list_(pa.struct([("item", pa.string()), ("count", pa.int64())]))),
        *_fields(pa.int64(), "min_length", "max_length"),
        ("avg_length", pa.float64()),
        ("non_null_columns", pa.list_(pa.string())),
    ]
)
DRIFT = pa.schema(
    [
        *HEAD,
        ("data_type", pa.string()),
        ("drift_type", pa.string()),
        ("window_cmp", WINDOW),
        ("count_delta", pa.int64()),
        *_fields(pa.float64(), "avg_delta", "percent_null_delta", "percent_zeros_delta", "percent_distinct_delta"),
        *_fields(pa.float64(), "population_stability_index", "js_distance", "wasserstein_distance"),
        *_fields(pa.float64(), "tv_distance", "l_infinity_distance"),
        *_fields(TEST, "ks_test", "chi_squared_test", "energy_test"),
        *_fields(pa.float64(), "psi_pvalue", "ks_at_most", "new_share", "new_p_value", "null_p_value"),
        *_fields(pa.string(), "frozen"),
        ("new_categories", pa.list_(pa.string())),
    ]
)
HISTOGRAMS = pa.schema(
    [
        *HEAD,
        ("spec", pa.string()),
        ("bin", pa.int32()),
        ("value", pa.string()),
        ("count", pa.int64()),
        *_fields(pa.float64(), "sum", "squares", "min", "max"),
        ("zeros", pa.int64()),
    ]
)
