"""Profiles and drift as rows of tables, with the names and columns of Databricks' lakehouse monitoring, from histograms.

`<table>_profile_metrics`, `<table>_drift_metrics`, and our own `<table>_histograms`, from which both are made and which
add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.lakehouse.commit import Upsert
from headrace.lakehouse.sql import quoted
from headrace.monitoring.grid import NAN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from headrace.lakehouse.commit import Change
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.monitoring.drift import Drift
    from headrace.monitoring.histograms import Histograms

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
FREQUENT = 10
UTC_US = pa.timestamp("us", "UTC")
WINDOW = pa.struct([("start", UTC_US), ("end", UTC_US)])
TEST = pa.struct([("statistic", pa.float64()), ("pvalue", pa.float64())])


@dataclass(frozen=True, kw_only=True)
class Written:
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


def keep(
    lakehouse: Lakehouse,
    about: Written,
    start: datetime | None,
    end: datetime | None,
    histograms: Histograms,
    drifts: Sequence[tuple[str, datetime | None, datetime | None, Sequence[Drift]]],
    *,
    id: str,  # noqa: A002
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
    """
    head = {
        "window": None if start is None else {"start": start, "end": end},
        "window_key": _key(start),
        "log_type": about.log_type,
        "granularity": about.granularity,
        "model": about.model,
        "model_version": about.version,
        "slice_key": None,
        "slice_value": None,
    }
    made = {
        "histograms": _histogram_rows(head, histograms),
        "profile_metrics": pa.Table.from_pylist([{**head, **row} for row in profiles(histograms)], schema=PROFILE),
        "drift_metrics": pa.Table.from_pylist(
            [
                {**head, **_drift_row(kind, since, until, drift)}
                for kind, since, until, several in drifts
                for drift in several
            ],
            schema=DRIFT,
        ),
    }
    for suffix, rows in made.items():
        name = f"{about.table}_{suffix}"
        if rows.num_rows:
            lakehouse.commit(
                name, f"{id} {suffix}", lambda there, name=name, rows=rows: _replace(lakehouse, name, there, rows)
            )


def profiles(histograms: Histograms) -> list[dict[str, Any]]:
    """The profile of each column of one window."""
    rows = histograms.rows.to_pandas()
    found: list[dict[str, Any]] = []
    for name, column in rows.groupby("column_name", sort=True):
        grid = histograms.grids.get(str(name))
        total = int(column["count"].sum())
        nulls = int(column.loc[column["bin"].isna() & column["value"].isna(), "count"].sum())
        profile: dict[str, Any] = {
            "column_name": name,
            "data_type": "double" if grid else "string",
            "count": total - nulls,
            "num_nulls": nulls,
            "percent_null": 100 * nulls / total,
        }
        if grid is None:
            known = column[column["value"].notna()].sort_values(["count", "value"], ascending=[False, True])
            top = known.head(FREQUENT)
            profile["distinct_count"] = len(known)
            profile["percent_distinct"] = 100 * len(known) / max(total - nulls, 1)
            pairs = zip(top["value"], top["count"], strict=True)
            profile["frequent_items"] = [{"item": item, "count": int(count)} for item, count in pairs]
        else:
            profile |= _numeric(column, grid.shift)
        found.append(profile)
    return found


def _numeric(column: Any, shift: float) -> dict[str, Any]:
    nans = int(column.loc[column["bin"] == NAN, "count"].sum())
    finite = column[column["bin"].notna() & (column["bin"] != NAN)].sort_values("bin")
    rows = int(finite["count"].sum())
    known = int(column.loc[column["bin"].notna(), "count"].sum())
    found: dict[str, Any] = {"num_nan": nans, "percent_nan": 100 * nans / max(known, 1)}
    measured = finite[finite["min"].notna()]
    if measured.empty:
        return found
    moved, squares = float(measured["sum"].sum()), float(measured["squares"].sum())
    zeros = int(finite["zeros"].sum())
    variance = (squares - moved**2 / rows) / (rows - 1) if rows > 1 else None
    quantiles = _quantiles(measured)
    return {
        **found,
        "avg": shift + moved / rows,
        "stddev": None if variance is None else float(np.sqrt(max(variance, 0.0))),
        "min": float(measured["min"].min()),
        "max": float(measured["max"].max()),
        "num_zeros": zeros,
        "percent_zeros": 100 * zeros / max(known, 1),
        "quantiles": quantiles,
        "median": quantiles[QUANTILES.index(0.5)],
    }


def _quantiles(column: Any) -> list[float]:
    """By a straight line between the smallest and the largest value of a bin."""
    counts = column["count"].to_numpy(dtype=np.float64)
    lows, highs, upper = column["min"].to_numpy(), column["max"].to_numpy(), np.cumsum(counts)
    found: list[float] = []
    for share in QUANTILES:
        wanted = share * upper[-1]
        place = int(np.searchsorted(upper, wanted, side="left"))
        inside = (wanted - (upper[place] - counts[place])) / counts[place]
        found.append(float(lows[place] + (highs[place] - lows[place]) * inside))
    return found


def _drift_row(kind: str, since: datetime | None, until: datetime | None, drift: Drift) -> dict[str, Any]:
    ks = None if drift.ks is None else {"statistic": drift.ks, "pvalue": drift.ks_p_value}
    chi = None if drift.chi_squared is None else {"statistic": drift.chi_squared, "pvalue": drift.chi_squared_p_value}
    return {
        "drift_type": kind,
        "window_cmp": None if since is None else {"start": since, "end": until},
        "column_name": drift.column,
        "data_type": "string" if drift.ks is None and drift.chi_squared is not None else "double",
        "count_delta": drift.rows - drift.reference_rows,
        "percent_null_delta": 100 * drift.null_share_delta,
        "population_stability_index": drift.psi,
        "psi_pvalue": drift.p_value,
        "js_distance": drift.js_distance,
        "tv_distance": drift.tv_distance,
        "l_infinity_distance": drift.l_infinity,
        "wasserstein_distance": drift.wasserstein,
        "ks_test": ks,
        "chi_squared_test": chi,
        "new_categories": list(drift.new_categories),
        "new_share": drift.new_share,
    }


def _histogram_rows(head: dict[str, Any], histograms: Histograms) -> pa.Table:
    rows = histograms.rows.drop_columns(["window_start"])
    count = rows.num_rows
    specs = {name: grid.id for name, grid in histograms.grids.items()}
    texts = rows.column("column_name").to_pylist()
    for name in (
        "window",
        "window_key",
        "log_type",
        "granularity",
        "model",
        "model_version",
        "slice_key",
        "slice_value",
    ):
        rows = rows.append_column(name, pa.array([head[name]] * count, HISTOGRAMS.field(name).type))
    rows = rows.append_column("spec", pa.array([specs.get(text) for text in texts], pa.string()))
    return rows.select(HISTOGRAMS.names).cast(HISTOGRAMS)


def _replace(lakehouse: Lakehouse, name: str, there: Snapshot | None, rows: pa.Table) -> Change:
    """The rows of a window and a version, instead of those that are there."""
    numbered = rows.append_column("place", pa.array(range(rows.num_rows), pa.int64()))
    key = ("model", "model_version", "log_type", "window_key", "place")
    if there is None:
        return Upsert(numbered, key=key)
    first = rows.slice(0, 1).to_pylist()[0]
    with lakehouse.connect({name: there.version}) as connection:
        gone = connection.sql(
            f"""
            select {", ".join(key)} from {quoted(name)}
            where model = ? and model_version = ? and log_type = ? and window_key = ? and place >= ?
            """,
            params=[first["model"], first["model_version"], first["log_type"], first["window_key"], rows.num_rows],
        ).to_arrow_table()
    return Upsert(numbered, key=key, delete=gone)


def _key(start: datetime | None) -> str:
    return "baseline" if start is None else start.isoformat()


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
        *((name, pa.int64()) for name in ("count", "num_nulls", "num_nan", "num_zeros", "distinct_count")),
        *((name, pa.float64()) for name in ("avg", "stddev", "min", "max", "median")),
        *((name, pa.float64()) for name in ("percent_null", "percent_nan", "percent_zeros", "percent_distinct")),
        ("quantiles", pa.list_(pa.float64())),
        ("frequent_items", pa.list_(pa.struct([("item", pa.string()), ("count", pa.int64())]))),
    ]
)
DRIFT = pa.schema(
    [
        *HEAD,
        ("data_type", pa.string()),
        ("drift_type", pa.string()),
        ("window_cmp", WINDOW),
        ("count_delta", pa.int64()),
        *(
            (name, pa.float64())
            for name in (
                "percent_null_delta",
                "population_stability_index",
                "psi_pvalue",
                "js_distance",
                "tv_distance",
                "l_infinity_distance",
                "wasserstein_distance",
                "new_share",
            )
        ),
        ("ks_test", TEST),
        ("chi_squared_test", TEST),
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
        ("sum", pa.float64()),
        ("squares", pa.float64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("zeros", pa.int64()),
    ]
)
