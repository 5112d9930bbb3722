"""Back-test of retraining: for each window, a model is fitted on everything known at its beginning and measured on the window.

Features are as of each decision whatever the training moment is, so one set of rows serves every window; only the
labels that exist differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.features.matrix import compute, encode, fit_categories, read
from headrace.training.labels import instants
from headrace.training.measures import by_name, evaluate
from headrace.training.output import output
from headrace.training.train import fit, training_data

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    import pyarrow as pa

    from headrace.features.plan import FeaturePlan
    from headrace.training.declarations import Model, Params
    from headrace.training.labels import LabelTable


@dataclass(frozen=True, kw_only=True)
class Tested:
    """One window of a back-test.

    Attributes:
        fitted: decisions that it was fitted on.
        labelled: decisions of the window that it was judged on.
        metrics: on them; not calibrated.
    """

    fitted: int
    labelled: int
    metrics: dict[str, float | None]


class Backtest:
    """Decisions with their features, once; see `window`.

    Args:
        model: as declared.
        plan: of its features.
        functions: its on-demand functions.
        rows: full rows of every decision up to the end of the last window.
        labels: the label's table.
    """

    def __init__(
        self,
        model: Model,
        plan: FeaturePlan,
        functions: Mapping[str, Callable[..., object]],
        rows: pa.Table,
        labels: LabelTable,
    ) -> None:
        self.model, self.plan, self.labels = model, plan, labels
        self.decisions = rows.select(list(dict.fromkeys((*plan.keys, plan.at))))
        frame = rows.to_pandas()
        self.at = instants(frame[plan.at])
        self.features = compute(plan, functions, read(plan, frame))

    def window(self, params: Params, *, since: datetime, until: datetime, as_of: datetime) -> Tested:
        """Fits on what was known at `since` and judges on the decisions in `since <= at < until`.

        Args:
            params: to fit with.
            since: the training moment, and the first moment of the window.
            until: the first moment that is left out.
            as_of: labels known by then judge.

        Raises:
            DataError: there is nothing to fit on yet.
            UserCodeError: the user's function raised.
        """
        then = self.labels.attach(self.decisions, at=self.plan.at, as_of=since)
        before = (self.at < since) & then.y.notna()
        categories = fit_categories(self.plan, self.features[before])
        fitting = encode(self.plan, categories, self.features[before])
        data = training_data(self.model, fitting, then.y[before], self.at[before])
        estimator = fit(self.model, data, params)
        now = self.labels.attach(self.decisions, at=self.plan.at, as_of=as_of)
        judged = (self.at >= since) & (self.at < until) & now.y.notna()
        task = self.model.task
        matrix = encode(self.plan, categories, self.features[judged])
        given = output(task, task.classes(data.y), estimator, matrix)
        measures = evaluate(task, now.y[judged], given, metrics=self.model.measured)
        return Tested(fitted=int(before.sum()), labelled=int(judged.sum()), metrics=by_name(measures))
