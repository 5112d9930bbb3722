"""From full rows to the model's matrix, by a plan: the same code in training, batch scoring and the packaged model.

Three steps: `read` casts the columns of a full row, `compute` adds the on-demand features, `encode` turns texts
into the categories that were learned from the fitting rows. Each row is computed independently of the others.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from headrace.core.errors import DataError, UserCodeError
from headrace.features.plan import DECLARED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.features.plan import FeaturePlan, Kind, OnDemandCall

TEXT = pd.StringDtype(na_value=np.nan)
LOCAL = np.dtype("datetime64[us]")
INSTANT = pd.DatetimeTZDtype("us", "UTC")
PACKAGE = str(Path(__file__).parent.parent)
ALONE = 5  # rows that are computed a second time, each alone

Value = None | float | str
Functions = dict[str, "Callable[..., object]"]
Categories = dict[str, list[str]]


def read(plan: FeaturePlan, rows: pd.DataFrame) -> pd.DataFrame:
    """The input columns of full rows, cast: float64, text, datetime64[us]; columns that the plan does not name are dropped.

    Numbers may come as integers, booleans, decimals or objects with None; instants with any zone (none is UTC) or as
    ISO text.

    Raises:
        DataError: a column is missing, or holds something that cannot be read as declared.
    """
    missing = [column.name for column in plan.inputs if column.name not in rows.columns]
    if missing:
        raise DataError(
            f"a full row needs {len(plan.inputs)} columns; missing: {', '.join(repr(name) for name in missing)}.",
            hint=f"Given: {', '.join(str(name) for name in rows.columns)}.",
        )
    return pd.DataFrame(
        {column.name: cast(column.name, rows[column.name], column.kind) for column in plan.inputs}, index=rows.index
    )


def to_json(plan: FeaturePlan, rows: pd.DataFrame) -> list[list[Value]]:
    """Full rows as JSON holds them, in the order of the plan's inputs: what `read` gives, whatever the table's type was.

    A number is a float, a time or date ISO 8601 text, a missing value None. `from_json` gives rows that `read` reads alike.

    Raises:
        DataError: as `read`.
    """
    inputs = read(plan, rows)
    columns = [_json_values(inputs[column.name]) for column in plan.inputs]
    return [list(row) for row in zip(*columns, strict=True)]


def from_json(plan: FeaturePlan, rows: Sequence[Sequence[Value]]) -> pd.DataFrame:
    """Full rows from what `to_json` gave, as objects."""
    columns = list(zip(*rows, strict=True)) or [() for _ in plan.inputs]
    return pd.DataFrame(
        {
            column.name: pd.Series(list(values), dtype=object)
            for column, values in zip(plan.inputs, columns, strict=True)
        }
    )


def _json_values(values: pd.Series) -> list[Value]:
    known = values.astype(object).where(values.notna(), None).to_list()
    return [value.isoformat() if isinstance(value, pd.Timestamp) else value for value in known]


def compute(plan: FeaturePlan, functions: Mapping[str, Callable[..., object]], inputs: pd.DataFrame) -> pd.DataFrame:
    """The features in declared order, numbers as float64 and texts still as text, from what `read` gave.

    Raises:
        UserCodeError: an on-demand function raised (with the place in the user's file) or gave the wrong thing.
    """
    columns = {feature.name: inputs[feature.name] for feature in plan.features if feature.origin != "on_demand"}
    for call in plan.calls:
        columns |= answer(call, functions[call.function], inputs)
    return pd.DataFrame({name: columns[name] for name in plan.names}, index=inputs.index)


def fit_categories(plan: FeaturePlan, computed: pd.DataFrame) -> Categories:
    """The values that each text feature has on the fitting rows, sorted."""
    return {
        feature.name: sorted(computed[feature.name].dropna().unique().tolist())
        for feature in plan.features
        if feature.kind == "string"
    }


def encode(plan: FeaturePlan, categories: Mapping[str, list[str]], computed: pd.DataFrame) -> pd.DataFrame:
    """The model's matrix: texts as categories, a value that was not learned is missing."""
    encoded = {name: computed[name] for name in plan.names}
    for name, values in categories.items():
        learned = pd.Index(values, dtype=TEXT)
        codes = learned.get_indexer(pd.Index(computed[name]))
        encoded[name] = pd.Series(
            pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(learned)), index=computed.index
        )
    return pd.DataFrame(encoded, index=computed.index)


def matrix(
    plan: FeaturePlan,
    categories: Mapping[str, list[str]],
    functions: Mapping[str, Callable[..., object]],
    rows: pd.DataFrame,
) -> pd.DataFrame:
    """The three steps in one: full rows → the model's matrix, same index."""
    return encode(plan, categories, compute(plan, functions, read(plan, rows)))


def check_rowwise(plan: FeaturePlan, functions: Mapping[str, Callable[..., object]], inputs: pd.DataFrame) -> None:
    """Computes some rows each alone and compares with the whole batch.

    In serving a row comes alone: an on-demand function that looks at other rows (a mean, a rank, a shift) would give
    something else there than in training.

    Raises:
        UserCodeError: a function gives another value for a row alone than for the same row among others.
    """
    if not plan.calls or inputs.empty:
        return
    places = np.unique(np.linspace(0, len(inputs) - 1, ALONE).astype(int))
    for call in plan.calls:
        together = pd.DataFrame(answer(call, functions[call.function], inputs))
        for place in places:
            alone = pd.DataFrame(answer(call, functions[call.function], inputs.iloc[[place]]))
            for name in together.columns:
                one, among = alone[name].iloc[0], together[name].iloc[place]
                if one != among and not (pd.isna(one) and pd.isna(among)):
                    raise UserCodeError(
                        f"on-demand feature {call.function}() gives {name} = {among!r} for a row among others and {one!r} for the same row alone.",
                        hint="It may look at one row at a time only; aggregates over rows belong into a feature table.",
                    )


def cast(name: str, values: pd.Series, kind: Kind) -> pd.Series:
    """One input column of full rows, as `read` gives it.

    Raises:
        DataError: it holds something that cannot be read as declared.
    """
    try:
        if kind == "number":
            return _numbers(values)
        if kind == "string":
            return _texts(values)
        return _times(values, aware=kind == "timestamp_utc")
    except (TypeError, ValueError, ArithmeticError) as error:
        given = f"{values.dtype}" if len(values) == 0 else f"{values.dtype}, for example {values.iloc[0]!r}"
        raise DataError(
            f"column {name!r} is declared as {kind}, and cannot be read as such: {given} ({error})."
        ) from error


def _numbers(values: pd.Series) -> pd.Series:
    if isinstance(values.dtype, pd.StringDtype | pd.CategoricalDtype) or values.dtype.kind in "Mm":
        if values.isna().all():
            return pd.Series(np.nan, index=values.index, dtype="float64")
        raise TypeError("not numbers")
    if values.dtype == object and any(isinstance(value, str | bytes) for value in values):
        raise TypeError("texts among the numbers")
    return pd.Series(values.to_numpy(dtype="float64", na_value=np.nan), index=values.index)


def _texts(values: pd.Series) -> pd.Series:
    if values.dtype == TEXT:
        return values
    missing = values.isna().to_numpy()
    if missing.all():
        return pd.Series(np.nan, index=values.index, dtype=TEXT)
    known = values.astype(object)
    if not all(isinstance(value, str) for value in known.to_numpy()[~missing]):
        raise TypeError("not texts")
    return known.astype(TEXT)


def _times(values: pd.Series, *, aware: bool) -> pd.Series:
    if values.dtype.kind != "M" and not isinstance(values.dtype, pd.DatetimeTZDtype):
        values = _parsed(values, aware=aware)
    zone = getattr(values.dtype, "tz", None)
    if aware:
        if values.dtype == INSTANT:
            return values
        return (values.dt.tz_localize("UTC") if zone is None else values.dt.tz_convert("UTC")).astype(INSTANT)
    if zone is not None:
        raise TypeError("a local time has no zone")
    return values if values.dtype == LOCAL else values.astype(LOCAL)


def _parsed(values: pd.Series, *, aware: bool) -> pd.Series:
    """Times from ISO texts, dates or datetime objects."""
    if values.isna().all():
        return pd.Series(pd.NaT, index=values.index, dtype="datetime64[us]")
    if values.dtype.kind in "biufc":
        raise TypeError("a number is no time: it has no unit")
    known = values.astype(object).to_list()
    text = any(isinstance(value, str) for value in known)
    return pd.Series(pd.to_datetime(known, utc=aware, format="ISO8601" if text else None), index=values.index)


def answer(
    call: OnDemandCall, function: Callable[..., object], inputs: pd.DataFrame | Mapping[str, pd.Series]
) -> dict[str, pd.Series]:
    """What one on-demand function gives, name by name: numbers as float64, texts as texts.

    Args:
        call: of the plan.
        function: the user's.
        inputs: as `read` or `cast` gave them; at least those that the function takes.

    Raises:
        UserCodeError: it raised (with the place in the user's file) or gave the wrong thing.
    """
    given = {name: inputs[name].copy() for name in call.inputs}
    index = given[call.inputs[0]].index
    try:
        result = function(**given)
    except Exception as error:
        raise UserCodeError(
            f"on-demand feature {call.function}() raised {type(error).__name__}: {error}", findings=user_frames(error)
        ) from error
    names = [name for name, _ in call.outputs]
    if isinstance(result, pd.DataFrame):
        absent = [name for name in names if name not in result.columns]
        if absent:
            raise UserCodeError(
                f"on-demand feature {call.function}() gave columns {list(result.columns)!r}; declared: {names!r}.",
                hint=f"Missing: {', '.join(absent)}.",
            )
        series = {name: result[name] for name in names}
    elif isinstance(result, pd.Series) and len(names) == 1:
        series = {names[0]: result}
    else:
        wanted = "a pandas Series" if len(names) == 1 else f"a DataFrame with columns {names!r}"
        raise UserCodeError(
            f"on-demand feature {call.function}() gave {type(result).__name__}; it should give {wanted}."
        )
    return {name: _output(call, declared, series[name], index) for name, declared in call.outputs}


def _output(call: OnDemandCall, declared: str, values: pd.Series, index: pd.Index) -> pd.Series:
    if len(values) != len(index):
        raise UserCodeError(
            f"on-demand feature {call.function}() gave {len(values)} values for {len(index)} rows.",
            hint="One value a row, in the order of the rows.",
        )
    if not values.index.equals(index):
        raise UserCodeError(
            f"on-demand feature {call.function}() gave its rows in another order (the index has changed).",
            hint="Compute with the given Series; do not sort, filter or reset the index.",
        )
    try:
        if DECLARED[declared] == "string":
            return _texts(values)
        return _as_declared(_numbers(values), declared)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserCodeError(
            f"on-demand feature {call.function}() gave {values.dtype}, declared is {declared}: {error}."
        ) from error


def _as_declared(values: pd.Series, declared: str) -> pd.Series:
    """Through the declared type and back to float64, so that an int32 has no fraction and a float32 its precision."""
    if declared == "float64":
        return values
    numbers = values.to_numpy()
    known = ~np.isnan(numbers)
    if declared == "float32":
        with np.errstate(over="ignore"):
            return pd.Series(numbers.astype("float32").astype("float64"), index=values.index)
    if declared == "bool":
        fits = np.isin(numbers[known], (0.0, 1.0))
    else:
        limits = np.iinfo(declared)
        with np.errstate(invalid="ignore"):
            fits = (
                (numbers[known] == np.trunc(numbers[known]))
                & (numbers[known] >= limits.min)
                & (numbers[known] <= limits.max)
            )
    if not fits.all():
        raise ValueError(f"{numbers[known][~fits][0]} is no {declared}")
    return values


def user_frames(error: BaseException) -> list[str]:
    """The places in the user's own files that an exception passed, the last one first raised: `file:line in function: code`.

    Frames of Headrace are left out. When the user called a library, its frames are kept below the user's.
    """
    return [
        f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line or ''}".rstrip(": ")
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(PACKAGE) or frame.filename.startswith(f"{PACKAGE}/examples")
    ]
