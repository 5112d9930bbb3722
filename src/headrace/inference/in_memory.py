"""Rows in memory through a version, or to its features: what a notebook asks for. Nothing is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from headrace.core.errors import DataError
from headrace.features.keys import MICROSECOND
from headrace.features.rows import full_rows, needed
from headrace.inference import input_rows

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

    from headrace.features.plan import FeaturePlan
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.scoring.version import LoadedVersion

PLACE = "headrace_place"  # of a given row among the others


def predict(lakehouse: Lakehouse, version: LoadedVersion, rows: pa.Table, *, at: datetime | None = None) -> pa.Table:
    """Predicts given rows.

    Args:
        lakehouse: where features are looked up.
        version: the model.
        rows: full rows, with every input of the model; or decisions, with the keys, the moment and the columns of the
            spine that the model takes, whose features are looked up.
        at: the moment of every decision, which then need not have one. Full rows have no use for it.

    Returns:
        The outputs of the task, a row a given row, in their order.

    Raises:
        DataError: the rows are neither, or cannot be read in the types of the spine.
        UserCodeError: the model, or an on-demand function, failed.
    """
    full = rows if is_full(version.plan, rows) else looked_up(lakehouse, version.plan, rows, at=at)
    return pa.Table.from_pandas(version.predict(full.to_pandas()), preserve_index=False).replace_schema_metadata()


def is_full(plan: FeaturePlan, rows: pa.Table) -> bool:
    """Whether rows have every input of a model, so that nothing needs to be looked up."""
    return all(each.name in rows.column_names for each in plan.inputs)


def looked_up(lakehouse: Lakehouse, plan: FeaturePlan, rows: pa.Table, *, at: datetime | None = None) -> pa.Table:
    """Given decisions as full rows, each with its features as of its moment.

    Args:
        lakehouse: where features are looked up, in their latest version.
        plan: what to look up.
        rows: see `predict`.
        at: the moment of every decision.

    Returns:
        The keys, the moment and the inputs of the plan, a row a given row, in their order.

    Raises:
        DataError: a column is missing or cannot be read in the spine's type; a row has no key or no moment, or comes twice.
    """
    _check_decisions(plan, rows, at)
    places = pa.array(np.arange(rows.num_rows))
    wanted = [name for name in needed(plan) if name in rows.column_names]
    found = input_rows.from_frame(
        lakehouse, plan, rows.select(wanted).append_column(PLACE, places), latest=at, keep=(PLACE,)
    )
    versions = {name: lakehouse.snapshot(name).version for name in plan.tables}
    full = full_rows(lakehouse, plan, versions, decisions=found.decisions, keep=(PLACE,))
    return full.sort_by(PLACE).drop_columns([PLACE])


def decided(
    lakehouse: Lakehouse, plan: FeaturePlan, *, since: datetime | None, until: datetime, sample: float = 1.0
) -> pa.Table:
    """The spine's own decisions as full rows, each with its features as of its moment.

    Args:
        lakehouse: the tables, in their latest version.
        plan: what to look up.
        since: the first moment; None for all.
        until: the last moment.
        sample: the share of the decisions, by key.

    Returns:
        The keys, the moment and the inputs of the plan, in the order of keys.
    """
    versions = {name: lakehouse.snapshot(name).version for name in plan.tables}
    return full_rows(lakehouse, plan, versions, since=since, until=until + MICROSECOND, sample=sample)


def with_features(plan: FeaturePlan, rows: pa.Table, computed: pd.DataFrame) -> pa.Table:
    """The keys and the moment of full rows, where they have them, followed by the features that they come to."""
    held = rows.select([name for name in dict.fromkeys((*plan.keys, plan.at)) if name in rows.column_names])
    features = pa.Table.from_pandas(computed, preserve_index=False).replace_schema_metadata()
    for field, values in zip(features.schema, features.columns, strict=True):
        if field.name not in held.column_names:  # a key that is a feature, too
            held = held.append_column(field, values)
    return held


def _check_decisions(plan: FeaturePlan, rows: pa.Table, at: datetime | None) -> None:
    """Says which columns either kind of rows would need.

    Raises:
        DataError: columns are missing for both kinds.
    """
    missing = [name for name in needed(plan) if name not in rows.column_names and not (at and name == plan.at)]
    if not missing:
        return
    absent = [each.name for each in plan.inputs if each.name not in rows.column_names]
    raise DataError(
        f"the rows are neither full nor decisions: as full rows they lack {_listed(absent)}; as decisions, whose features "
        f"are looked up, they lack {_listed(missing)}.",
        hint=f"Given: {_listed(rows.column_names)}.",
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:8]))
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown
