"""Champion against challenger, on labelled decisions that neither was fitted or calibrated on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.core.clock import duration, instant
from headrace.core.errors import DataError
from headrace.features.rows import full_rows
from headrace.lakehouse.writes import Upsert
from headrace.training import labels as known_labels
from headrace.training.output import baseline_output
from headrace.training.split import halves
from headrace.training.splits.by_time import ByTime
from headrace.training.training_set import LABEL, PART, FittedRows, fitted_rows, table_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    import numpy as np
    import pandas as pd

    from headrace.deployment.findings import GateFinding
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.registry.records import Version
    from headrace.scoring.version import LoadedVersion
    from headrace.training.declarations import Model

TABLE = "metrics.comparisons"
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class ComparedRows:
    """Labelled decisions with the outputs of both.

    Attributes:
        rows: the full rows of the challenger: keys, the moment of the decision, and the inputs.
        labels: what came of them.
        champion: its output; of the constant prediction where there is no champion.
        challenger: its output.
        since: the first decision; None where there are no rows.
        until: the last one.
    """

    rows: pd.DataFrame
    labels: pd.Series
    champion: pd.DataFrame
    challenger: pd.DataFrame
    since: datetime | None
    until: datetime | None


def gather(
    lakehouse: Lakehouse,
    model: Model,
    challenger: tuple[Version, LoadedVersion],
    champion: tuple[Version, LoadedVersion] | None,
    *,
    as_of: datetime,
) -> ComparedRows:
    """Decisions that neither was fitted on or calibrated on.

    Where decisions are held out by time, those after everything that either was fitted on; else those that are in neither's
    training set, but for its test rows.

    Args:
        lakehouse: the tables, as they are.
        model: says the label.
        challenger: the version that wants to be in Production.
        champion: the one that is; None for a constant prediction.
        as_of: labels known by then count.
    """
    both = [challenger, *([champion] if champion else [])]
    test = model.split
    fitted = max(instant(version.fit_to) for version, _ in both) if test.by_time else None
    since = None if fitted is None else fitted + INSTANT
    tables = dict.fromkeys(name for _, loaded in both for name in loaded.plan.tables)
    versions = {name: lakehouse.snapshot(name).version for name in tables}  # the same data for both
    rows, made = _rows(lakehouse, challenger[1], versions, since=since, until=as_of)
    decisions = made.to_pandas()
    at = challenger[1].plan.at
    labels = known_labels.LabelTable(lakehouse, model.task).attach(made, at=at, as_of=as_of)
    moments = known_labels.instants(decisions[at])
    usable = labels.y.notna()
    if not isinstance(test, ByTime):
        for version, loaded in both:
            usable &= ~_seen(lakehouse, model, version, loaded, decisions)
    elif model.task.sets_aside:
        set_aside = halves(decisions[list(challenger[1].plan.keys)])
        for version, _ in both:
            usable &= ~_calibrated(moments, set_aside, instant(version.as_of), duration(test.window))
    y = labels.y[usable]
    given = challenger[1].predict(rows[usable])
    if champion is None:
        other = _constant(lakehouse, model, challenger[0])(len(y)).set_index(given.index)
    else:
        theirs, same = _rows(lakehouse, champion[1], versions, since=since, until=as_of)
        if not same.equals(made):
            raise DataError(
                f"{challenger[0].name} and {champion[0].name} do not decide on the same rows.",
                hint="Their spine, its key or its moment has changed: there is nothing to compare. Use another model's name.",
            )
        other = champion[1].predict(theirs[usable])
    known = moments[usable]
    return ComparedRows(
        rows=rows[usable],
        labels=y,
        champion=other,
        challenger=given,
        since=known.min().to_pydatetime() if len(known) else None,
        until=known.max().to_pydatetime() if len(known) else None,
    )


def keep(lakehouse: Lakehouse, version: Version, findings: list[GateFinding], *, id: str) -> None:  # noqa: A002
    """Writes findings into `metrics.comparisons`, one row each."""
    rows = [
        {
            "comparison_id": f"{id}-{place}",
            "model": version.model,
            "version": version.version,
            "gate": finding.gate,
            "result": finding.result,
            "value": finding.value,
            "limit": finding.limit,
            "reason": finding.reason,
            **{name: (finding.details or {}).get(name) for name in DETAILS},
        }
        for place, finding in enumerate(findings)
    ]
    if rows:
        made = pa.Table.from_pylist(rows, schema=SCHEMA)
        lakehouse.commit(TABLE, id, lambda _: Upsert(made, key=("comparison_id",)))


def _rows(
    lakehouse: Lakehouse, loaded: LoadedVersion, versions: Mapping[str, int], *, since: datetime | None, until: datetime
) -> tuple[pd.DataFrame, pa.Table]:
    """Full rows for a version, and the keys and moments of the decisions; the same decisions in the same order for any version."""
    plan = loaded.plan
    made = full_rows(lakehouse, plan, versions, since=since, until=until + INSTANT)
    return made.to_pandas(), made.select(list(dict.fromkeys((*plan.keys, plan.at))))


def _calibrated(moments: pd.Series, set_aside: np.ndarray, as_of: datetime, test: timedelta) -> pd.Series:
    return (moments > as_of - test) & (moments <= as_of) & set_aside


def _seen(
    lakehouse: Lakehouse, model: Model, version: Version, loaded: LoadedVersion, decisions: pd.DataFrame
) -> pd.Series:
    """Which decisions a version was fitted or calibrated on, by its training set."""
    fitted = FittedRows(keys=fitted_rows(lakehouse, model, loaded.plan, version.training_set))
    return fitted.among(decisions, loaded.plan.at)


def _constant(lakehouse: Lakehouse, model: Model, version: Version) -> Callable[[int], pd.DataFrame]:
    """The best constant by the labels that the version was fitted on."""
    rows = lakehouse.snapshot(table_name(model), version.training_set).to_arrow(columns=[LABEL, PART]).to_pandas()
    return baseline_output(model.task, rows.loc[rows[PART] == "fit", LABEL])


DETAILS = ("metric", "champion", "champion_value", "challenger_value", "low", "high", "alpha", "rows", "since", "until")
SCHEMA = pa.schema(
    [
        ("comparison_id", pa.string()),
        ("model", pa.string()),
        ("version", pa.int64()),
        ("gate", pa.string()),
        ("result", pa.string()),
        ("value", pa.float64()),
        ("limit", pa.float64()),
        ("reason", pa.string()),
        ("metric", pa.string()),
        ("champion", pa.int64()),
        ("champion_value", pa.float64()),
        ("challenger_value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("alpha", pa.float64()),
        ("rows", pa.int64()),
        ("since", pa.string()),
        ("until", pa.string()),
    ]
)
