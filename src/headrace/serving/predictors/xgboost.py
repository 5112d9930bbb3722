"""XGBoost by its C interface, which needs neither its Python package nor pandas.

Only trees without dropout are supported: XGBoost documents its other boosters as not thread-safe.
"""

from __future__ import annotations

import ctypes
import json
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.core.errors import UserCodeError
from headrace.serving.predictors.base import UnfitError
from headrace.serving.predictors.shared import shared

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from headrace.serving.predictors.base import Numbers

LARGEST = float(np.finfo(np.float32).max)  # the library computes in float32


class XGBoost:
    """A booster.

    Args:
        folder: of the estimator.
        alone: the block of one that `one` reads.
        spec: of the package.
    """

    def __init__(self, folder: Path, alone: Numbers, spec: Mapping[str, Any]) -> None:
        missing: float | None = spec["settings"]["missing"]
        self._library = shared("xgboost", "libxgboost")
        self._library.XGBGetLastError.restype = ctypes.c_char_p
        self._handle = ctypes.c_void_p()
        self._load("XGBoosterCreate", None, ctypes.c_uint64(0), ctypes.byref(self._handle))
        weakref.finalize(self, self._library.XGBoosterFree, self._handle)
        self._load("XGBoosterLoadModel", self._handle, str(folder / "model.json").encode())
        self._load("XGBoosterSetParam", self._handle, b"nthread", b"1")
        kind = self._kind()
        if kind != "gbtree":
            raise UnfitError(f"the booster is {kind}")
        self._asked = json.dumps(
            {
                "type": 0,
                "training": False,
                "iteration_begin": 0,
                "iteration_end": self._rounds(),
                "missing": float("nan") if missing is None else missing,
                "strict_shape": True,
                "cache_id": 0,
            }
        ).encode()
        self._alone, self._alone_at = alone, _described(alone)
        self._predict = self._library.XGBoosterPredictFromDense
        self.outputs = self._of(alone, self._alone_at).shape[1]

    def one(self) -> list[float]:
        """See Scorer."""
        return self._of(self._alone, self._alone_at)[0].tolist()

    def many(self, block: Numbers) -> Numbers:
        """See Scorer."""
        return self._of(block, _described(block)).astype(np.float64)

    def _of(self, block: Numbers, described: bytes) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The library's own memory, which its next call in this thread overwrites."""
        if (np.abs(block) > LARGEST).any():
            raise UserCodeError("a value is too large for XGBoost, which computes in float32.")
        shape, dimensions = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        numbers = ctypes.POINTER(ctypes.c_float)()
        failed = self._predict(
            self._handle, described, self._asked, None,
            ctypes.byref(shape), ctypes.byref(dimensions), ctypes.byref(numbers),
        )  # fmt: skip
        if failed:
            raise RuntimeError(self._problem())
        if dimensions.value != 2:
            raise UnfitError(f"the booster gives {dimensions.value} dimensions")
        return np.ctypeslib.as_array(numbers, shape=(shape[0], shape[1]))

    def _kind(self) -> str:
        length, text = ctypes.c_uint64(), ctypes.c_char_p()
        self._load("XGBoosterSaveJsonConfig", self._handle, ctypes.byref(length), ctypes.byref(text))
        return json.loads(text.value or b"{}")["learner"]["gradient_booster"]["name"]

    def _rounds(self) -> int:
        """Up to the best one, where fitting stopped early; 0 is all."""
        best, found = ctypes.c_char_p(), ctypes.c_int()
        self._load("XGBoosterGetAttr", self._handle, b"best_iteration", ctypes.byref(best), ctypes.byref(found))
        return int(best.value) + 1 if found.value and best.value else 0

    def _load(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, name)(*arguments) != 0:
            raise UnfitError(self._problem())

    def _problem(self) -> str:
        return f"XGBoost: {self._library.XGBGetLastError().decode(errors='replace').splitlines()[0]}"


def _described(block: Numbers) -> bytes:
    """The array interface of NumPy, as text."""
    rows, width = block.shape
    place = block.ctypes.data
    return f'{{"data":[{place},true],"shape":[{rows},{width}],"typestr":"<f8","version":3}}'.encode()
