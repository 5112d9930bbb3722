"""The mean of a judge's verdicts, which stand in a column of the output beside the answers (`training.verdicts`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.training.generated import PREDICTION
from headrace.training.metrics.base import Metric, UndefinedMetricError
from headrace.training.metrics.rows import mean_of, numbers

if TYPE_CHECKING:
    import pandas as pd

    from headrace.llm.evaluation.judge import Judge
    from headrace.training.metrics.base import Floats


def verdict_column(name: str) -> str:
    """The column of the output with the scores that a judge of this name gave."""
    return f"{PREDICTION}_judge_{name}"


def judged(judge: Judge) -> Metric:
    """The metric of a judge: the mean score."""
    column = verdict_column(judge.name)

    def rows(y: pd.Series, output: pd.DataFrame) -> Floats:
        del y
        if column not in output.columns:
            raise UndefinedMetricError(f"nobody asked the judge {judge.name!r} about these answers")
        return numbers(output[column])

    low, high = judge.scale
    return Metric(
        name=judge.name,
        tasks=("Generation",),
        direction="maximize",
        bounds=(float(low), float(high)),
        value=lambda y, output: float(rows(y, output).mean()),
        covariance=mean_of(rows),
        content=judge.content,
    )
