"""Rows to a float64 block, the block through the model's library, its numbers to the task's output.

It uses pandas only for on-demand features.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.features.plan import FeaturePlan
from headrace.serving.manifest import PACKAGE
from headrace.serving.predictors.base import UnfitError
from headrace.serving.predictors.block import Block
from headrace.serving.predictors.lightgbm import LightGBM
from headrace.serving.predictors.on_demand import OnDemandCalls
from headrace.serving.predictors.onnx import Onnx
from headrace.serving.predictors.postprocess import Postprocess, check_fast
from headrace.serving.predictors.sklearn import Sklearn
from headrace.serving.predictors.xgboost import XGBoost
from headrace.training.tasks.known import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from headrace.serving.predictors.base import Answer, Numbers, Row, Scorer

ROW_BY_ROW = ("lightgbm", "xgboost")  # a row's bits are the same however many come at once, and in whatever layout


class Native:
    """A version whose estimator's library takes numbers.

    Attributes:
        tier: its name.
        scorers: how an estimator is kept → what scores with it.
    """

    tier = "native"
    scorers: ClassVar[Mapping[str, Callable[[Path, Numbers, Mapping[str, Any]], Scorer]]] = {
        "lightgbm": LightGBM,
        "xgboost": XGBoost,
        "onnx": Onnx,
        "pickle": Sklearn,
    }

    def __init__(self, folder: Path) -> None:
        spec = json.loads((folder / PACKAGE / "spec.json").read_text(encoding="utf-8"))
        check_fast(spec["task"])
        kept: str = spec["estimator"]
        if kept not in self.scorers:
            raise UnfitError(self.why_not(kept))
        plan = FeaturePlan.from_json(spec["plan"])
        self._on_demand = OnDemandCalls(folder / PACKAGE, plan) if plan.calls else None
        names = [column.name for column in plan.inputs] + (self._on_demand.names if self._on_demand else [])
        self._block = Block(names, plan.features, spec["categories"])
        self._scorer = self.scorers[kept](folder / PACKAGE / "estimator", self._block.alone, spec)
        self._finish = Postprocess(spec, self._scorer.outputs)
        self.columns = self._finish.columns
        self.kinds = [column.kind for column in plan.inputs]
        self.takes_columns = (
            kept in ROW_BY_ROW and TASKS[spec["task"]].scalar in ("number", "probability") and not plan.calls
        )

    def why_not(self, kept: str) -> str:
        """Why an estimator that is kept in another way is not taken."""
        return f"the estimator is kept as {kept}"

    def one(self, row: Row) -> Answer:
        """See Predictor."""
        if self._on_demand is not None:
            row = row + [column[0] for column in self._on_demand.columns([row])]
        self._block.fill(row)
        return self._finish.one(self._scorer.one())

    def many(self, rows: list[Row]) -> list[Answer]:
        """See Predictor."""
        more = self._on_demand.columns(rows) if self._on_demand is not None else ()
        return self._finish.many(self._scorer.many(self._block.of(rows, more)))

    def by_column(self, columns: Sequence[Any]) -> dict[str, list[float]]:
        """The output by column, of the columns of full rows: arrays of float64 for numbers, texts or None otherwise.

        Only where `takes_columns`.
        """
        answers = self._finish.many(self._scorer.many(self._block.of_columns(columns)))
        return {self.columns[0]: [value for (value,) in answers]}
