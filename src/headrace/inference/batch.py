"""Batch scoring of one partition: decisions with their features, through a model version, to the destinations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from headrace.core.errors import DataError, HeadraceError
from headrace.core.failpoints import reach
from headrace.core.ids import digest
from headrace.features.rows import full_rows
from headrace.inference import answered
from headrace.inference.destinations.delta import DeltaTable
from headrace.inference.records import with_in_sample, with_versions
from headrace.scoring.columns import ID

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
    made: Callable[[pa.Table], None] = lambda _: None,
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
        made: called with the prediction records once every destination has them.

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

    def complete(records: pa.Table) -> pa.Table:
        return with_in_sample(with_versions(records, {**decisions.tables, **versions}), fitted)

    if version.chain is None:
        records: list[pa.Table] = []
        for some in engine.predict(version, rows):
            records.append(some)
            scored(some.num_rows)
        predictions = complete(pa.concat_tables(records))
    else:
        predictions = complete(
            _answers(lakehouse, version, rows, engine=engine, into=into, scored=scored, complete=complete)
        )
    reach(f"batch.predicted:{partition.name}")
    written = [each.write(predictions, id=id) for each in into]
    made(predictions)
    return predictions.num_rows, written


def _answers(
    lakehouse: Lakehouse,
    version: LoadedVersion,
    rows: pa.Table,
    *,
    engine: ScoringEngine,
    into: Sequence[Destination],
    scored: Callable[[int], None],
    complete: Callable[[pa.Table], pa.Table],
) -> pa.Table:
    """Records of a model that is paid by the answer: what is there is taken, and what was made before an error is kept."""
    tables = [each for each in into if isinstance(each, DeltaTable)]
    known = answered.divide(lakehouse, [each.name for each in tables], version, rows)
    scored(len(known.places))
    made: list[pa.Table] = []
    try:
        if known.left.num_rows:
            for some in engine.predict(version, known.left):
                made.append(some)
                scored(some.num_rows)
    except HeadraceError:
        if made:
            kept = complete(pa.concat_tables(made))
            for each in tables:
                each.write(kept, id=digest(kept.column(ID).to_pylist()))
        raise
    return known.whole(made)
