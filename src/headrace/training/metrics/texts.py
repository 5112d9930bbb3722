"""How near an answer comes to the right ones: means over rows of what `llm.evaluation.text` says of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.llm.evaluation import text
from headrace.training.generated import references
from headrace.training.metrics.base import Metric
from headrace.training.metrics.rows import mean_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from headrace.training.metrics.base import Floats


def _metric(name: str, by_row: Callable[[Sequence[str], Sequence[Sequence[str]]], Floats]) -> Metric:
    def rows(y: pd.Series, output: pd.DataFrame) -> Floats:
        return by_row(output["prediction"].fillna("").tolist(), [references(each) for each in y])

    return Metric(
        name=name,
        tasks=("Generation",),
        direction="maximize",
        bounds=(0.0, 1.0),
        value=lambda y, output: float(rows(y, output).mean()),
        covariance=mean_of(rows),
    )


ANSWER_F1 = _metric("answer_f1", text.answer_f1)
EXACT_MATCH = _metric("exact_match", text.exact_match)
ROUGE_L = _metric("rouge_l", text.rouge_l)
