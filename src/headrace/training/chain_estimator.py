"""A chain in the place of a fitted estimator: texts in, the columns of `hr.Generation` out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar

from headrace.chains import opening
from headrace.chains.gateways import current
from headrace.chains.pacing import Pace
from headrace.core.ids import digest
from headrace.training.estimator import Settings
from headrace.training.generated import NUMBERS, TEXTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from headrace.chains.answer import Answer
    from headrace.chains.chain import Chain, ChainStream
    from headrace.chains.declarations import Use
    from headrace.core.journal import Journal
    from headrace.training.difference import Numbers
    from headrace.training.estimator import Format

THREADS = 8  # rows that are answered at the same time; a route may allow fewer calls


class ChainEstimator:
    """A chain that answers rows.

    Args:
        chain: open.
        uses: as declared.
        version: of the model, for the record of usage; None before it is registered.

    Attributes:
        texts: whether answers keep the texts of searches and calls: for traces, where no caller of a server gets them.
        journal: keeps each answer to a row as it comes, and a row that it has is not asked for again; None for none.
    """

    format: ClassVar[Format] = "chain"

    def __init__(self, chain: Chain, uses: Sequence[Use], version: int | None = None) -> None:
        self.chain, self.uses, self.version = chain, uses, version
        self.pace = Pace()  # a server has no patience with limits of a rate
        self.texts = False
        self.journal: Journal | None = None
        self.fitted: object = None
        self.settings = Settings()

    def generate(self, X: pd.DataFrame) -> dict[str, list[object]]:  # noqa: N803
        """The columns of the output, in the order of the rows.

        Raises:
            UserCodeError: the user's function raised.
            HeadraceError: what an endpoint, an index or a prompt raises.
        """
        gateway = current()
        rows = [dict(zip(X.columns, each, strict=True)) for each in X.itertuples(index=False)]

        def answered(row: Mapping[str, object]) -> Mapping[str, object]:
            key = digest(["answer", {name: repr(value) for name, value in row.items()}])
            kept = self.journal.get(key) if self.journal is not None else None
            if kept is not None:
                return kept
            made = self.pace.call(lambda: self.chain.answer(row, gateway, version=self.version)).row(texts=self.texts)
            if self.journal is not None:  # by the thread that paid: also when another one fails
                self.journal.put(key, made)
            return made

        with ThreadPoolExecutor(max_workers=max(1, min(THREADS, len(rows))), thread_name_prefix="answer") as pool:
            futures = [pool.submit(answered, row) for row in rows]
            try:
                made = [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return {name: [row[name] for row in made] for name in (*TEXTS, *NUMBERS)}

    def stream(self, row: Mapping[str, object], *, user: str = "") -> ChainStream:
        """One answer, piece by piece."""
        return self.chain.stream(row, current(), user=user, version=self.version)

    def answer(self, row: Mapping[str, object], *, user: str = "", planted: Sequence[str] = ()) -> Answer:
        """One answer."""
        return self.chain.answer(row, current(), user=user, version=self.version, planted=planted)

    def values(self, X: pd.DataFrame, width: int = 1) -> Numbers:  # noqa: N803
        """See Estimator: a text is no number."""
        raise NotImplementedError

    def probabilities(self, X: pd.DataFrame, classes: Sequence[object]) -> Numbers:  # noqa: N803
        """See Estimator: a text is no number."""
        raise NotImplementedError

    def save(self, folder: Path, *, by_value: Sequence[str]) -> set[str]:
        """See Estimator."""
        del by_value
        opening.write(folder, self.chain)
        return opening.modules(self.uses)
