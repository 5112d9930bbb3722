"""What a model of a project takes in: its tables, its feature plan, its code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.chains.declarations import indexes
from headrace.core.errors import HeadraceError, NotFoundError
from headrace.environments.code import names
from headrace.features.declarations import FeatureTable, ReferencedSelection
from headrace.features.plan import check_free, plan
from headrace.lakehouse.declarations import Selection, key_of
from headrace.training.labels import check_label
from headrace.training.package import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from headrace.environments.project import Project
    from headrace.features.plan import FeaturePlan
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.training.declarations import Model


def tables(model: Model) -> list[str]:
    """The spine, the label's table, every table that features are selected from, and every index; each once."""
    selected = [each for each in model.inputs if isinstance(each, Selection | ReferencedSelection)]
    looked_up = [each.table.name if isinstance(each, Selection) else each.name for each in selected]
    searched = [index.name for index in indexes(model.uses)]
    return list(dict.fromkeys((model.decisions.table.name, model.task.label.table.name, *looked_up, *searched)))


def descriptions(model: Model, lakehouse: Lakehouse) -> dict[str, str]:
    """Table → what it says it is, for the tables of `tables`: as declared; as built, where only its name is known."""
    declared = [each.table for each in model.inputs if isinstance(each, Selection)]
    known = (model.decisions.table, model.task.label.table, *declared, *indexes(model.uses))
    said = {table.name: table.description for table in known}
    return {
        name: said[name] if name in said else lakehouse.snapshot(name).properties.get("headrace.description", "")
        for name in tables(model)
    }


def feature_plan(project: Project, lakehouse: Lakehouse, model: Model) -> FeaturePlan:
    """The plan of a model's features, by the schemas that its tables have now.

    Raises:
        NotFoundError: a table that is not there; a feature table by name that nobody declared as one.
        DeclarationError: features that do not fit together.
    """
    try:
        return _feature_plan(project, lakehouse, model)
    except HeadraceError as error:
        raise error.at(model.where) from None


def _feature_plan(project: Project, lakehouse: Lakehouse, model: Model) -> FeaturePlan:
    schemas = {name: lakehouse.snapshot(name).schema for name in tables(model)}
    label = model.task.label
    _check_columns(label.table.name, model.task.label_columns, schemas, f"label= of model {model.name!r}")
    _check_columns(model.decisions.table.name, model.evaluate.slices, schemas, f"slices= of model {model.name!r}")
    for name in model.evaluate.slices:
        check_free(name, f"slices= of model {model.name!r}")
    check_label(model, schemas)
    declared = {table.name: table for table in project.all(FeatureTable)}

    def resolve(name: str) -> FeatureTable:
        return declared[name] if name in declared else _made_elsewhere(lakehouse, name, declared)

    return plan(model.decisions, model.inputs, schemas, resolve=resolve)


def _check_columns(table: str, names: Sequence[str], schemas: Mapping[str, pa.Schema], asked_by: str) -> None:
    for name in names:
        if name not in schemas[table].names:
            raise NotFoundError(f"column of {table}", name, schemas[table].names, hint=f"Asked for by {asked_by}.")


def _made_elsewhere(lakehouse: Lakehouse, name: str, declared: dict[str, FeatureTable]) -> FeatureTable:
    """A feature table of another project, by what its properties say."""
    properties = lakehouse.snapshot(name).properties
    if properties.get("headrace.kind") != "feature":
        raise NotFoundError("feature table", name, declared, hint="`headrace feature list` shows them all.")
    return FeatureTable(
        name,
        key=key_of(properties),
        time=properties["headrace.time"],
        look_back=properties.get("headrace.look_back") or None,
    )


def origin(project: Project) -> Origin:
    """The code that travels with a model of this project."""
    return Origin(
        folder=project.code.folder,
        module=project.settings.module,
        commit=project.code.commit,
        tree=project.code.tree,
        names=names(project.config, project.code),
        leave_out=tuple(Path(environment.root) for environment in project.config.environments),
    )


def modules(project: Project) -> list[str]:
    """The project's modules as they are imported now."""
    top = project.module.__name__.partition(".")[0]
    return [name for name in sys.modules if name == top or name.startswith(f"{top}.")]
