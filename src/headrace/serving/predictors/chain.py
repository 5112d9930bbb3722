"""The tier `chain`: a function that answers with prompts, indexes and language models. An answer takes seconds, and costs."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from headrace.chains.gateways import current
from headrace.core.errors import HeadraceError
from headrace.serving.manifest import PACKAGE
from headrace.serving.predictors.base import UnfitError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from headrace.chains.answer import Answer as ChainAnswer
    from headrace.chains.chain import Chain, ChainStream
    from headrace.llm.gateway.gateway import Gateway
    from headrace.serving.predictors.base import Answer, Row

AT_ONCE = 8  # rows of one call that are answered at the same time


def holds_chain(folder: Path) -> bool:
    """Whether the copy of a version is one of a model with `predict=`."""
    spec = json.loads((folder / PACKAGE / "spec.json").read_text(encoding="utf-8"))
    return spec.get("estimator") == "chain"


class TimedAnswer(NamedTuple):
    """What a chain answered, and when it began.

    Attributes:
        began: by the monotonic clock, in nanoseconds.
        made: the answer, with what was done for it.
    """

    began: int
    made: ChainAnswer


class ChainPredictor:
    """A packaged chain. Unlike other tiers it is safe to use from several threads, and two answers may differ.

    Attributes:
        version: of the model, for the record of usage; None until it is known.
    """

    tier = "chain"

    def __init__(self, folder: Path) -> None:
        from headrace.scoring.predictor import PackagePredictor

        try:
            packaged = PackagePredictor(folder / PACKAGE)
        except HeadraceError as error:
            raise UnfitError(str(error)) from error
        if packaged.chain is None:
            raise UnfitError("is no chain")
        self.chain: Chain = packaged.chain.chain
        self.columns = packaged.columns
        self.version: int | None = None
        self._inputs = [column.name for column in packaged.plan.inputs]

    def stream(self, row: Row, gateway: Gateway | None, *, user: str = "") -> ChainStream:
        """An answer, piece by piece."""
        given = dict(zip(self._inputs, row, strict=True))
        return self.chain.stream(given, gateway, user=user, version=self.version)

    def many(self, rows: list[Row]) -> list[Answer]:
        """See BlockPredictor."""
        return [self.outputs(each.made.row()) for each in self.answers(rows)]

    def one(self, row: Row) -> Answer:
        """See BlockPredictor."""
        return self.outputs(self._answer(row).made.row())

    def answers(self, rows: list[Row]) -> list[TimedAnswer]:
        """The answers to rows, in their order."""
        if not rows:
            return []
        with ThreadPoolExecutor(min(AT_ONCE, len(rows)), thread_name_prefix="answer") as pool:
            futures = [pool.submit(self._answer, row) for row in rows]
            try:
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def outputs(self, row: Mapping[str, str | float]) -> Answer:
        """The values of a row in the order of `columns`."""
        return [row[name] for name in self.columns]

    def _answer(self, row: Row) -> TimedAnswer:
        stream = self.stream(row, current())
        return TimedAnswer(stream.began, stream.whole())
