"""Which columns a model selects from each table, and which models select from a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.features.declarations import AllColumns, ReferencedSelection
from headrace.lakehouse.declarations import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.training.declarations import Model


def selected_columns(model: Model) -> dict[str, list[str]]:
    """Table → the columns that a model selects from it, in declared order; none for all columns of the spine."""
    columns: dict[str, list[str]] = {}
    for feature in model.inputs:
        if isinstance(feature, AllColumns):
            columns.setdefault(model.decisions.table.name, [])
        elif isinstance(feature, Selection):
            columns.setdefault(feature.table.name, []).extend(feature.columns)
        elif isinstance(feature, ReferencedSelection):
            columns.setdefault(feature.name, []).extend(feature.columns)
    return columns


def models_by_table(models: Iterable[Model]) -> dict[str, list[str]]:
    """Table → the names of the models that select from it, in the order of their declaration."""
    names: dict[str, list[str]] = {}
    for model in models:
        for table in selected_columns(model):
            names.setdefault(table, []).append(model.name)
    return names
