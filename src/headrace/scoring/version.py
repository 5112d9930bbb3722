"""A registered version, loaded from MLflow's storage after its hash was checked."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.core.errors import DataError
from headrace.core.folders import folder_digest
from headrace.scoring.predictor import PackagePredictor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa

    from headrace.features.plan import FeaturePlan
    from headrace.tracking.tracking import Tracking
    from headrace.training.chain_estimator import ChainEstimator
    from headrace.training.tasks.base import Task


class LoadedVersion:
    """A version of a model that can predict.

    Attributes:
        model: its name.
        number: the version.
        folder: of its package, for other processes to load; None where it is not kept in one.
    """

    def __init__(self, model: str, number: int, predictor: PackagePredictor, *, folder: Path | None = None) -> None:
        self.model, self.number, self.folder = model, number, folder
        self._predictor = predictor
        if predictor.chain is not None and number > 0:
            predictor.chain.version = number  # for the record of usage; 0 is none yet

    @property
    def plan(self) -> FeaturePlan:
        """Where the columns of a full row come from."""
        return self._predictor.plan

    @property
    def task(self) -> Task:
        """What it predicts, without the label's column."""
        return self._predictor.task

    @property
    def chain(self) -> ChainEstimator | None:
        """What answers by itself; None where an estimator predicts."""
        return self._predictor.chain

    @property
    def functions(self) -> Mapping[str, Callable[..., object]]:
        """Its on-demand functions, by name."""
        return self._predictor.functions

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Full rows → the task's output."""
        return self._predictor.predict(rows)

    def predict_with_features(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Full rows → the features that they come to, and the task's output."""
        return self._predictor.predict_with_features(rows)

    def expect_many(self, threads: int) -> None:
        """Prepares for rows by the thousand; see PackagePredictor."""
        self._predictor.expect_many(threads)

    def predict_table(self, rows: pa.Table) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The same, of full rows as an Arrow table."""
        return self._predictor.predict_table(rows)


@contextmanager
def load(tracking: Tracking, uri: str, *, model: str, number: int, artifact_hash: str) -> Generator[LoadedVersion]:
    """Loads a version. A copy that was downloaded for it goes at the end.

    Raises:
        DataError: its files are gone, or are not those that were registered.
    """
    with tracking.logged_folder(uri) as folder:
        _check(folder, model, number, artifact_hash)
        yield LoadedVersion(model, number, PackagePredictor(folder), folder=folder)


def _check(folder: Path, model: str, number: int, expected: str) -> None:
    found = folder_digest(folder)
    if found != expected:
        raise DataError(
            f"the files of {model} version {number} changed after it was registered: {found} is not {expected}.",
            findings=[str(folder)],
            hint="Do not use it. Train again, or restore the files from a backup.",
        )
