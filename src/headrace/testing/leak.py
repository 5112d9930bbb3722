"""Whether a feature knows what became known only after its decision, or the label itself."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from headrace.core.errors import HeadraceError
from headrace.features.matrix import compute, read
from headrace.features.plan import on_demand_functions
from headrace.inference.in_memory import decided
from headrace.pipelines import sample_rows
from headrace.pipelines.model_inputs import feature_plan
from headrace.testing.column_lineage import origins
from headrace.testing.declared_models import find_model
from headrace.testing.differences import decision, fail, instant, same, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.features.plan import FeaturePlan
    from headrace.testing.column_lineage import Column
    from headrace.testing.temporary_environment import Environment
    from headrace.training.declarations import Model

Key = tuple[Any, ...]


def assert_no_leak(env: Environment, model: Model | str, *, allow: Sequence[str] = (), moments: int = 5) -> None:
    """Asserts that no feature contains the label, and that none knows the future of its decision.

    Two things are looked at. First, where columns come from: a column of the spine that is a feature must not be the label,
    and must not be computed from a column that the label is computed from. What tells the decision itself, its keys and its
    moment, may be in both. Columns of feature tables are looked up as of the decision, so they may be made from earlier labels.

    Second, the rows: for some moments of decisions everything is built once more in another environment, from only those sample
    rows that were known by then, as `env.load(…, known=…)` says; the features of the decisions of that moment must be the
    same. Tables that were given no `known=` are taken as they are.

    Args:
        env: a refreshed environment.
        model: its declaration or its name.
        allow: features that may come from what the label comes from, because they are known at the decision; defaults to none.
        moments: at how many moments of decisions the rows are looked at, spread from the first to the last; defaults to 5.

    Raises:
        AssertionError: a feature knows too much. The message names the feature, and the column that it shares with the label;
            or the decision, the value, and the value without what came later.
        NotFoundError: the program declares no such model, or a table that it reads was not built.

    Example:
        In a test of the module `shop`, with `orders` as sample rows:

        >>> from headrace import testing
        >>> with testing.environment(shop, at="2025-05-01") as env:
        ...     env.load("bronze.orders", orders, known={"delivered_at": "delivered_at"})
        ...     _ = env.refresh()
        ...     testing.assert_no_leak(env, "late")
    """
    declared = find_model(env, model)
    with env.workspace() as workspace:
        plan = feature_plan(workspace.project, workspace.lakehouse, declared)
        schemas = {each.name: each.schema.names for each in map(workspace.lakehouse.snapshot, _built(env))}
    found = _label_among_features(env, declared, plan, schemas, allow)
    fail(
        f"{len(found)} features of {declared.name!r} contain the label, or what it is computed from:",
        found,
        hint="Leave them out; or, if they are known at the decision, name them: assert_no_leak(…, allow=[…]).",
    )
    if any(each.known is not None for each in env.given.values()):
        found = _rows_of_the_future(env, declared.name, plan, moments)
        fail(f"features of {declared.name!r} know what became known only after the decision:", found)


def _built(env: Environment) -> list[str]:
    return list(env.tables)


def _label_among_features(
    env: Environment, model: Model, plan: FeaturePlan, schemas: Mapping[str, Sequence[str]], allow: Sequence[str]
) -> list[str]:
    """Features of the spine that share a column with the label."""
    label = model.task.label
    spine = [each.name for each in plan.inputs if each.origin == "spine"]
    shared_by_all: set[Column] = set()
    for name in (*plan.keys, plan.at, *(column for lookup in plan.lookups for _, column in lookup.on)):
        shared_by_all |= _origins(env, plan.spine, name, schemas)
    of_label = {
        column for name in model.task.label_columns for column in _origins(env, label.table.name, name, schemas)
    }
    found: list[str] = []
    for name in spine:
        if name in allow or name in plan.keys or name == plan.at:
            continue
        if label.table.name == plan.spine and name in model.task.label_columns:
            found.append(f"{name}: it is the label, {plan.spine}.{name}.")
            continue
        common = sorted((_origins(env, plan.spine, name, schemas) & of_label) - shared_by_all)
        if common:
            columns = ", ".join(f"{table}.{column}" for table, column in common)
            found.append(
                f"{name}: {plan.spine}.{name} and the label {label.table.name}.{label.name} both come from {columns}."
            )
    return found


def _origins(env: Environment, table: str, column: str, schemas: Mapping[str, Sequence[str]]) -> frozenset[Column]:
    try:
        return origins(env.project, table, column, schemas)
    except HeadraceError as error:
        warnings.warn(f"assert_no_leak does not know where {table}.{column} comes from: {error}", stacklevel=4)
        return frozenset({(table, column)})


def _rows_of_the_future(env: Environment, model: str, plan: FeaturePlan, moments: int) -> list[str]:
    """Features that are others once what came later is taken away."""
    whole = env.features(model).to_pandas()
    if whole.empty:
        return [f"there is no decision to be looked at; the spine is {plan.spine}."]
    at = whole[plan.at].map(instant)
    distinct = sorted(at.unique())
    places = np.unique(np.linspace(0, len(distinct) - 1, max(moments, 1)).astype(int))
    found: list[str] = []
    for place in places:
        moment = pd.Timestamp(distinct[place])
        decisions = whole[at == moment]
        earlier = _features_known_by(env, model, plan, moment)
        for row in decisions.to_dict("records"):
            found += _differing(plan, row, earlier.get(_key(plan, row)), moment)
    return found


def _features_known_by(
    env: Environment, model: str, plan: FeaturePlan, moment: pd.Timestamp
) -> dict[Key, Mapping[Any, Any]]:
    with env.again(moment.to_pydatetime()) as earlier:
        for each in env.given.values():
            if isinstance(each.rows, pa.Table):
                cut = _cut(each.rows, each.known, moment)
                if cut.num_rows:
                    earlier.load(each.table, cut)
            else:
                earlier.load(each.table, each.rows)
        sample_rows.keep(earlier.folder).only = plan.tables  # rows of the past may have no label
        earlier.refresh()
        with earlier.workspace() as workspace:
            if not all(workspace.lakehouse.exists(name) for name in plan.tables):
                return {}
            full = decided(workspace.lakehouse, plan, since=None, until=moment.to_pydatetime())
        functions = on_demand_functions(find_model(earlier, model).inputs)
        rows = full.to_pandas()
        computed = compute(plan, functions, read(plan, rows))
    keyed = zip(rows[[*plan.keys]].to_dict("records"), computed.to_dict("records"), strict=True)
    return {_key(plan, keys): features for keys, features in keyed}


def _cut(rows: pa.Table, known: str | Mapping[str, str] | None, moment: pd.Timestamp) -> pa.Table:
    """The rows as they were known at a moment."""
    if known is None:
        return rows
    if isinstance(known, str):
        return rows.filter(pa.array(_by_then(rows, known, moment)))
    for name, column in known.items():
        place, field = rows.column_names.index(name), rows.schema.field(name).with_nullable(True)
        then = zip(rows.column(name).to_pylist(), _by_then(rows, column, moment), strict=True)
        masked = pa.array([value if there else None for value, there in then], field.type)
        rows = rows.set_column(place, field, masked)
    return rows


def _by_then(rows: pa.Table, column: str, moment: pd.Timestamp) -> Any:
    times = pd.to_datetime(rows.column(column).to_pandas(), utc=True)
    return (times <= moment).to_numpy()


def _differing(
    plan: FeaturePlan, row: Mapping[Any, Any], earlier: Mapping[Any, Any] | None, moment: pd.Timestamp
) -> list[str]:
    said = decision({key: row[key] for key in plan.keys}, moment)
    if earlier is None:
        return [f"the decision {said} is not in {plan.spine} itself, with only what was known at that moment."]
    return [
        f"{name} of {said}: {shown(row[name])}; with only what was known at that moment it is {shown(earlier[name])}."
        for name in plan.names
        if not same(row[name], earlier[name])
    ]


def _key(plan: FeaturePlan, row: Mapping[Any, Any]) -> Key:
    return tuple(str(instant(row[key])) if isinstance(row[key], pd.Timestamp) else row[key] for key in plan.keys)
