"""What a chain answered, as callers get it and as the log keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.serving.predictors.chain import ChainPredictor, TimedAnswer
    from headrace.serving.protocols.prediction_request import RequestPart


def fill(part: RequestPart, predictor: ChainPredictor, answers: Sequence[TimedAnswer]) -> None:
    """Gives a part its answers. The log keeps the texts of searches and calls, which callers do not get.

    Those texts hold inputs and outputs. So a model that keeps values out of its log (`redact`) keeps them out, too.
    """
    rows = [each.made.row() for each in answers]
    part.answers = [predictor.outputs(row) for row in rows]
    serve = part.serving.manifest.serve
    if serve.log != "none" and not serve.redact:
        part.logged = [
            predictor.outputs({**row, **each.made.steps(texts=True)}) for row, each in zip(rows, answers, strict=True)
        ]
