"""Whether each looked-up feature is the latest that was known at its decision, by a slow join of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd

from headrace.core.errors import DataError
from headrace.features.rows import WRITTEN
from headrace.pipelines.model_inputs import feature_plan
from headrace.testing.declared_models import find_model
from headrace.testing.differences import decision, fail, instant, same, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.features.plan import FeatureLookup, FeaturePlan
    from headrace.testing.temporary_environment import Environment
    from headrace.training.declarations import Model

Row = dict[str, Any]


def assert_point_in_time(env: Environment, model: Model | str, *, features: pd.DataFrame | None = None) -> None:
    """Asserts that each feature is what was known at its decision, and the latest of that.

    Every feature that comes from the spine or from a feature table is looked up again, row by row, in plain Python: equal keys,
    `at - look_back <= time <= at`, the latest time, and of one time the row that was written last. On-demand features are
    computed from these, and are not looked up.

    Args:
        env: a refreshed environment.
        model: its declaration or its name.
        features: to be checked, with the keys of the spine and any features of the model: for features that something else
            has computed. Defaults to those that training and scoring would take.

    Raises:
        AssertionError: a value is another one, or there is no decision. The message names the feature, the decision, both
            values, and when the row that the wrong value is from became available.
        NotFoundError: the program declares no such model, or a table that it reads was not built.
        DataError: `features` has no column with a key, or no feature; or a decision that the spine does not have.

    Example:
        In a test of the module `shop`, with `orders` as sample rows:

        >>> from headrace import testing
        >>> with testing.environment(shop, at="2025-05-01") as env:
        ...     env.load("bronze.orders", orders)
        ...     _ = env.refresh()
        ...     testing.assert_point_in_time(env, "late")
    """
    declared = find_model(env, model)
    with env.workspace() as workspace:
        plan = feature_plan(workspace.project, workspace.lakehouse, declared)
    given = env.features(declared.name).to_pandas() if features is None else features
    columns = [each.name for each in plan.features if each.origin != "on_demand" and each.name in given.columns]
    _check(plan, given, columns)
    if given.empty:
        fail(f"no decision of {declared.name!r} is there to be checked.", [f"The spine is {plan.spine}."])
    spine = _Spine(plan, env.tables[plan.spine].to_pandas())
    tables = {each.table: env.tables[each.table].to_pandas() for each in plan.lookups}
    lookups = {name: _Lookup(each, tables[each.table], name) for each in plan.lookups for _, name in each.columns}
    found: list[str] = []
    for row in _rows(given):
        known = spine.row(row)
        at = instant(known[plan.at])
        for name in columns:
            possible, why = lookups[name].latest(known, at) if name in lookups else ([known[name]], plan.spine)
            if not any(same(row[name], each) for each in possible):
                keys = {key: row[key] for key in plan.keys}
                late = lookups[name].after(known, at, row[name]) if name in lookups else ""
                found.append(
                    f"{name} of {decision(keys, at)}: {shown(row[name])}, expected {' or '.join(map(shown, possible))} ({why}).{late}"
                )
    fail(
        f"{len(found):,} of {len(given) * len(columns):,} feature values of {declared.name!r} are not what was known at the decision:",
        found,
    )


class _Spine:
    """The decisions, by key."""

    def __init__(self, plan: FeaturePlan, rows: pd.DataFrame) -> None:
        self._plan = plan
        self._rows = {tuple(_plain(row[key]) for key in plan.keys): row for row in _rows(rows)}

    def row(self, given: Row) -> Row:
        key = tuple(_plain(given[name]) for name in self._plan.keys)
        if key not in self._rows:
            named = decision({name: given[name] for name in self._plan.keys})
            raise DataError(f"the spine {self._plan.spine!r} has no decision {named}.")
        return self._rows[key]


@dataclass
class _Candidate:
    """A row of a feature table that has the key."""

    time: pd.Timestamp
    written: pd.Timestamp
    row: Row


class _Lookup:
    """One feature of one feature table."""

    def __init__(self, lookup: FeatureLookup, rows: pd.DataFrame, name: str) -> None:
        self._lookup = lookup
        self._column = next(column for column, given in lookup.columns if given == name)
        self._by_key: dict[tuple[Any, ...], list[_Candidate]] = {}
        for row in _rows(rows):
            if not pd.isna(row[lookup.time]):
                key = tuple(_plain(row[column]) for column, _ in lookup.on)
                written = (
                    instant(row[WRITTEN]) if WRITTEN in row and not pd.isna(row[WRITTEN]) else pd.Timestamp(0, tz="UTC")
                )
                self._by_key.setdefault(key, []).append(_Candidate(instant(row[lookup.time]), written, row))

    def latest(self, spine: Row, at: pd.Timestamp) -> tuple[list[Any], str]:
        """The value, and where it is from; several where rows of one key have the same time and were written together."""
        reach = None if self._lookup.look_back is None else timedelta(seconds=self._lookup.look_back)
        known = [
            each for each in self._candidates(spine) if each.time <= at and (reach is None or each.time >= at - reach)
        ]
        if not known:
            older = "" if reach is None else f" within {reach}"
            return [None], f"no row of {self._lookup.table} was available{older}"
        best = max(known, key=lambda each: (each.time, each.written))
        alike = [each.row[self._column] for each in known if (each.time, each.written) == (best.time, best.written)]
        return alike, f"{self._lookup.table}, available since {shown(best.time)}"

    def after(self, spine: Row, at: pd.Timestamp, value: Any) -> str:
        """That a value is from the future of the decision, if it is."""
        for each in self._candidates(spine):
            if each.time > at and same(each.row[self._column], value):
                return f" That value became available at {shown(each.time)}, {each.time - at} after the decision."
        return ""

    def _candidates(self, spine: Row) -> Sequence[_Candidate]:
        key = tuple(_plain(spine[column]) for _, column in self._lookup.on)
        return () if any(value is None for value in key) else self._by_key.get(key, ())


def _check(plan: FeaturePlan, given: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [key for key in plan.keys if key not in given.columns]
    if missing:
        raise DataError(
            f"the features have no column {missing[0]!r}, by which decisions are known.",
            hint=f"They have {', '.join(map(str, given.columns))}.",
        )
    if not columns:
        raise DataError(
            "there is no feature to be checked that comes from a table.",
            hint=f"The model takes {', '.join(plan.names)}; what was given has {', '.join(map(str, given.columns))}.",
        )


def _rows(frame: pd.DataFrame) -> Iterator[Row]:
    names = list(map(str, frame.columns))
    for values in zip(*(frame[name].astype(object) for name in names), strict=True):
        yield dict(zip(names, values, strict=True))


def _plain(value: Any) -> Any:
    """A key as it is compared: missing is None, a moment is in UTC."""
    if value is None or pd.isna(value):
        return None
    if hasattr(value, "tzinfo"):
        return instant(value)
    return value.item() if hasattr(value, "item") else value
