"""Answers that a table of predictions has already: they were paid for, and nobody is asked for them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.inference.records import record
from headrace.lakehouse.identifiers import column, quoted
from headrace.scoring.columns import FEATURES, ID
from headrace.scoring.prediction_id import prediction_ids
from headrace.training.generated import NUMBERS, TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.scoring.version import LoadedVersion

OUTPUTS = (*TEXTS, *NUMBERS)


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Rows, divided.

    Attributes:
        records: prediction records of those that are answered; None where none is.
        places: of these among the rows.
        left: the other rows.
        left_places: of these.
    """

    records: pa.Table | None
    places: list[int]
    left: pa.Table
    left_places: list[int]

    def whole(self, made: Iterable[pa.Table]) -> pa.Table:
        """All records in the order of the rows, with those that were made of the rest, in their order."""
        tables = [*([] if self.records is None else [self.records]), *made]
        order = {place: number for number, place in enumerate([*self.places, *self.left_places])}
        return pa.concat_tables(tables).take(pa.array([order[place] for place in sorted(order)], pa.int64()))


def divide(lakehouse: Lakehouse, tables: Iterable[str], version: LoadedVersion, rows: pa.Table) -> Answered:
    """Finds out which rows this version has answered, by the first of the tables that is there.

    Args:
        lakehouse: the tables.
        tables: of predictions.
        version: which has a chain.
        rows: full rows.
    """
    plan = version.plan
    known = next((name for name in tables if lakehouse.exists(name, own=True)), None)
    if known is None:
        return _divided(rows, {}, version)
    snapshot = lakehouse.snapshot(known)
    if not {ID, FEATURES, *OUTPUTS} <= set(snapshot.schema.names):
        return _divided(rows, {}, version)
    ids = prediction_ids(version.model, version.number, [rows.column(name) for name in plan.keys], rows.column(plan.at))
    asked = pa.table({ID: ids})
    listed = ", ".join(column(name) for name in (ID, FEATURES, *OUTPUTS))
    with lakehouse.connect({known: snapshot.version}, arrow={"asked": asked}) as connection:
        found = connection.sql(f"select {listed} from {quoted(known)} semi join asked using ({column(ID)})")
        answers = {row[ID]: row for row in found.to_arrow_table().to_pylist()}
    inputs = [each.name for each in plan.features]
    given = rows.select(inputs).to_pylist()
    there: dict[int, dict[str, object]] = {}
    for place, name in enumerate(asked.column(ID).to_pylist()):
        answer = answers.get(name)
        if answer is not None and {each: answer[FEATURES].get(each) for each in inputs} == given[place]:
            there[place] = answer
    return _divided(rows, there, version)


def _divided(rows: pa.Table, there: dict[int, dict[str, object]], version: LoadedVersion) -> Answered:
    import pandas as pd

    places = list(there)
    left = [place for place in range(rows.num_rows) if place not in there]
    records = None
    if places:
        known = rows.take(pa.array(places, pa.int64()))
        outputs = pd.DataFrame([{name: there[place][name] for name in OUTPUTS} for place in places])
        records = record(
            version, known, known.select([each.name for each in version.plan.features]).to_pandas(), outputs
        )
    return Answered(records=records, places=places, left=rows.take(pa.array(left, pa.int64())), left_places=left)
