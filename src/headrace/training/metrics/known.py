"""The built-in metrics, by name and by task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import NotFoundError
from headrace.training.metrics.accuracy import ACCURACY
from headrace.training.metrics.average_precision import AVERAGE_PRECISION
from headrace.training.metrics.base import Metric
from headrace.training.metrics.brier import BRIER
from headrace.training.metrics.errors import MAE, RMSE
from headrace.training.metrics.f1_macro import F1_MACRO
from headrace.training.metrics.log_loss import LOG_LOSS
from headrace.training.metrics.r2 import R2
from headrace.training.metrics.roc_auc import ROC_AUC
from headrace.training.metrics.texts import ANSWER_F1, EXACT_MATCH, ROUGE_L

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.training.metrics.base import Direction

# The order is that in which they are shown.
BUILT_IN: Mapping[str, Metric] = {
    each.name: each
    for each in (
        *(ROC_AUC, LOG_LOSS, BRIER, AVERAGE_PRECISION, ACCURACY, F1_MACRO, RMSE, MAE, R2),
        *(ANSWER_F1, EXACT_MATCH, ROUGE_L),
    )
}
METRICS: Mapping[str, Mapping[str, Direction]] = {
    task: {each.name: each.direction for each in BUILT_IN.values() if task in each.tasks}
    for task in dict.fromkeys(task for each in BUILT_IN.values() for task in each.tasks)
}


def metrics_of(task: str, declared: Iterable[str | Metric]) -> dict[str, Metric]:
    """Name → metric, of all that a task has: those that it declares itself in their order, then the others for it.

    Args:
        task: its name.
        declared: the task's default metrics, by name or themselves.

    Raises:
        NotFoundError: the task names one that is not built in.
    """
    found: dict[str, Metric] = {}
    for each in declared:
        metric = each if isinstance(each, Metric) else BUILT_IN.get(each)
        if metric is None:
            raise NotFoundError("built-in metric", str(each), BUILT_IN, hint=f"named by the task {task}")
        found[metric.name] = metric
    return found | {name: each for name, each in BUILT_IN.items() if task in each.tasks and name not in found}
