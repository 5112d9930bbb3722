"""Predicts given rows by a version of a model, in this process. Nothing is stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.lakehouse.identifiers import column, quoted
from headrace.operations.models import production
from headrace.operations.operation import operation
from headrace.operations.relation import kind_of_text, sources_of
from headrace.operations.sql import QueryResult

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.features.plan import FeaturePlan
    from headrace.operations.relation import Relation
    from headrace.workspace.workspace import Workspace


@operation("model predict", of="name")
def predict_rows(
    workspace: Workspace, name: str, rows: Relation, *, version: int | None = None, at: datetime | None = None
) -> QueryResult:
    """Predicts given rows, with the code of the version, which was registered with it.

    Args:
        workspace: the environment.
        name: of the model.
        rows: the name of a table, the path of a file, a SELECT, or a table in memory: full rows, with every input of the model; or decisions, with the keys, the moment and the columns of the
            spine that the model takes, whose features are looked up.
        version: its number; None: the one in Production.
        at: the moment of every decision, which then need not have one.

    Returns:
        The outputs, a row a given row, in their order.

    Raises:
        NotFoundError: there is no such model, version, table or file, or no version in Production.
        DataError: the rows are neither, or cannot be read in the types of the spine.
        LimitError: a table or an answer has more than a million rows; `headrace run score` scores any number.
        UserCodeError: the model, or an on-demand function, failed.
    """
    from headrace.inference.in_memory import predict
    from headrace.scoring.version import load

    chosen = production(workspace, name) if version is None else workspace.registry.get(name, version)
    with load(
        workspace.tracking,
        chosen.model_uri,
        model=name,
        number=chosen.version,
        artifact_hash=chosen.artifact_hash,
    ) as loaded:
        given = rows if isinstance(rows, pa.Table) else _read(workspace, rows, loaded.plan)
        return QueryResult(arrow=predict(workspace.lakehouse, loaded, given, at=at))


def _read(workspace: Workspace, rows: str, plan: FeaturePlan) -> pa.Table:
    """The rows of a table, a file or a SELECT, in memory; of a table the columns that a model can need."""
    from headrace.features.rows import needed
    from headrace.inference.input_rows import read_file
    from headrace.lakehouse.adhoc import ask

    kind, word = kind_of_text(workspace, rows), rows.strip()
    if kind == "file":
        return read_file(workspace.lakehouse, plan, Path(word), like=sources_of(workspace, plan.spine))
    if kind == "query":
        return ask(workspace.lakehouse, rows)
    names = workspace.lakehouse.snapshot(word).schema.names
    wanted = dict.fromkeys((*needed(plan), *(each.name for each in plan.inputs)))
    listed = ", ".join(column(name) for name in wanted if name in names) or "*"
    return ask(workspace.lakehouse, f"select {listed} from {quoted(word)}")
