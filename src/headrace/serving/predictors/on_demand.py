"""On-demand features of rows: pandas is used only for the inputs and results of the functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.core.errors import HeadraceError
from headrace.serving.predictors.base import UnfitError

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.features.plan import FeaturePlan
    from headrace.serving.predictors.base import Row


class OnDemandCalls:
    """The functions of a package, called as `features.matrix` calls them.

    Args:
        folder: of the package.
        plan: of its features.

    Attributes:
        names: of what they give, in order.

    Raises:
        UnfitError: the package's code cannot be loaded.
    """

    def __init__(self, folder: Path, plan: FeaturePlan) -> None:
        from headrace.scoring.predictor import on_demand
        from headrace.training.package import read_spec

        try:
            self._functions = on_demand(folder, read_spec(folder))
        except HeadraceError as error:
            raise UnfitError(str(error)) from error
        self._calls = plan.calls
        self.names = [name for call in plan.calls for name, _ in call.outputs]
        taken = {name for call in plan.calls for name in call.inputs}
        self._inputs = [(place, column) for place, column in enumerate(plan.inputs) if column.name in taken]

    def columns(self, rows: list[Row]) -> list[list[Any]]:
        """What they give for rows, one list a name.

        Raises:
            DataError: a value cannot be read as declared.
            UserCodeError: a function raised, or gave the wrong thing.
        """
        import pandas as pd

        from headrace.features.matrix import answer, cast

        inputs = {
            column.name: cast(column.name, pd.Series([row[place] for row in rows], dtype=object), column.kind)
            for place, column in self._inputs
        }
        given: list[list[Any]] = []
        for call in self._calls:
            outputs = answer(call, self._functions[call.function], inputs)
            given += [outputs[name].to_list() for name, _ in call.outputs]
        return given
