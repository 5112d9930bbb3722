"""Batch scoring of one partition: decisions with their features, through a model version, to the destinations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from headrace.core.errors import DataError
from headrace.core.failpoints import reach
from headrace.features.rows import full_rows
from headrace.inference.records import with_in_sample, with_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from headrace.features.rows import Decisions
    from headrace.inference.destinations.base import Destination, ScoredRows
    from headrace.inference.engines.base import ScoringEngine
    from headrace.inference.partitions import Partition
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.scoring.version import LoadedVersion


def score(
    lakehouse: Lakehouse,
    version: LoadedVersion,
    partition: Partition,
    *,
    decisions: Decisions,
    versions: Mapping[str, int],
    engine: ScoringEngine,
    into: Sequence[Destination],
    fitted: tuple[datetime, datetime],
    id: str,  # noqa: A002  # the name that a commit gives it
    sample: float = 1.0,
    scored: Callable[[int], None] = lambda _: None,
) -> tuple[int, list[ScoredRows]]:
    """Scores one partition and brings it to each destination.

    Args:
        lakehouse: where the features are.
        version: the model.
        partition: which of the decisions.
        decisions: to choose from.
        versions: feature table → version to read.
        engine: that predicts.
        into: where predictions go.
        fitted: the first and the last decision that the version was fitted on.
        id: the write's identity: repeated with the same id, nothing is written twice.
        sample: the share of the decisions to score, by key.
        scored: told how many more rows have been predicted.

    Returns:
        The number of decisions, and what each destination did; none where there was no decision.

    Raises:
        UserCodeError: the model failed.
        DataError: rows cannot be read, or a destination does not take them.
    """
    try:
        rows = full_rows(
            lakehouse,
            version.plan,
            versions,
            since=partition.since,
            until=partition.until,
            sample=sample,
            part=partition.part,
            decisions=decisions,
        )
    except duckdb.Error as error:
        raise DataError(f"{partition.name}: the features cannot be joined: {error}") from error
    reach(f"batch.joined:{partition.name}")
    if rows.num_rows == 0:
        return 0, []
    records: list[pa.Table] = []
    for some in engine.predict(version, rows):
        records.append(some)
        scored(some.num_rows)
    predictions = with_versions(pa.concat_tables(records), {**decisions.tables, **versions})
    predictions = with_in_sample(predictions, fitted)
    reach(f"batch.predicted:{partition.name}")
    return predictions.num_rows, [each.write(predictions, id=id) for each in into]
