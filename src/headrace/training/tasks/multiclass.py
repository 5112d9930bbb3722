"""The task `Multiclass`: one of several classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.errors import DataError
from headrace.training.tasks.base import PREDICTION, PROBABILITY, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import pandas as pd

    from headrace.training.calibration import Calibration
    from headrace.training.tasks.base import Class, Numbers

PREFIX = f"{PROBABILITY}_"


@dataclass(frozen=True)
class Multiclass(Task):
    """One of several classes. The output is `prediction`, the most probable one, and `probability_<class>` for each class.

    Args:
        label: a column of texts or of whole numbers below 2^63.

    Example:
        >>> tumours = hr.Table("gold.tumours", key="sample_id", time="graded_at", sql="SELECT * FROM bronze.tumours")
        >>> hr.Multiclass(label=tumours["grade"]).columns(("benign", "malignant", "unclear"))
        ['prediction', 'probability_benign', 'probability_malignant', 'probability_unclear']
    """

    name = "Multiclass"
    method = "predict_proba"
    metrics = ("accuracy", "log_loss", "f1_macro")
    scalar = "classes"
    checks_order = True

    def check(self, values: pd.Series) -> pd.Series:
        """Labels as texts and whole numbers; see Task."""
        from headrace.training.classes import plain

        classes, fits = plain(values)
        self.refuse(values, ~fits.to_numpy(), "no class, which is a text or a whole number below 2^63")
        return classes

    def cast(self, y: pd.Series) -> pd.Series:
        """The classes as they are."""
        return y.infer_objects()

    def classes(self, y: pd.Series) -> tuple[Class, ...]:
        """Those of the labels to fit on, sorted."""
        return tuple(sorted(y.unique().tolist()))

    def check_classes(self, y: pd.Series) -> None:
        """Refuses classes that differ only in case: a table's columns are the same in upper and lower case.

        Raises:
            DataError: there are two such classes.
        """
        first: dict[str, Class] = {}
        for name in self.classes(y):
            other = first.setdefault(str(name).lower(), name)
            if other != name:
                raise DataError(
                    f"the classes {other!r} and {name!r} of {self.label.table.name}.{self.label.name} differ only in "
                    f"upper and lower case: both would be the column {f'{PREFIX}{name}'.lower()!r} of predictions.",
                    hint="Make them one in the table's SQL, lower(…), or give one of them another name.",
                )

    def columns(self, classes: Sequence[Class]) -> list[str]:
        """See Task."""
        return [PREDICTION, *(f"{PREFIX}{name}" for name in classes)]

    def finish(
        self, numbers: Numbers, classes: Sequence[Class], calibration: Calibration | None
    ) -> Mapping[str, np.ndarray[Any, Any]]:
        """See Task."""
        import numpy as np

        del calibration
        chosen = np.asarray(classes, dtype=object)[numbers.argmax(axis=1)]
        return {PREDICTION: chosen, **{f"{PREFIX}{name}": numbers[:, place] for place, name in enumerate(classes)}}

    def empty(self, classes: Sequence[Class]) -> pd.DataFrame:
        """See Task."""
        frame = super().empty(classes)
        frame[PREDICTION] = frame[PREDICTION].astype("int64" if isinstance(classes[0], int) else "str")
        return frame

    def baseline(self, y: pd.Series) -> Mapping[str, float | int | str]:
        """The most frequent class, and the share of each."""
        shares = y.value_counts(normalize=True).sort_index()
        most: Any = shares.idxmax()
        return {PREDICTION: most, **{f"{PREFIX}{name}": float(share) for name, share in shares.items()}}

    def watched(self, names: Sequence[str]) -> list[str]:
        """The predicted class, and every probability that the table has."""
        return [*super().watched(names), *(name for name in names if name.startswith(PREFIX))]
