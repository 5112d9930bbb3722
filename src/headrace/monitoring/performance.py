"""Records of a version's quality: metrics, windows, and all windows as of a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import NotFoundError

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.core.ids import Json
    from headrace.monitoring.declarations import Granularity
    from headrace.monitoring.label_join import NotCounted


@dataclass(frozen=True, kw_only=True)
class Performance:
    """A metric in one window, on all rows or on a slice of them.

    Attributes:
        slice_key: a feature or a column of the predictions; None for all rows.
        slice_value: its value as text, by `slice_text`.
        value: None where it is not defined, such as an AUC of one class.
        low: of the 95 % interval.
        high: of the 95 % interval.
        rows: predictions.
        labelled: those whose label is known.
        judged: whether it counts: the window is mature and has enough labels.
        reason: why there is no value, or why it does not count.
        earlier: what it was when the window was judged before labels came late.
        estimated: what was to be expected without labels, on all rows of the window; see `estimated`.
        estimated_error: estimated - value, where the value is judged.
        not_estimated: why there is no estimate.
    """

    metric: str
    slice_key: str | None = None
    slice_value: str | None = None
    value: float | None
    low: float | None
    high: float | None
    rows: int
    labelled: int
    judged: bool
    reason: str = ""
    earlier: float | None = None
    estimated: float | None = None
    estimated_error: float | None = None
    not_estimated: str = ""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Decisions of one stretch of time.

    Attributes:
        start: UTC.
        end: the first moment after it.
        rows: predictions.
        labelled: those whose label is known.
        label_mean: mean of the known labels (the rate of a binary one); None for classes, or without labels.
        prediction_mean: mean of the predictions for the same rows.
        mature: whether its labels have had time to come.
        reopened: whether it had been judged before labels came late.
        measures: on all rows first.
        state: changes with every prediction and label in it.
        basis: changes with what is measured and how it is judged.
        as_of: the moment by which labels were known.
    """

    granularity: Granularity
    start: datetime
    end: datetime
    rows: int
    labelled: int
    label_mean: float | None
    prediction_mean: float | None
    mature: bool
    reopened: bool
    measures: tuple[Performance, ...]
    state: str
    basis: str
    as_of: datetime

    @property
    def month(self) -> str:
        """Of its beginning: `2013-05`."""
        return f"{self.start:%Y-%m}"

    @property
    def coverage(self) -> float:
        """The share of the predictions whose label is known."""
        return self.labelled / self.rows

    @property
    def metrics(self) -> dict[str, float | None]:
        """Metric → value on all rows."""
        return {each.metric: each.value for each in self.measures if each.slice_key is None}

    def value(self, metric: str) -> Performance:
        """A metric on all rows.

        Raises:
            NotFoundError: it was not measured.
        """
        overall = {each.metric: each for each in self.measures if each.slice_key is None}
        if metric not in overall:
            raise NotFoundError("measured metric", metric, overall)
        return overall[metric]

    def to_json(self) -> dict[str, Json]:
        """For the output of a step."""
        overall = [each for each in self.measures if each.slice_key is None]
        intervals: dict[str, Json] = {
            each.metric: None if each.low is None else [each.low, each.high] for each in overall
        }
        return {
            "month": self.month,
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "rows": self.rows,
            "labelled": self.labelled,
            "label_coverage": self.coverage,
            "label_mean": self.label_mean,
            "prediction_mean": self.prediction_mean,
            "metrics": dict(self.metrics),
            "intervals": intervals,
            "judged": any(each.judged for each in overall),
            "reopened": self.reopened,
            "earlier": {each.metric: each.earlier for each in overall if each.earlier is not None},
            "estimated": {each.metric: each.estimated for each in overall},
            "not_estimated": next((each.not_estimated for each in overall if each.not_estimated), ""),
        }


@dataclass(frozen=True, kw_only=True)
class Report:
    """All windows of a version as of a moment.

    Attributes:
        windows: in order of time.
        measured: beginnings of those that were measured now; the others stand as they were.
        not_counted: labels that make no difference.
    """

    windows: tuple[Quality, ...]
    measured: frozenset[datetime]
    not_counted: NotCounted

    @property
    def changed(self) -> list[Quality]:
        """Windows that were measured now: their predictions, their labels or the way they are judged have changed."""
        return [window for window in self.windows if window.start in self.measured]
