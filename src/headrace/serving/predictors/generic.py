"""The tier `generic`: prediction as in batch scoring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import HeadraceError
from headrace.serving.manifest import PACKAGE
from headrace.serving.predictors.base import UnfitError
from headrace.serving.predictors.frames import frame, lists

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.serving.predictors.base import Answer, Row


class Generic:
    """A DataFrame through `scoring.Predictor`."""

    tier = "generic"

    def __init__(self, folder: Path) -> None:
        from headrace.scoring.predictor import PackagePredictor

        try:
            self._packaged = PackagePredictor(folder / PACKAGE)
        except HeadraceError as error:
            raise UnfitError(str(error)) from error
        self._inputs = [column.name for column in self._packaged.plan.inputs]
        self.columns = self._packaged.columns

    def many(self, rows: list[Row]) -> list[Answer]:
        """See PackagePredictor."""
        return lists(self._packaged.predict(frame(self._inputs, rows)))

    def one(self, row: Row) -> Answer:
        """See PackagePredictor."""
        return self.many([row])[0]
