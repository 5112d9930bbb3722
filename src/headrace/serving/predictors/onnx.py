"""ONNX graphs on a block, run as `training.onnx` runs them everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.core.errors import HeadraceError
from headrace.serving.predictors.base import UnfitError
from headrace.training.onnx import FILE, Graph

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from headrace.serving.predictors.base import Numbers


class Onnx:
    """A graph.

    Args:
        folder: of the estimator.
        alone: the block of one that `one` reads.
        spec: of the package.
    """

    def __init__(self, folder: Path, alone: Numbers, spec: Mapping[str, Any]) -> None:
        try:
            self._graph = Graph((folder / FILE).read_bytes())
        except HeadraceError as error:
            raise UnfitError(str(error)) from error
        self._names = [feature["name"] for feature in spec["plan"]["features"]]
        self._texts: Mapping[str, list[str]] = spec["categories"]
        self._alone = alone
        self.outputs = self.many(alone).shape[1]

    def one(self) -> list[float]:
        """See Scorer."""
        return self.many(self._alone)[0].tolist()

    def many(self, block: Numbers) -> Numbers:
        """See Scorer."""
        return self._graph.numbers(block, self._names, self._texts).reshape(len(block), -1)
