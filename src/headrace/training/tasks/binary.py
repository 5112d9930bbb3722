"""The task `Binary`: yes or no."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Literal

from headrace.core.errors import DataError
from headrace.training.tasks.base import PROBABILITY, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from headrace.training.calibration import Calibration
    from headrace.training.tasks.base import Class, Numbers


@dataclass(frozen=True)
class Binary(Task):
    """Yes or no. The output is `probability`, of the label being true, from 0 to 1.

    Args:
        label: a column of booleans or of 0 and 1; with `positive`, of two values.
        positive: the value that counts as true, `"yes"`; the other one counts as false. Defaults to none: the label is true or
            false itself.
        calibrate: `"isotonic"` fits a monotone correction on held-out rows; defaults to none.

    Example:
        >>> import pandas as pd
        >>> arrivals = hr.Table("gold.arrivals", key="flight_id", time="landed_at", sql="SELECT * FROM bronze.arrivals")
        >>> task = hr.Binary(label=arrivals["status"], positive="late", calibrate="isotonic")
        >>> task.check(pd.Series(["late", "on time", "late"])).tolist()
        [1.0, 0.0, 1.0]
    """

    name = "Binary"
    method = "predict_proba"
    metrics = ("roc_auc", "log_loss", "brier", "average_precision", "accuracy")
    scalar = "probability"
    mean_output = PROBABILITY
    probability_output = PROBABILITY

    _: KW_ONLY
    positive: bool | float | str | None = None
    calibrate: Literal["isotonic"] | None = None

    def check(self, values: pd.Series) -> pd.Series:
        """Labels as 0.0 and 1.0; see Task."""
        if self.positive is not None:
            return self._beside_the_other(values)
        found = values.unique().tolist()
        hint = f"Say which value counts as true: hr.{self.name}(…, positive={found[-1]!r})." if len(found) == 2 else ""
        self.refuse(values, ~values.isin([0, 1, True, False]).to_numpy(), "neither true nor false (nor 1 or 0)", hint)
        return values.astype("float64")

    def _beside_the_other(self, values: pd.Series) -> pd.Series:
        """1.0 for the positive value, 0.0 for the one other value."""
        others = [each for each in values.unique().tolist() if each != self.positive]
        positive = values == self.positive
        if len(others) > 1 and not positive.any():
            raise DataError(
                f"no label {self.label.table.name}.{self.label.name} is {self.positive!r}; there are {others[:5]!r}.",
                hint="positive= is the value that counts as true, as it is written in the column.",
            )
        if len(others) > 1:
            self.refuse(
                values, ~(positive | (values == others[0])).to_numpy(), f"neither {self.positive!r} nor {others[0]!r}"
            )
        return positive.astype("float64")

    def cast(self, y: pd.Series) -> pd.Series:
        """0 and 1 as int64."""
        return y.astype("int64")

    def classes(self, y: pd.Series) -> tuple[Class, ...]:
        """Always 0 and 1."""
        del y
        return (0, 1)

    def classes_of(self, known: Sequence[object]) -> Sequence[object]:
        """0 and 1, where the estimator knows the two values of the column; see Task."""
        if self.positive is None or len(known) != 2 or self.positive not in known:
            return known
        return [int(each == self.positive) for each in known]

    def columns(self, classes: Sequence[Class]) -> list[str]:
        """See Task."""
        del classes
        return [PROBABILITY]

    def finish(
        self, numbers: Numbers, classes: Sequence[Class], calibration: Calibration | None
    ) -> Mapping[str, Numbers]:
        """See Task."""
        del classes
        yes = numbers[:, 1]
        return {PROBABILITY: yes if calibration is None else calibration.apply(yes)}

    def baseline(self, y: pd.Series) -> Mapping[str, float]:
        """The share of the labels that are true."""
        return {PROBABILITY: float(y.astype("float64").mean())}

    @property
    def sets_aside(self) -> bool:
        """Whether the probabilities are calibrated."""
        return self.calibrate is not None

    def calibration(self, raw: pd.DataFrame, y: pd.Series) -> Calibration | None:
        """The isotonic map, where one is declared."""
        from headrace.training.calibration import isotonic

        return None if self.calibrate is None else isotonic(raw[PROBABILITY].to_numpy(), y)

    def plots(self, y: pd.Series, output: pd.DataFrame) -> Mapping[str, object]:
        """The ROC curve and the calibration curve, where both labels are there."""
        from headrace.training.plots import calibration, roc

        if y.nunique() != 2:
            return {}
        return {"roc.png": roc(y, output[PROBABILITY]), "calibration.png": calibration(y, output[PROBABILITY])}
