"""What is stored of many windows at once: which there are, the latest quality of every model, and kept histograms."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.lakehouse.identifiers import quoted
from headrace.monitoring.histograms import Histograms
from headrace.monitoring.quality import TABLE as QUALITY

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    import duckdb

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.monitoring.binning import Grid
    from headrace.monitoring.declarations import Granularity

REFERENCE = "baseline"  # the key of what windows are compared with, among those of windows


@dataclass(frozen=True, kw_only=True)
class OpenTables:
    """Metric tables that are open for several questions.

    Attributes:
        connection: in which they can be read.
        names: of those that there are.
    """

    connection: duckdb.DuckDBPyConnection
    names: frozenset[str]


@contextmanager
def opened(lakehouse: Lakehouse, *names: str) -> Generator[OpenTables]:
    """Opens those of some tables that there are, once: that takes longer than most questions.

    Args:
        lakehouse: where they are.
        names: of the tables.
    """
    there = [name for name in names if lakehouse.exists(name, own=True)]
    with lakehouse.connect(dict.fromkeys(there), threads=1) as connection:
        yield OpenTables(connection=connection, names=frozenset(there))


def stored_windows(
    tables: OpenTables, table: str, *, model: str, drift: Granularity, quality: Granularity
) -> dict[int, list[datetime]]:
    """Version → the beginnings of its windows of which quality or drift is stored, in order of time.

    Args:
        tables: that are open.
        table: of the predictions.
        model: its name.
        drift: the length of the windows of drift.
        quality: the length of those of quality.
    """
    found: dict[int, set[datetime]] = {}
    wanted = (
        (QUALITY, "version, window_start as start", "true", quality),
        (
            f"{table}_drift_metrics",
            'model_version as version, "window".start as start',
            """drift_type = 'BASELINE' and slice_key is null and "window" is not null""",
            drift,
        ),
    )
    for name, columns, where, granularity in wanted:
        if name not in tables.names:
            continue
        rows = tables.connection.sql(
            f"select distinct {columns} from {quoted(name)} where model = ? and granularity = ? and {where}",
            params=[model, granularity],
        ).to_arrow_table()
        for version, start in zip(*(rows.column(each).to_pylist() for each in ("version", "start")), strict=True):
            found.setdefault(version, set()).add(start.astimezone(UTC))
    return {version: sorted(starts) for version, starts in found.items()}


def latest_quality(lakehouse: Lakehouse) -> dict[tuple[str, int, str], dict[str, Any]]:
    """(model, version, granularity) → the main metric in the latest window that is judged, else in the latest one."""
    if not lakehouse.exists(QUALITY, own=True):
        return {}
    with lakehouse.connect({QUALITY: None}, threads=1) as connection:
        rows = connection.sql(
            f"""
            select
                model, version, granularity, window_start as start, window_end as "end", metric, value, low, high,
                estimated, window_labelled / window_rows as label_coverage, judged, reason
            from {quoted(QUALITY)}
            where slice_key is null and place = 0
            qualify row_number() over (
                partition by model, version, granularity order by judged desc, window_start desc
            ) = 1
            """
        ).to_arrow_table()
    return {(row["model"], row["version"], row["granularity"]): row for row in rows.to_pylist()}


def stored_histograms(
    tables: OpenTables,
    table: str,
    *,
    model: str,
    version: int,
    window: datetime,
    columns: Sequence[str],
    grids: Mapping[str, Grid],
) -> tuple[Histograms, Histograms] | None:
    """The histograms of columns over all rows: of the reference, and of a window. None where none are kept.

    Args:
        tables: that are open.
        table: of the predictions.
        model: its name.
        version: of the model.
        window: its beginning.
        columns: their names; those without bins, or of other bins than these, are left out.
        grids: column → its bins.
    """
    name, specs = f"{table}_histograms", {each: grids[each].id for each in columns if each in grids}
    if not specs or name not in tables.names:
        return None
    before, now = (
        tables.connection.sql(
            f"""
            select column_name, bin, value, count, sum, squares, min, max, zeros
            from {quoted(name)}
            where
                model = ? and model_version = ? and window_key = ? and slice_key is null
                and list_contains(?, column_name) and list_contains(?, spec)
            order by place
            """,
            params=[model, version, key, list(specs), list(specs.values())],
        ).to_arrow_table()
        for key in (REFERENCE, window.isoformat())
    )
    if not before.num_rows or not now.num_rows:
        return None
    return Histograms(rows=before, grids=dict(grids)), Histograms(rows=now, grids=dict(grids))
