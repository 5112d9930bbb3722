"""Three ways to predict with a version, the fastest first; each is used only if it answers the parity file to the last bit.

`native`: LightGBM's C library on a float64 block, without pandas and without the Python package of LightGBM.
`generic`: the way of batch scoring, a DataFrame through `scoring.Predictor`.
`pyfunc`: MLflow itself, imported for this tier only.
"""

from __future__ import annotations

import ctypes
import json
import time
import weakref
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from headrace.core.errors import DataError
from headrace.features.plan import FeaturePlan
from headrace.serving.manifest import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.serving.manifest import Parity

Row = list[Any]
Answer = list[Any]


class UnfitError(Exception):
    """A tier cannot take this version; the text says why."""


class Predictor(Protocol):
    """Rows in the order of the plan's inputs → outputs in the order of `columns`.

    Attributes:
        tier: its name.
        columns: of the output.
    """

    tier: str
    columns: tuple[str, ...]

    def many(self, rows: list[Row]) -> list[Answer]:
        """The outputs of each row."""
        ...

    def one(self, row: Row) -> Answer:
        """The output of one row asked alone."""
        ...


def choose(folder: Path, parity: Parity) -> tuple[Predictor, list[str]]:
    """The first tier that answers the parity file to the last bit, and why faster ones do not.

    Args:
        folder: of a version's copy.
        parity: its file.

    Raises:
        DataError: none does.
    """
    reasons: list[str] = []
    for tier in TIERS:
        try:
            predictor = tier(folder)
            _compare(predictor, parity)
        except UnfitError as error:
            reasons.append(f"{tier.tier}: {error}")
        else:
            return predictor, reasons
    raise DataError(
        f"the version in {str(folder)!r} does not answer its own samples as MLflow's pyfunc did.",
        findings=reasons,
        hint="Other versions of its libraries are installed here: compare requirements.txt beside it.",
    )


def cost(predictor: Predictor, row: Row) -> tuple[float, float]:
    """Seconds that a call takes, and seconds for each row more."""
    one = _seconds(lambda: predictor.one(row))
    many = _seconds(lambda: predictor.many([row] * 101))
    return one, max(many - one, 0.0) / 100


def _seconds(call: Callable[[], object]) -> float:
    taken: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return sorted(taken)[len(taken) // 2]


def _compare(predictor: Predictor, parity: Parity) -> None:
    if predictor.columns != parity.output_columns:
        raise UnfitError(f"gives {', '.join(predictor.columns)} for {', '.join(parity.output_columns)}")
    rows = [list(row) for row in parity.rows]
    found = predictor.many(rows) if rows else []
    differ = sum(mine != list(theirs) for mine, theirs in zip(found, parity.outputs, strict=True))
    alone = sum(predictor.one(row) != list(theirs) for row, theirs in zip(rows, parity.alone, strict=False))
    if differ or alone:
        raise UnfitError(f"{differ} of {len(rows)} samples differ, {alone} of {len(parity.alone)} asked alone")


class Native:
    """A LightGBM booster by its C interface. `one` is for one thread only; `many` may run beside it."""

    tier = "native"

    def __init__(self, folder: Path) -> None:
        spec = json.loads((folder / PACKAGE / "spec.json").read_text(encoding="utf-8"))
        if spec["estimator"] != "lightgbm":
            raise UnfitError(f"the estimator is kept as {spec['estimator']}")
        plan = FeaturePlan.from_json(spec["plan"])
        if plan.calls:
            raise UnfitError(
                f"on-demand features are computed by pandas: {', '.join(call.function for call in plan.calls)}"
            )
        inputs = [column.name for column in plan.inputs]
        self._from = [inputs.index(feature.name) for feature in plan.features]
        self._codes: list[dict[str, float] | None] = [
            {value: float(place) for place, value in enumerate(spec["categories"][feature.name])}
            if feature.kind == "string"
            else None
            for feature in plan.features
        ]
        self._straight = self._from == list(range(len(inputs))) and all(codes is None for codes in self._codes)
        self._task, self._classes = spec["task"], spec["classes"]
        self.columns = _columns(self._task, self._classes)
        self._points = None if spec["calibration"] is None else np.asarray(spec["calibration"]["points"])
        self._rates = None if spec["calibration"] is None else np.asarray(spec["calibration"]["rates"])
        self._load(folder / PACKAGE / "estimator" / "model.txt", len(plan.features))

    def _load(self, file: Path, width: int) -> None:
        self._library = _library()
        self._handle, rounds = ctypes.c_void_p(), ctypes.c_int()
        self._call(
            "LGBM_BoosterCreateFromModelfile", str(file).encode(), ctypes.byref(rounds), ctypes.byref(self._handle)
        )
        weakref.finalize(self, self._library.LGBM_BoosterFree, self._handle)
        classes = ctypes.c_int()
        self._call("LGBM_BoosterGetNumClasses", self._handle, ctypes.byref(classes))
        self._outputs, self._width = classes.value, width
        self._fast = ctypes.c_void_p()
        self._parameters = b"num_threads=1"
        self._call(
            "LGBM_BoosterPredictForMatSingleRowFastInit",
            self._handle, 0, 0, -1, 1, width, self._parameters, ctypes.byref(self._fast),
        )  # fmt: skip
        weakref.finalize(self, self._library.LGBM_FastConfigFree, self._fast)
        self._row = (ctypes.c_double * width)()
        self._out = (ctypes.c_double * self._outputs)()
        self._row_at = ctypes.cast(self._row, ctypes.c_void_p)
        self._length = ctypes.c_int64()
        self._length_at = ctypes.byref(self._length)
        self._predict_one = self._library.LGBM_BoosterPredictForMatSingleRowFast

    def one(self, row: Row) -> Answer:
        """See Predictor."""
        self._row[:] = self._encoded(row)
        if self._predict_one(self._fast, self._row_at, self._length_at, self._out) != 0:
            raise RuntimeError(self._problem())
        return self._answer(self._out[:])

    def many(self, rows: list[Row]) -> list[Answer]:
        """See Predictor."""
        block = np.array([self._encoded(row) for row in rows], dtype=np.float64)
        out = np.empty((len(rows), self._outputs))
        length = ctypes.c_int64()
        self._call(
            "LGBM_BoosterPredictForMat",
            self._handle, ctypes.c_void_p(block.ctypes.data), 1, ctypes.c_int32(len(rows)), ctypes.c_int32(self._width), 1,
            0, 0, -1, self._parameters, ctypes.byref(length), out.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
        )  # fmt: skip
        if self._task == "Binary":
            return [[value] for value in self._calibrated(out[:, 0]).tolist()]
        return [self._answer(values) for values in out.tolist()]

    def _encoded(self, row: Row) -> list[float]:
        if self._straight:
            return [NAN if value is None else value for value in row] if None in row else row
        encoded: list[float] = []
        for place, codes in zip(self._from, self._codes, strict=True):
            value = row[place]
            encoded.append(NAN if value is None else value if codes is None else codes.get(value, NAN))
        return encoded

    def _answer(self, values: list[float]) -> Answer:
        if self._task == "Binary":
            return [float(self._calibrated(np.float64(values[0])))]
        if self._task == "Regression":
            return [values[0]]
        if len(self._classes) == 2:  # the library gives one probability for two classes
            values = [1.0 - values[0], values[0]] if len(values) == 1 else values
        return [self._classes[int(np.argmax(values))], *values]

    def _calibrated(self, values: Any) -> Any:
        return values if self._points is None or self._rates is None else np.interp(values, self._points, self._rates)

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, name)(*arguments) != 0:
            raise UnfitError(self._problem())

    def _problem(self) -> str:
        self._library.LGBM_GetLastError.restype = ctypes.c_char_p
        return f"LightGBM: {self._library.LGBM_GetLastError().decode(errors='replace')}"


class Generic:
    """The way of batch scoring."""

    tier = "generic"

    def __init__(self, folder: Path) -> None:
        from headrace.core.errors import HeadraceError
        from headrace.scoring.predictor import Predictor as Packaged
        from headrace.training.output import columns

        try:
            self._packaged = Packaged(folder / PACKAGE)
        except HeadraceError as error:
            raise UnfitError(str(error)) from error
        self._inputs = [column.name for column in self._packaged.plan.inputs]
        self.columns = tuple(columns(self._packaged.spec.task, self._packaged.spec.classes))

    def many(self, rows: list[Row]) -> list[Answer]:
        """See Predictor."""
        return _lists(self._packaged.predict(_frame(self._inputs, rows)))

    def one(self, row: Row) -> Answer:
        """See Predictor."""
        return self.many([row])[0]


class Pyfunc:
    """MLflow's own way."""

    tier = "pyfunc"

    def __init__(self, folder: Path) -> None:
        from mlflow.exceptions import MlflowException
        from mlflow.pyfunc import load_model

        try:
            self._model: Any = load_model(str(folder))
        except (MlflowException, OSError, ImportError) as error:
            raise UnfitError(str(error)) from error
        self._inputs = list(self._model.metadata.signature.inputs.input_names())
        self.columns = tuple(self._model.metadata.signature.outputs.input_names())

    def many(self, rows: list[Row]) -> list[Answer]:
        """See Predictor."""
        return _lists(self._model.predict(_frame(self._inputs, rows)))

    def one(self, row: Row) -> Answer:
        """See Predictor."""
        return self.many([row])[0]


TIERS: tuple[type[Native | Generic | Pyfunc], ...] = (Native, Generic, Pyfunc)
NAN = float("nan")


def _library() -> Any:
    """LightGBM's shared library, found without importing its package, which takes pandas, SciPy and a second along."""
    found = find_spec("lightgbm")
    places = list(found.submodule_search_locations or ()) if found else []
    for place in places:
        for file in (Path(place) / "lib" / "lib_lightgbm.so", Path(place) / "lib" / "lib_lightgbm.dylib"):
            if file.is_file():
                return ctypes.CDLL(str(file))
    raise UnfitError("LightGBM's library was not found")


def _columns(task: str, classes: Sequence[Any]) -> tuple[str, ...]:
    return ("probability",) if task == "Binary" else ("prediction", *(f"probability_{name}" for name in classes))


def _frame(names: Sequence[str], rows: list[Row]) -> Any:
    import pandas as pd

    columns = list(zip(*rows, strict=True))
    return pd.DataFrame(
        {name: pd.Series(list(column), dtype=object) for name, column in zip(names, columns, strict=True)}
    )


def _lists(frame: Any) -> list[Answer]:
    return frame.astype(object).to_numpy().tolist()
