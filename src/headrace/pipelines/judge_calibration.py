"""A judge against people: it scores the answers that people scored, and the agreement is kept with the evaluation."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from headrace.core.errors import DataError, NotFoundError
from headrace.llm.evaluation.calibration import calibrate
from headrace.llm.evaluation.judging import judged_rows
from headrace.llm.evaluation.values import is_missing, shown
from headrace.pipelines.outputs.train import JudgeAgreement
from headrace.training.verdicts import verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.core.journal import Journal
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.llm.evaluation.judge import Judge
    from headrace.training.declarations import Model

NEEDED, OPTIONAL = ("question", "answer", "score"), ("passages", "reference")


def calibrated(model: Model, judge: Judge, labels: Snapshot, *, journal: Journal | None = None) -> JudgeAgreement:
    """How far a judge of a model agrees with the labels in a table.

    Args:
        model: with the judge.
        judge: that is asked.
        labels: answers that people scored: the columns `question`, `answer` and `score`, and where the judge is shown them
            `passages` (texts) and `reference`. A row without a score is left out.
        journal: keeps each verdict as it comes. Defaults to none.

    Raises:
        NotFoundError: a column is missing.
        DataError: a score is not on the judge's scale, a cell is no text, or the judge gave no verdict on a row.
    """
    names = labels.schema.names
    for name in NEEDED:
        if name not in names:
            raise NotFoundError(
                f"column of {labels.name}", name, names, hint=f"It has the labels of judge {judge.name!r}."
            )
    columns = [*NEEDED, *(name for name in OPTIONAL if name in names)]
    rows = [each for each in labels.to_arrow(columns).to_pylist() if not is_missing(each["score"])]
    _check_scores(judge, labels, [each["score"] for each in rows])
    judged = judged_rows(
        [each["question"] for each in rows],
        [each["answer"] for each in rows],
        [each.get("passages") for each in rows],
        [each.get("reference") for each in rows],
    )
    scores = [each.score for each in verdicts(model, judge, judged, journal=journal)]
    found = calibrate(scores, [float(each["score"]) for each in rows])
    low, high = found.kappa_interval or (None, None)
    return JudgeAgreement(
        judge=judge.name,
        table=labels.name,
        version=labels.version,
        labels=found.labels,
        agreement=found.agreement,
        kappa=found.kappa,
        kappa_low=low,
        kappa_high=high,
        bias=found.bias,
        words=found.words,
    )


def _check_scores(judge: Judge, labels: Snapshot, scores: Sequence[object]) -> None:
    wrong = [f"row {row}: the score is {shown(score)}" for row, score in enumerate(scores) if not _is_on(judge, score)]
    if wrong:
        low, high = judge.scale
        raise DataError(
            f"{len(wrong):,} scores in {labels.name} are not on the scale of the judge {judge.name!r}, {low} to {high}.",
            findings=wrong,
            hint="People and judge score on the same scale: correct the labels, or declare scale=(low, high).",
        )


def _is_on(judge: Judge, score: object) -> bool:
    low, high = judge.scale
    return isinstance(score, int | float | Decimal) and low <= score <= high
