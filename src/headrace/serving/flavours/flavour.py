"""Models of any MLflow flavour that Headrace did not package, as `mlflow.pyfunc.load_model` returns them.

`generic`: the flavour's own `predict`, without MLflow's checks of each request; for models that then predict their
input example exactly as through MLflow, to the last bit. `pyfunc`: MLflow's `predict`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from headrace.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.serving.flavours.signature import ModelSignature
    from headrace.serving.predictors.base import Answer, Row, Shape

PREDICTION = "prediction"


class NotByRowError(Exception):
    """What a model gives is not one answer for each row."""


@dataclass(frozen=True, kw_only=True)
class Flavour:
    """A loaded model. A row that has one value more than there are inputs holds its parameters there.

    Attributes:
        ask: data and parameters → whatever the model gives.
        columns: of its output; empty until one was seen.
        shape: of its output.
    """

    signature: ModelSignature
    ask: Callable[[Any, Mapping[str, Any]], Any]
    tier: Literal["generic", "pyfunc"] = "pyfunc"
    columns: tuple[str, ...] = ()
    shape: Shape = "records"

    def many(self, rows: list[Row]) -> list[Answer]:
        """See Predictor."""
        width = len(self.signature.inputs)
        if all(len(row) == width for row in rows):
            return self._of(rows, self.signature.params)
        answers: list[Answer] = []
        for _, group in groupby(rows, lambda row: repr(row[width:])):
            mine = list(group)
            params = mine[0][width] if len(mine[0]) > width else self.signature.params
            answers += self._of([row[:width] for row in mine], params)
        return answers

    def one(self, row: Row) -> Answer:
        """See Predictor."""
        return self.many([row])[0]

    def _of(self, rows: list[Row], params: Mapping[str, Any]) -> list[Answer]:
        columns, answers = table(self.ask(self.signature.data(rows), params), self.signature.outputs)
        if len(answers) != len(rows):
            raise NotByRowError(f"the model gives {len(answers)} answers for {len(rows)} rows")
        if self.columns and len(columns) != len(self.columns):
            raise RuntimeError(f"the model gives {len(columns)} columns; it gave {len(self.columns)} before")
        return answers


def through(model: Any) -> Callable[[Any, Mapping[str, Any]], Any]:
    """MLflow's `predict`; what it refuses is an error of the data."""
    from mlflow.exceptions import MlflowException

    def ask(data: Any, params: Mapping[str, Any]) -> Any:
        try:
            return model.predict(data, params=dict(params) or None)
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            raise DataError("MLflow refuses the data by the model's signature.") from error

    return ask


def shape_of(given: Any) -> Shape:
    """How MLflow's scoring server would write what a model gives."""
    if hasattr(given, "to_frame") or hasattr(given, "columns"):
        return "records"
    if isinstance(given, dict):
        return "columns"
    return "lists" if getattr(given, "ndim", 1) == 2 else "values"


def table(given: Any, names: tuple[str, ...]) -> tuple[tuple[str, ...], list[Answer]]:
    """Whatever a model gives, as columns and rows of Python's own values.

    Args:
        given: an array, a list, a DataFrame, a Series, or lists by name.
        names: that the signature has for the columns of an array.
    """
    if hasattr(given, "toarray"):  # sparse
        given = given.toarray()
    if hasattr(given, "to_frame"):  # a Series
        given = given.to_frame()
    if hasattr(given, "columns") and hasattr(given, "to_numpy"):
        return tuple(str(name) for name in given.columns), _plain(given.astype(object).to_numpy().tolist())
    if isinstance(given, dict):
        columns = cast("dict[Any, Any]", given)
        lists = [_list(values) for values in columns.values()]
        return tuple(str(name) for name in columns), _plain([list(row) for row in zip(*lists, strict=True)])
    answers = _list(given)
    if isinstance(given, np.ndarray) and given.ndim == 2:
        width = given.shape[1]
        rows = cast("list[Answer]", answers)
    else:
        width, rows = 1, [[each] for each in answers]
    if len(names) == width:
        return names, _plain(rows)
    return (PREDICTION,) if width == 1 else tuple(f"{PREDICTION}_{place}" for place in range(width)), _plain(rows)


def _list(values: Any) -> list[Any]:
    if hasattr(values, "tolist"):
        values = values.tolist()
    if not isinstance(values, list | tuple):
        raise NotByRowError(f"the model gives {type(cast('object', values)).__name__}, which is no list of answers")
    return list(cast("list[Any]", values))


def _plain(rows: list[Answer]) -> list[Answer]:
    """NumPy's values inside as Python's; times as texts."""
    return [[_value(each) for each in row] for row in rows]


def _value(each: Any) -> Any:
    if isinstance(each, np.ndarray | np.generic):  # a float64 of NumPy is a float, too
        return _value(cast("Any", each.tolist()))
    if each is None or isinstance(each, bool | int | float | str):
        return each
    if isinstance(each, dict):
        return {str(name): _value(value) for name, value in cast("dict[Any, Any]", each).items()}
    if isinstance(each, list | tuple):
        return [_value(value) for value in cast("list[Any]", each)]
    if hasattr(each, "isoformat"):
        return str(each.isoformat())
    raise TypeError(f"the model gives {type(each).__name__}, which has no JSON")
