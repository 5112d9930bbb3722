"""The drift between two tables, answers to a SELECT, or frames: the same figures and verdicts as in monitoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import DataError, DeclarationError
from headrace.monitoring.declarations import Monitor
from headrace.operations.operation import operation
from headrace.operations.profile import bar_edges, kind_of, watched
from headrace.operations.record import Record
from headrace.operations.relation import chosen, open_relation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from headrace.monitoring.drift import DriftVerdict, Verdict
    from headrace.monitoring.histograms import Histograms
    from headrace.operations.profile import Kind
    from headrace.operations.relation import OpenRelation, Relation
    from headrace.workspace.workspace import Workspace

MIN_ROWS = Monitor.min_rows


@dataclass(frozen=True, kw_only=True)
class DriftBar(Record):
    """A bar of the two distributions of a column.

    Attributes:
        low: where its range begins: a number in the column's unit, or a moment in ISO 8601; None for texts.
        high: where it ends; equal to `low` for a bar of one value.
        value: the text; None for what is no text, and for the bar of all other texts.
        reference_rows: the number of rows of the reference.
        rows: the number of rows that are compared with it.
    """

    low: float | str | None
    high: float | str | None
    value: str | None
    reference_rows: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class DriftedColumn(Record):
    """A column that is in both.

    Attributes:
        column: its name.
        verdict: `ok`, `warn`, `alert` or `not judged`, when there are too few rows.
        reasons: of the verdict, in words.
        psi: population stability index over the reference's deciles, or its categories; missing values are a group.
        p_value: of that index by chance alone.
        js_distance: Jensen-Shannon distance over the same groups, natural logarithm.
        wasserstein: first Wasserstein distance, in the column's unit, in seconds for moments; None for texts.
        missing_percent_delta: the share of missing values, in percent: current less reference.
        new_values: texts that the reference does not have, the most frequent first, five at most.
        bars: both distributions.
    """

    column: str
    verdict: Verdict
    reasons: tuple[str, ...]
    psi: float
    p_value: float
    js_distance: float
    wasserstein: float | None
    missing_percent_delta: float
    new_values: tuple[str, ...]
    bars: tuple[DriftBar, ...]


@dataclass(frozen=True, kw_only=True)
class TableDrift(Record):
    """How rows differ from others.

    Attributes:
        env: the environment from which they were read.
        reference: the name of the reference; the name of a file, `query` or `frame` for what is no table.
        current: the name of what was compared with it.
        reference_version: the number of the Delta version of the reference; None for what is no table.
        version: the same of what was compared with it.
        reference_rows: the number of rows of the reference.
        rows: the number of rows that were compared with it.
        columns: that both have, the worst first.
        only_in_reference: the names of columns that the other one lacks.
        only_in_current: the same, the other way round.
        not_compared: the names of columns of both that have no distribution, such as lists, or are of two kinds.
    """

    env: str
    reference: str
    current: str
    reference_version: int | None
    version: int | None
    reference_rows: int
    rows: int
    columns: tuple[DriftedColumn, ...]
    only_in_reference: tuple[str, ...]
    only_in_current: tuple[str, ...]
    not_compared: tuple[str, ...]

    @property
    def drifted(self) -> tuple[str, ...]:
        """The names of the columns with a warning or an alert."""
        return tuple(each.column for each in self.columns if each.verdict in ("warn", "alert"))


@operation("table drift", of="current")
def compare_tables(
    workspace: Workspace,
    reference: Relation,
    current: Relation,
    *,
    reference_version: int | None = None,
    version: int | None = None,
    columns: Sequence[str] | None = None,
    min_rows: int = MIN_ROWS,
) -> TableDrift:
    """Compares rows with a reference, column by column.

    Args:
        workspace: the environment.
        reference: the name of a table, the path of a file, a SELECT, or a table in memory.
        current: the same; what is compared with the reference.
        reference_version: the number of a Delta version of the reference; None: the latest.
        version: the number of a Delta version of what is compared; None: the latest.
        columns: their names; None: all that both have.
        min_rows: fewer rows on either side are measured, and not judged.

    Raises:
        NotFoundError: there is no such table, version, file or column.
        SqlError: a SELECT cannot be parsed, or reads what is not a table of the lakehouse.
        LimitError: its answer is too large.
        DataError: there is no row, or no column that both have.
        DeclarationError: fewer than one row is asked for, or a version of what is no table.
    """
    if min_rows < 1:
        raise DeclarationError(f"min_rows is {min_rows}.", hint=f"1 or more; {MIN_ROWS} is the default.")
    before = open_relation(workspace, reference, version=reference_version, view="reference")
    after = open_relation(workspace, current, version=version, view="given")
    fields = _common(before, after, columns)
    counted, grown = _histograms(workspace, before, after, fields)
    from headrace.monitoring.drift import compare, judge

    verdicts = judge(compare(counted, grown), min_rows=min_rows)
    names = [each.name for each in fields]
    return TableDrift(
        env=workspace.environment.name,
        reference=before.name,
        current=after.name,
        reference_version=before.version,
        version=after.version,
        reference_rows=_rows(counted),
        rows=_rows(grown),
        columns=tuple(_report(each, counted, grown, fields) for each in verdicts),
        only_in_reference=_lacking(before, after, columns),
        only_in_current=_lacking(after, before, columns),
        not_compared=tuple(
            each for each in columns or before.schema.names if each in after.schema.names and each not in names
        ),
    )


def _lacking(these: OpenRelation, others: OpenRelation, columns: Sequence[str] | None) -> tuple[str, ...]:
    """Columns that the others do not have."""
    return tuple(each for each in these.schema.names if each not in others.schema.names) if columns is None else ()


def _common(before: OpenRelation, after: OpenRelation, columns: Sequence[str] | None) -> list[pa.Field]:
    """The columns that can be compared.

    Raises:
        NotFoundError: one that is asked for is not there.
        DataError: there is none.
    """
    chosen(before.schema, columns, before.name)
    found = [
        field
        for field in chosen(after.schema, columns, after.name)
        if field.name in before.schema.names
        and kind_of(field.type) == kind_of(before.schema.field(field.name).type) != "other"
    ]
    if not found:
        raise DataError(
            "the reference and the current rows have no column of the same name and kind.",
            hint=f"The reference has {_listed(before.schema)}; the current rows have {_listed(after.schema)}.",
        )
    return found


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{each.name} ({each.type})" for each in schema)


def _histograms(
    workspace: Workspace, before: OpenRelation, after: OpenRelation, fields: Sequence[pa.Field]
) -> tuple[Histograms, Histograms]:
    """Both over the bins of the reference."""
    from headrace.monitoring.binning import make_grids
    from headrace.monitoring.histograms import collect

    known = watched(fields)
    with workspace.lakehouse.connect(before.tables, arrow=before.arrow) as connection:
        grids = make_grids(connection, before.sql, known)
        counted = collect(connection, before.sql, grids, known)
    with workspace.lakehouse.connect(after.tables, arrow=after.arrow) as connection:
        return counted, collect(connection, after.sql, grids, known)


def _rows(histograms: Histograms) -> int:
    return next(iter(histograms.columns.values())).rows


def _report(judged: DriftVerdict, before: Histograms, after: Histograms, fields: Sequence[pa.Field]) -> DriftedColumn:
    from headrace.monitoring.bars import bars

    drift = judged.drift
    kinds: dict[str, Kind] = {each.name: kind_of(each.type) for each in fields}
    kind = kinds[drift.column]
    drawn = bars([before.columns[drift.column], after.columns[drift.column]])
    edges = [bar_edges(bar, kind) for bar in drawn]
    return DriftedColumn(
        column=drift.column,
        verdict=judged.verdict,
        reasons=judged.reasons,
        psi=drift.psi,
        p_value=drift.p_value,
        js_distance=drift.js_distance,
        wasserstein=drift.wasserstein,
        missing_percent_delta=100 * drift.null_share_delta,
        new_values=drift.new_categories,
        bars=tuple(
            DriftBar(low=low, high=high, value=bar.value, reference_rows=bar.rows[0], rows=bar.rows[1])
            for bar, (low, high) in zip(drawn, edges, strict=True)
        ),
    )
