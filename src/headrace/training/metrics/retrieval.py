"""How well the passages were found that an answer was made from: means over rows of `llm.evaluation.retrieval`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from headrace.llm.evaluation.retrieval import retrieval_metric
from headrace.training.generated import PASSAGES, relevant
from headrace.training.metrics.base import Metric, UndefinedMetricError
from headrace.training.metrics.rows import mean_of

if TYPE_CHECKING:
    import pandas as pd

    from headrace.training.metrics.base import Floats


def retrieval(name: str) -> Metric:
    """The metric of a name: `"recall@5"`, `"precision@3"`, `"mrr"`, `"ndcg@10"`.

    Raises:
        NotFoundError: there is none of this name.
        DeclarationError: its number is not possible.
    """
    measured = retrieval_metric(name)

    def rows(y: pd.Series, output: pd.DataFrame) -> Floats:
        import numpy as np

        wanted = [relevant(each) for each in y]
        if not all(wanted):
            raise UndefinedMetricError(
                f"{sum(not each for each in wanted)} of {len(wanted)} questions name no relevant document"
            )
        found = [[str(passage["id"]) for passage in json.loads(each)] for each in output[PASSAGES]]
        return np.asarray(measured.rows(found, wanted), dtype="float64")

    return Metric(
        name=name,
        tasks=("Generation",),
        direction="maximize",
        bounds=(0.0, 1.0),
        value=lambda y, output: float(rows(y, output).mean()),
        covariance=mean_of(rows),
    )
