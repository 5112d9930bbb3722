"""What is known of a table beside its rows: expectations with their latest results, rows set apart, and versions that used it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.registry.records import Stage
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class ExpectationReport(Record):
    """An expectation of a table, as it was judged last.

    Attributes:
        expectation: the SQL predicate.
        action: what happens to a row that breaks it: `fail`, `quarantine`, `repair` or `warn`.
        rows: that were looked at.
        broken: that break it.
        version: the number of the table's Delta version that was made.
        at: when.
    """

    expectation: str
    action: str
    rows: int
    broken: int
    version: int
    at: datetime


@dataclass(frozen=True, kw_only=True)
class TableUse(Record):
    """A version of a model that was made from a table.

    Attributes:
        model: its name.
        version: its number.
        stage: `None`, `Staging`, `Production` or `Archived`.
        table_version: the number of the Delta version that it was made from.
        created: when it was registered.
    """

    model: str
    version: int
    stage: Stage
    table_version: int
    created: datetime


@dataclass(frozen=True, kw_only=True)
class TableQuality(Record):
    """What is known of a table beside its rows.

    Attributes:
        table: its name.
        expectations: as they were judged last, in the order of the declaration; none where it declares none, or where it is
            the table of another environment.
        quarantine: the table of the rows that were set apart; None where there never was any.
        quarantined: the number of its rows.
        used_by: versions that were made from it, the newest first.
    """

    table: str
    expectations: tuple[ExpectationReport, ...]
    quarantine: str | None
    quarantined: int
    used_by: tuple[TableUse, ...]


@operation("table show", of="name")
def show_table_quality(workspace: Workspace, name: str) -> TableQuality:
    """Expectations, rows set apart, and the versions of models that were made from a table.

    Raises:
        NotFoundError: there is no such table.
    """
    from headrace.lakehouse.declarations import quarantine_name

    lakehouse = workspace.lakehouse
    own = lakehouse.snapshot(name).env == workspace.environment.name
    apart = quarantine_name(name) if own and lakehouse.exists(quarantine_name(name), own=True) else None
    return TableQuality(
        table=name,
        expectations=_judged(workspace, name) if own else (),
        quarantine=apart,
        quarantined=0 if apart is None else lakehouse.snapshot(apart).rows(),
        used_by=tuple(
            TableUse(
                model=each.model,
                version=each.version,
                stage=each.stage,
                table_version=each.inputs[name],
                created=each.created,
            )
            for each in sorted(workspace.registry.versions(), key=lambda each: each.created, reverse=True)
            if name in each.inputs
        ),
    )


def _judged(workspace: Workspace, name: str) -> tuple[ExpectationReport, ...]:
    """The rows of the last step that judged any."""
    from headrace.lakehouse.identifiers import literal, quoted
    from headrace.lakehouse.materialize import METRICS

    if not workspace.lakehouse.exists(METRICS, own=True):
        return ()
    with workspace.lakehouse.connect({METRICS: None}) as connection:
        rows = connection.sql(
            f"""
            select expectation, action, rows, broken, version, "at"
            from {quoted(METRICS)} where "table" = {literal(name)}
            qualify "at" = max("at") over ()
            """
        ).to_arrow_table()
    return tuple(ExpectationReport(**row) for row in rows.to_pylist())
