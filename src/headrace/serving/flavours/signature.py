"""The signature of a model in MLflow: the inputs that a server decodes, the data for the model, its parameters.

It is stricter than MLflow: an unnamed parameter, and a number that a tensor's type cannot hold, are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from headrace.core.errors import DataError
from headrace.features.plan import Input

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.features.plan import Kind
    from headrace.serving.predictors.base import Row

KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("boolean", "integer", "long", "float", "double"), "number"),
    "string": "string",
    "datetime": "timestamp",
}
WHOLE = {"integer": "int32", "long": "int64"}
ANY = "any"
FLOATS = {"float": "float32", "double": "float64"}


class UnknownInputsError(Exception):
    """A signature asks for something else than rows of numbers, texts and times; the text says for what."""


class ModelSignature:
    """What a model takes, by what MLflow keeps of it.

    Args:
        kept: MLflow's `ModelSignature`; None where the model was logged without one.
        known: kinds of columns for which MLflow has no type, of a model that Headrace packaged.

    Attributes:
        inputs: in order.
        optional: inputs that a request may leave out.
        outputs: their names, where the signature names them.
        params: the parameters of a request that gives none.

    Raises:
        UnknownInputsError: it has no inputs that are columns of numbers, texts or times, or one tensor of two dimensions.
    """

    def __init__(self, kept: Any, known: Mapping[str, Kind] | None = None) -> None:
        if kept is None or kept.inputs is None:
            raise UnknownInputsError("the model has no signature")
        inputs: list[Any] = list(kept.inputs.inputs)
        self.tensor: Any = None
        self._known = known or {}
        self._types: list[str] = []
        self._required: list[bool] = []
        self._nulls: list[bool] = []  # whether the model has its say of them
        if kept.inputs.is_tensor_spec():
            self.inputs = self._of_tensor(inputs)
        else:
            self.inputs = tuple(self._of_column(each) for each in inputs)
        outputs: Any = kept.outputs
        self.outputs = (
            tuple(str(name) for name in outputs.input_names())
            if outputs is not None and outputs.has_input_names()
            else ()
        )
        self.optional = frozenset(
            column.name for column, needed in zip(self.inputs, self._required, strict=False) if not needed
        )
        self._specs: dict[str, Any] = {each.name: each for each in (kept.params.params if kept.params else ())}
        self.params = {name: spec.default for name, spec in self._specs.items()}

    def _of_tensor(self, inputs: list[Any]) -> tuple[Input, ...]:
        shape: tuple[int, ...] = inputs[0].shape
        matrix = len(inputs) == 1 and inputs[0].name is None and len(shape) == 2
        if not matrix or shape[0] != -1 or shape[1] < 1 or inputs[0].type.kind not in "biuf":
            said = ", ".join(f"{each.name or 'a tensor'} {each.type}{list(each.shape)}" for each in inputs)
            raise UnknownInputsError(f"the signature asks for {said}, which are no rows")
        self.tensor = inputs[0].type
        return tuple(Input(name=f"x{place}", kind="number", origin="spine") for place in range(shape[1]))

    def _of_column(self, column: Any) -> Input:
        known = self._known.get(str(column.name))
        kind = KINDS.get(getattr(column.type, "name", "")) or known
        if column.name is None or kind is None:
            name = "a column without a name" if column.name is None else repr(column.name)
            raise UnknownInputsError(f"the signature asks for {name}, {column.type}")
        self._types.append(getattr(column.type, "name", ANY))
        self._required.append(bool(column.required) or known is not None)
        self._nulls.append(not column.required or known is not None)
        return Input(name=str(column.name), kind=kind, origin="spine")

    def data(self, rows: Sequence[Row]) -> Any:
        """Rows as the model is given them: a DataFrame in the signature's types, or an array.

        Raises:
            DataError: a value is not of its type.
        """
        if self.tensor is not None:
            if any(None in row for row in rows):
                raise DataError("a tensor has no nulls.")
            return _tensor(np.asarray(rows), self.tensor)
        import pandas as pd

        columns = zip(*rows, strict=True)
        described = zip(self.inputs, self._types, self._nulls, columns, strict=True)
        return pd.DataFrame(
            {column.name: _cast(column.name, kind, list(values), nulls) for column, kind, nulls, values in described}
        )

    def asked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a request: those that it gives, of the signature's types, and the defaults of the rest.

        Raises:
            DataError: one is unknown, or of another type.
        """
        from mlflow.exceptions import MlflowException

        found = dict(self.params)
        for name, value in given.items():
            if name not in self._specs:
                known = f"it takes {', '.join(self._specs)}" if self._specs else "it takes none"
                raise DataError(f"{name[:80]!r} is no parameter of this model; {known}.")
            spec = self._specs[name]
            try:
                found[name] = spec.validate_param_spec(value, spec)
            except MlflowException:
                shape = "a list of " if spec.shape else ""
                raise DataError(f"parameter {name!r} is not {shape}{spec.dtype}.") from None
        return found


def _tensor(given: Any, kind: Any) -> Any:
    """An array in the type of the signature, when it can hold every number."""
    if kind.kind in "biu":
        limits = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
        held = (given == np.floor(given.astype("float64"))) & (given >= limits[0]) & (given <= limits[1])
    else:
        with np.errstate(over="ignore"):
            held = np.isfinite(given.astype("float64").astype(kind))
    if not held.all():
        row, place = (int(each[0]) for each in np.nonzero(~held))
        raise DataError(f"row {row}: value {place} is nothing that {kind} of the model's signature can hold.")
    return given.astype(kind)


def _cast(name: str, kind: str, values: list[Any], nulls: bool) -> Any:
    missing = [place for place, value in enumerate(values) if value is None]
    if missing and not nulls and (kind in WHOLE or kind == "boolean"):  # the others have a missing value, as in MLflow
        raise DataError(f"row {missing[0]}: {name!r} is null, and the model's signature requires it.")
    if kind in FLOATS:
        with np.errstate(over="ignore"):
            return np.asarray(values, dtype="float64").astype(FLOATS[kind])
    if kind in ("string", ANY):
        return np.asarray(values, dtype=object)
    if kind == "datetime":
        return _times(name, values)
    limits = (0, 1) if kind == "boolean" else (np.iinfo(WHOLE[kind]).min, np.iinfo(WHOLE[kind]).max)
    for place, value in enumerate(values):
        if value is not None and not (value == int(value) and limits[0] <= value <= limits[1]):
            raise DataError(f"row {place}: {name!r} is no {kind} of the model's signature.")
    if missing:  # an integer has no missing value: the model has its say
        return np.asarray(values, dtype="float64" if kind in WHOLE else object)
    return np.asarray([int(value) for value in values]).astype(WHOLE.get(kind, "bool"))


def _times(name: str, values: list[Any]) -> Any:
    import pandas as pd

    text: Literal["ISO8601"] | None = "ISO8601" if any(isinstance(value, str) for value in values) else None
    try:
        times = cast("pd.Series[Any]", pd.to_datetime(pd.Series(values, dtype=object), format=text))
        if times.dt.tz is not None:
            times = times.dt.tz_convert("UTC").dt.tz_localize(None)
        return times.astype("datetime64[ns]")
    except (TypeError, ValueError, AttributeError, ArithmeticError):
        raise DataError(f"{name!r} holds no times of one kind: some have a zone, or are too far away.") from None
