"""The task `Regression`: a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.training.tasks.base import PREDICTION, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from headrace.training.calibration import Calibration
    from headrace.training.tasks.base import Class, Numbers


@dataclass(frozen=True)
class Regression(Task):
    """A number. The output is `prediction`, in the unit of the label.

    Args:
        label: a column of finite numbers.

    Example:
        >>> import pandas as pd
        >>> orders = hr.Table("gold.orders", key="order_id", time="delivered_at", sql="SELECT * FROM bronze.orders")
        >>> task = hr.Regression(label=orders["delivery_hours"])
        >>> task.metrics, task.baseline(pd.Series([20.0, 30.0, 46.0]))
        (('rmse', 'mae', 'r2'), {'prediction': 32.0})
    """

    name = "Regression"
    metrics = ("rmse", "mae", "r2")
    scalar = "number"
    mean_output = PREDICTION

    def columns(self, classes: Sequence[Class]) -> list[str]:
        """See Task."""
        del classes
        return [PREDICTION]

    def finish(
        self, numbers: Numbers, classes: Sequence[Class], calibration: Calibration | None
    ) -> Mapping[str, Numbers]:
        """See Task."""
        del classes, calibration
        return {PREDICTION: numbers}

    def baseline(self, y: pd.Series) -> Mapping[str, float]:
        """The mean of the labels."""
        return {PREDICTION: float(y.astype("float64").mean())}

    def plots(self, y: pd.Series, output: pd.DataFrame) -> Mapping[str, object]:
        """Predicted against true."""
        from headrace.training.plots import predicted

        return {"predicted.png": predicted(y, output[PREDICTION])} if len(y) else {}
