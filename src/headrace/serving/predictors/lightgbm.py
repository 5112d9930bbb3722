"""LightGBM by its C interface, which needs neither its Python package nor pandas.

Several rows are computed from the same trees by bit vectors, where that gives the same bits (`training.quick_scorer`).
"""

from __future__ import annotations

import ctypes
import json
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.serving.predictors.base import UnfitError
from headrace.serving.predictors.shared import shared
from headrace.training.quick_scorer import FEW, QuickScorer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from headrace.serving.predictors.base import Numbers

PARAMETERS = b"num_threads=1"
DOUBLE, ROWS_FIRST, NORMAL, FROM_START, TO_BEST = 1, 1, 0, 0, -1
SEVERAL = 10  # rows; fewer are quicker tree by tree
LARGEST = 4 * 2**20  # bytes of a model; the tables of a larger one take long to make, and fit no processor's cache


class LightGBM:
    """A booster.

    Args:
        folder: of the estimator.
        alone: the block of one that `one` reads.
        spec: of the package.
    """

    def __init__(self, folder: Path, alone: Numbers, spec: Mapping[str, Any]) -> None:
        del spec
        self._library = shared("lightgbm", "lib_lightgbm")
        self._library.LGBM_GetLastError.restype = ctypes.c_char_p
        self._handle, rounds = ctypes.c_void_p(), ctypes.c_int()
        file = str(folder / "model.txt").encode()
        self._load("LGBM_BoosterCreateFromModelfile", file, ctypes.byref(rounds), ctypes.byref(self._handle))
        weakref.finalize(self, self._library.LGBM_BoosterFree, self._handle)
        outputs, width = ctypes.c_int(), alone.shape[1]
        self._load("LGBM_BoosterGetNumClasses", self._handle, ctypes.byref(outputs))
        self.outputs = outputs.value
        self._fast = ctypes.c_void_p()
        self._load(
            "LGBM_BoosterPredictForMatSingleRowFastInit",
            self._handle, NORMAL, FROM_START, TO_BEST, DOUBLE, width, PARAMETERS, ctypes.byref(self._fast),
        )  # fmt: skip
        weakref.finalize(self, self._library.LGBM_FastConfigFree, self._fast)
        self._alone = alone
        self._alone_at = ctypes.c_void_p(alone.ctypes.data)
        self._out = (ctypes.c_double * self.outputs)()
        self._length = ctypes.c_int64()
        self._length_at = ctypes.byref(self._length)
        self._predict_one = self._library.LGBM_BoosterPredictForMatSingleRowFast
        self._predict = self._library.LGBM_BoosterPredictForMat
        self._text = folder / "model.txt"
        self._quick = QuickScorer.of(self) if self._text.stat().st_size <= LARGEST else None

    def one(self) -> list[float]:
        """See Scorer."""
        if self._predict_one(self._fast, self._alone_at, self._length_at, self._out) != 0:
            raise RuntimeError(self._problem())
        return self._out[:]

    def many(self, block: Numbers) -> Numbers:
        """See Scorer."""
        quick, rows = self._quick, len(block)
        if quick is None or rows < SEVERAL:
            return self._walked(block)
        found = quick.predict_few(block) if rows <= FEW else quick.predict(list(np.ascontiguousarray(block.T)))
        return found.reshape(rows, self.outputs)

    def dump_model(self) -> dict[str, Any]:
        """The trees, as LightGBM's Python package has them."""
        length = ctypes.c_int64()
        size = 2**20
        while True:
            told = ctypes.create_string_buffer(size)
            self._load(
                "LGBM_BoosterDumpModel",
                self._handle, FROM_START, TO_BEST, 0, ctypes.c_int64(size), ctypes.byref(length), told,
            )  # fmt: skip
            if length.value <= size:
                return json.loads(told.value)
            size = length.value

    def model_to_string(self) -> str:
        """The model's file."""
        return self._text.read_text(encoding="utf-8")

    def predict(self, block: Numbers) -> Numbers:
        """What `many` has to give: one number a row, or rows by classes."""
        found = self._walked(block)
        return found[:, 0] if self.outputs == 1 else found

    def _walked(self, block: Numbers) -> Numbers:
        rows, width = block.shape
        out, length = np.empty((rows, self.outputs)), ctypes.c_int64()
        failed = self._predict(
            self._handle, ctypes.c_void_p(block.ctypes.data), DOUBLE, rows, width, ROWS_FIRST,
            NORMAL, FROM_START, TO_BEST, PARAMETERS, ctypes.byref(length), ctypes.c_void_p(out.ctypes.data),
        )  # fmt: skip
        if failed:
            raise RuntimeError(self._problem())
        return out

    def _load(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, name)(*arguments) != 0:
            raise UnfitError(self._problem())

    def _problem(self) -> str:
        return f"LightGBM: {self._library.LGBM_GetLastError().decode(errors='replace')}"
