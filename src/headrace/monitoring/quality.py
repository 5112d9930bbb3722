"""Realised quality: predictions joined to the labels that have become known, by windows of the decisions' time.

A prediction counts in the window of its decision (`decision_time`), whenever its label arrives. Only labels that are
known at the moment exist; of several labels the latest known one counts, and labels of decisions without a prediction
are only counted. Only windows whose rows or labels have changed are measured again; a window that had been judged
before is then marked as reopened and keeps the earlier value beside the new one.

A window is **mature** when it has ended and either 95 % of its labels are known, or the time since its end is as long
as 99 % of the labels known so far took to arrive. That time is used only while it is at most half of the time since
the first decision, because early on only the quick labels can be known. A window that is not
mature, or has too few labels, is shown and not judged.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.core.clock import now
from headrace.core.ids import digest
from headrace.lakehouse.identifiers import literal, quoted
from headrace.lakehouse.writes import Upsert
from headrace.monitoring import windows
from headrace.monitoring.alert_windows import Measured
from headrace.monitoring.estimated_performance import METRICS, RealizedOutcome, estimate, refusal
from headrace.monitoring.label_join import LABEL, SLICE, labelled
from headrace.monitoring.performance import Performance, Quality, Report
from headrace.training.intervals import interval
from headrace.training.labels import checked
from headrace.training.measures import evaluate, places_by_value

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import timedelta

    import duckdb
    import pandas as pd

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.monitoring.declarations import Granularity
    from headrace.monitoring.label_join import WindowState
    from headrace.training.declarations import Model
    from headrace.training.metrics.base import Metric

TABLE = "metrics.model_quality"
IDENTITY = ("model", "version", "granularity", "window_start", "slice_key", "slice_value", "metric")
MOSTLY = 0.95  # of a window's labels: then it is mature at once
MIN_ROWS = 500


def realised(
    lakehouse: Lakehouse,
    model: Model,
    predictions: str,
    *,
    version: int,
    as_of: datetime,
    granularity: Granularity = "1mo",
    min_rows: int = MIN_ROWS,
    slices: Sequence[str] = (),
    fitted: tuple[datetime, datetime] | None = None,
) -> Report:
    """Quality of one version's predictions with the labels known at a moment; measures what changed since it was kept.

    Args:
        lakehouse: the tables.
        model: says the label, the task and the metrics.
        predictions: a table of predictions, of batch scoring or of a server.
        version: of the model.
        as_of: the moment; decisions of a later time do not exist either.
        granularity: of the windows.
        min_rows: with fewer labelled rows a window is not judged.
        slices: features or columns of the predictions.
        fitted: the first and the last decision that the version was fitted on; they do not count.

    Raises:
        NotFoundError: there is no such table, feature or column.
        DeclarationError: the label's table has no time.
        DataError: a label is not what the task predicts.
    """
    before = {window.start: window for window in stored(lakehouse, model.name, version, granularity)}
    kept: list[Quality] = []
    changed: set[datetime] = set()
    with labelled(
        lakehouse,
        model,
        predictions,
        version=version,
        as_of=as_of,
        granularity=granularity,
        slices=slices,
        fitted=fitted,
    ) as joined:
        wait = joined.wait()
        basis = [[each.name + each.content for each in model.measured], list(slices), min_rows]
        for state in joined.states():
            known = before.get(state.start)
            window = _unmeasured(state, granularity, as_of, wait, basis, known)
            if known is not None and (window.state, window.basis) == (known.state, known.basis):
                kept.append(known)
                continue
            rows = joined.rows(state.start)
            measured = _measured(model, window, rows, min_rows, known)
            reason, expected = _expected(model, window, rows, kept, min_rows, known)
            kept.append(_with_estimates(measured, reason, expected))
            changed.add(state.start)
    return Report(windows=tuple(kept), measured=frozenset(changed), not_counted=joined.not_counted)


def measure(
    lakehouse: Lakehouse,
    model: Model,
    predictions: str,
    *,
    version: int,
    as_of: datetime,
    id: str,  # noqa: A002  # of the commit
    granularity: Granularity = "1mo",
    min_rows: int = MIN_ROWS,
    slices: Sequence[str] = (),
    fitted: tuple[datetime, datetime] | None = None,
) -> Report:
    """`realised`, kept in `metrics.model_quality`."""
    report = realised(
        lakehouse,
        model,
        predictions,
        version=version,
        as_of=as_of,
        granularity=granularity,
        min_rows=min_rows,
        slices=slices,
        fitted=fitted,
    )
    keep(lakehouse, model.name, version, report, id=id)
    return report


def stored(
    lakehouse: Lakehouse,
    model: str,
    version: int,
    granularity: Granularity,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    sliced: bool = True,
    connection: duckdb.DuckDBPyConnection | None = None,
) -> list[Quality]:
    """The windows of a version as they were kept last, in order of time.

    Args:
        lakehouse: the tables.
        model: its name.
        version: of the model.
        granularity: of the windows.
        since: the beginning of the first window; None: of all.
        until: the beginning of the last one; None: of all.
        sliced: whether with what is measured on slices.
        connection: in which the table can be read already; None: it is opened.
    """
    if connection is None and not lakehouse.exists(TABLE, own=True):
        return []
    where = f"model = {literal(model)} and version = {int(version)} and granularity = {literal(granularity)}"
    where += "" if since is None else f" and window_start >= timestamptz '{since.isoformat()}'"
    where += "" if until is None else f" and window_start <= timestamptz '{until.isoformat()}'"
    where += "" if sliced else " and slice_key is null"
    with nullcontext(connection) if connection is not None else lakehouse.connect({TABLE: None}) as opened:
        rows = opened.sql(f"select * from {quoted(TABLE)} where {where} order by window_start, place")
        kept = rows.to_arrow_table().to_pylist()
    grouped: dict[datetime, list[dict[str, Any]]] = {}
    for row in kept:
        grouped.setdefault(row["window_start"].astimezone(UTC), []).append(row)
    return [_read(start, rows) for start, rows in grouped.items()]


def keep(lakehouse: Lakehouse, model: str, version: int, report: Report, *, id: str) -> None:  # noqa: A002
    """Writes what was measured now into `metrics.model_quality`, one row a window, slice and metric."""
    at = now()
    rows = [
        {
            "model": model,
            "version": version,
            "granularity": window.granularity,
            "window_start": window.start,
            "window_end": window.end,
            "month": window.month,
            "place": place,
            **vars(measure),
            "label_coverage": measure.labelled / measure.rows,
            "label_mean": window.label_mean,
            "prediction_mean": window.prediction_mean,
            "mature": window.mature,
            "reopened": window.reopened,
            "window_rows": window.rows,
            "window_labelled": window.labelled,
            "state": window.state,
            "basis": window.basis,
            "as_of": window.as_of,
            "measured_at": at,
        }
        for window in report.changed
        for place, measure in enumerate(window.measures)
    ]
    if not rows:
        return
    made = pa.Table.from_pylist(rows, schema=SCHEMA)
    starts = frozenset(window.start for window in report.changed)
    lakehouse.commit(
        TABLE, id, lambda before: Upsert(made, key=IDENTITY, delete=_gone(before, made, model, version, starts))
    )


def _gone(
    before: Snapshot | None, made: pa.Table, model: str, version: int, starts: Collection[datetime]
) -> pa.Table | None:
    """The keys of what these windows had and do not have any more: a metric or a slice that is not asked for now."""
    if before is None:
        return None
    mine = f"model = {literal(model)} and version = {int(version)}"
    there = before.to_arrow(columns=IDENTITY, where=mine).to_pylist()
    new = {tuple(row.values()) for row in made.select(IDENTITY).to_pylist()}
    granularity = made.column("granularity")[0].as_py()
    gone = [
        row
        for row in there
        if row["granularity"] == granularity and row["window_start"] in starts and tuple(row.values()) not in new
    ]
    return pa.Table.from_pylist(gone, schema=made.select(IDENTITY).schema)


def seen(kept: Sequence[Quality], metric: str, *, min_rows: int = MIN_ROWS) -> list[Measured]:
    """What a rule on a metric, or on `label_coverage`, looks at in each window."""
    return [_seen(window, metric, min_rows) for window in kept]


def _seen(window: Quality, metric: str, min_rows: int) -> Measured:
    if metric == "label_coverage":
        judged = window.mature and window.rows >= min_rows
        return Measured(start=window.start, end=window.end, value=window.coverage, judged=judged)
    for each in window.measures:
        if each.metric == metric and each.slice_key is None:
            return Measured(
                start=window.start,
                end=window.end,
                value=each.value,
                low=each.low,
                high=each.high,
                judged=each.judged,
                explanation=each.reason,
            )
    return Measured(
        start=window.start, end=window.end, value=None, judged=False, explanation=f"{metric} was not measured"
    )


def _unmeasured(
    found: WindowState,
    granularity: Granularity,
    as_of: datetime,
    wait: timedelta | None,
    basis: Sequence[object],
    before: Quality | None,
) -> Quality:
    """A window without its measures."""
    end = windows.end_of(found.start, granularity)
    waited = wait is not None and end + wait <= as_of
    mature = end <= as_of and (found.labelled >= MOSTLY * found.rows or waited)
    state = f"{found.rows}-{found.labelled}-{found.checksum}"
    changed = before is not None and before.state != state and as_of >= before.as_of
    judged = before is not None and any(each.judged for each in before.measures)
    return Quality(
        granularity=granularity,
        start=found.start,
        end=end,
        rows=found.rows,
        labelled=found.labelled,
        label_mean=None,
        prediction_mean=None,
        mature=mature,
        reopened=(changed and judged) or (before is not None and before.reopened),
        measures=(),
        state=state,
        basis=digest([*basis, mature]),
        as_of=as_of,
    )


def _measured(model: Model, window: Quality, rows: pd.DataFrame, min_rows: int, before: Quality | None) -> Quality:
    measures = [_measure(model, metric, window, rows, min_rows) for metric in model.measured]
    sliced = [name for name in rows.columns if name.startswith(SLICE)]
    for key, value, places in places_by_value(rows[sliced] if sliced else None):
        named = (key.removeprefix(SLICE), value)
        measures += [_measure(model, metric, window, rows.iloc[places], min_rows, named) for metric in model.measured]
    known = rows[rows[LABEL].notna()]
    label_mean, prediction_mean = None, None
    output = model.task.mean_output
    if len(known) and output is not None:
        label_mean, prediction_mean = float(known[LABEL].astype("float64").mean()), float(known[output].mean())
    if window.reopened and before is not None:
        measures = [_with_earlier(each, before, again=window.state != before.state) for each in measures]
    return replace(window, measures=tuple(measures), label_mean=label_mean, prediction_mean=prediction_mean)


def _with_earlier(measure: Performance, before: Quality, *, again: bool) -> Performance:
    """Beside the value the one of before: as it stood until now, or, when no row changed, as it was told already."""
    for each in before.measures:
        if (each.metric, each.slice_key, each.slice_value) == (measure.metric, measure.slice_key, measure.slice_value):
            return replace(measure, earlier=each.value if again else each.earlier)
    return measure


def _expected(
    model: Model,
    window: Quality,
    rows: pd.DataFrame,
    before: Sequence[Quality],
    min_rows: int,
    known: Quality | None,
) -> tuple[str, dict[str, float]]:
    """What is to be expected of all rows of a window, by what is known of the windows before; or why that cannot be said.

    What was said once of the rows of a window that had ended stands: its error is that of an estimate without labels.
    """
    if known is not None and known.end <= known.as_of and known.rows == window.rows:
        said = {each.metric: each.estimated for each in known.measures if each.estimated is not None}
        if set(known.metrics) == set(model.metrics) and set(said) == {
            name for name in model.metrics if name in METRICS
        }:
            return "", said
    recent = [
        RealizedOutcome(labelled=each.labelled, label_mean=each.label_mean, prediction_mean=each.prediction_mean)
        for each in before
        if each.mature
        and each.labelled >= min_rows
        and each.label_mean is not None
        and each.prediction_mean is not None
    ]
    reason = refusal(model.task, len(rows), recent, min_rows=min_rows)
    return reason, {} if reason else estimate(rows[model.task.probability_output].to_numpy(dtype="float64"))


def _with_estimates(window: Quality, reason: str, expected: Mapping[str, float]) -> Quality:
    """With estimates on all rows, and their errors where the truth is known."""

    def told(each: Performance) -> Performance:
        if each.slice_key is not None:
            return each
        value = expected.get(each.metric)
        error = value - each.value if value is not None and each.judged and each.value is not None else None
        return replace(each, estimated=value, estimated_error=error, not_estimated=reason)

    return replace(window, measures=tuple(told(each) for each in window.measures))


def _measure(
    model: Model,
    metric: Metric,
    window: Quality,
    rows: pd.DataFrame,
    min_rows: int,
    named: tuple[str | None, str | None] = (None, None),
) -> Performance:
    known = rows[rows[LABEL].notna()].reset_index(drop=True)
    value, low, high, reason = None, None, None, "no label is known"
    if len(known):
        y = checked(known[LABEL], model.task)
        found = interval(model.task, metric, y, known)
        if found is None:
            (single,) = evaluate(model.task, y, known, metrics=[metric])
            value, reason = single.value, single.reason
        else:
            value, low, high, reason = found.value, found.low, found.high, ""
    if value is not None and len(known) < min_rows:
        reason = f"{len(known):,} labelled rows; {min_rows:,} are needed (hr.Monitor(min_rows=…))"
    elif value is not None and not window.mature:
        reason = f"its labels have not had time to come: {window.coverage:.0%} are known"
    return Performance(
        metric=metric.name,
        slice_key=named[0],
        slice_value=named[1],
        value=value,
        low=low,
        high=high,
        rows=len(rows),
        labelled=len(known),
        judged=value is not None and not reason,
        reason=reason,
    )


def _read(start: datetime, rows: Sequence[Mapping[str, Any]]) -> Quality:
    first = rows[0]
    measures = (Performance(**{name: row[name] for name in MEASURE}) for row in rows)
    return Quality(
        start=start,
        end=first["window_end"].astimezone(UTC),
        as_of=first["as_of"].astimezone(UTC),
        rows=first["window_rows"],
        labelled=first["window_labelled"],
        measures=tuple(measures),
        **{name: first[name] for name in WINDOW},
    )


MEASURE: Collection[str] = tuple(Performance.__annotations__)
WINDOW = ("granularity", "label_mean", "prediction_mean", "mature", "reopened", "state", "basis")
UTC_US = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("version", pa.int64()),
        ("granularity", pa.string()),
        ("window_start", UTC_US),
        ("window_end", UTC_US),
        ("month", pa.string()),
        ("slice_key", pa.string()),
        ("slice_value", pa.string()),
        ("place", pa.int64()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("rows", pa.int64()),
        ("labelled", pa.int64()),
        ("label_coverage", pa.float64()),
        ("label_mean", pa.float64()),
        ("prediction_mean", pa.float64()),
        ("judged", pa.bool_()),
        ("reason", pa.string()),
        ("mature", pa.bool_()),
        ("reopened", pa.bool_()),
        ("earlier", pa.float64()),
        ("estimated", pa.float64()),
        ("estimated_error", pa.float64()),
        ("not_estimated", pa.string()),
        ("window_rows", pa.int64()),
        ("window_labelled", pa.int64()),
        ("state", pa.string()),
        ("basis", pa.string()),
        ("as_of", UTC_US),
        ("measured_at", UTC_US),
    ]
)
