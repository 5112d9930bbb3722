"""Chooses the tier that serves a version, and measures the cost of a call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from headrace.core.errors import DataError
from headrace.serving.predictors.base import UnfitError
from headrace.serving.predictors.chain import ChainPredictor, holds_chain
from headrace.serving.predictors.data_frame import Frame
from headrace.serving.predictors.generic import Generic
from headrace.serving.predictors.native import Native
from headrace.serving.predictors.pyfunc import Pyfunc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from headrace.serving.manifest import Parity
    from headrace.serving.predictors.base import BlockPredictor, Row

TIERS: tuple[type[Native | Generic | Pyfunc], ...] = (Native, Frame, Generic, Pyfunc)


def choose(folder: Path, parity: Parity) -> tuple[BlockPredictor, list[str]]:
    """The first tier that answers the parity file to the last bit, and why faster ones do not.

    Args:
        folder: of a version's copy.
        parity: its file.

    Raises:
        DataError: none does.
    """
    reasons: list[str] = []
    for tier in (ChainPredictor,) if holds_chain(folder) else TIERS:
        try:
            predictor = tier(folder)
            compare(predictor, parity)
        except UnfitError as error:
            reasons += [f"{tier.tier}: {error}"] if str(error) else []
        except Exception as error:  # noqa: BLE001  # whatever a library says of a model that it cannot take
            reasons.append(f"{tier.tier}: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
        else:
            return predictor, reasons
    raise DataError(
        f"the version in {str(folder)!r} does not answer its own samples as MLflow's pyfunc did.",
        findings=reasons,
        hint="Other versions of its libraries are installed here: compare requirements.txt beside it.",
    )


def compare(predictor: BlockPredictor, parity: Parity) -> None:
    """Asks for the samples.

    Raises:
        UnfitError: an answer differs in a bit.
    """
    if predictor.columns != parity.output_columns:
        raise UnfitError(f"gives {', '.join(predictor.columns)} for {', '.join(parity.output_columns)}")
    rows = [list(row) for row in parity.rows]
    found = predictor.many(rows) if rows else []
    differ = sum(mine != list(theirs) for mine, theirs in zip(found, parity.outputs, strict=True))
    alone = sum(predictor.one(row) != list(theirs) for row, theirs in zip(rows, parity.alone, strict=False))
    if differ or alone:
        raise UnfitError(f"{differ} of {len(rows)} samples differ, {alone} of {len(parity.alone)} asked alone")


def compare_by_column(predictor: Native, parity: Parity) -> None:
    """Asks for the samples, by column.

    Raises:
        UnfitError: it takes no columns, or an answer differs in a bit.
    """
    if not predictor.takes_columns or not parity.rows or predictor.columns != parity.output_columns:
        raise UnfitError("takes no columns, or has nothing to be compared with")
    columns = [
        np.array(column, "float64") if kind == "number" else list(column)
        for kind, column in zip(predictor.kinds, zip(*parity.rows, strict=True), strict=True)
    ]
    found = list(zip(*predictor.by_column(columns).values(), strict=True))
    if differ := sum(list(mine) != list(theirs) for mine, theirs in zip(found, parity.outputs, strict=True)):
        raise UnfitError(f"{differ} of {len(found)} samples differ by column")


def cost(predictor: BlockPredictor, row: Row) -> tuple[float, float]:
    """Seconds that a call takes, and seconds for each row more."""
    one = _seconds(lambda: predictor.one(row))
    many = _seconds(lambda: predictor.many([row] * 101))
    return one, max(many - one, 0.0) / 100


def _seconds(call: Callable[[], object]) -> float:
    taken: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return sorted(taken)[len(taken) // 2]
