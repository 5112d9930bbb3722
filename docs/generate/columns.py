"""Stored columns: of the tables that Headrace makes in the lakehouse, and of the state database.

The columns and their types are those of the code; what they mean is in `columns.toml`.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import sqlalchemy as sa
from docs.generate.docstrings import cell, markdown, table

import headrace
from headrace.inference.destinations.database import DatabaseTable
from headrace.lakehouse import declarations, expectations, parsed_file
from headrace.scoring import columns as predictions
from headrace.training import training_set

PACKAGE = Path(headrace.__file__).parent
WITHOUT = ("__main__.py", "__init__.py", "worker.py")  # they do something when they are imported
SCHEMAS = {  # a schema, or types by name, that a module declares → the tables that have it
    "headrace.deployment.comparison.SCHEMA": ("metrics.comparisons",),
    "headrace.inference.inference_record.COLUMNS": ("inference.<model>",),
    "headrace.inference.serving_metrics.SCHEMA": ("metrics.serving",),
    "headrace.llm.feedback.dataset.EXAMPLES": ("<examples>",),
    "headrace.llm.feedback.table.SCHEMA": ("metrics.feedback",),
    "headrace.llm.index.update.SCHEMA": ("<index>",),
    "headrace.inference.streaming.requests.LETTERS": ("<predictions>_dead_letters",),
    "headrace.monitoring.kpis.SCHEMA": ("metrics.kpis",),
    "headrace.monitoring.metric_tables.DRIFT": ("<predictions>_drift_metrics",),
    "headrace.monitoring.metric_tables.HISTOGRAMS": ("<predictions>_histograms",),
    "headrace.monitoring.metric_tables.PROFILE": ("<predictions>_profile_metrics",),
    "headrace.monitoring.quality.SCHEMA": ("metrics.model_quality",),
    "headrace.monitoring.skew.SCHEMA": ("metrics.skew",),
    "headrace.pipelines.backtest.SCHEMA": ("metrics.backtests",),
    "headrace.training.evaluated_answers.SCHEMA": ("metrics.evaluated_answers",),
    "headrace.training.evaluation.SCHEMA": ("metrics.evaluations",),
}
UNSTORED = {  # in memory, or types without a table
    "headrace.inference.records.TYPES",
    "headrace.inference.streaming.full_columns.INPUTS",
    "headrace.lakehouse.columns.ARROW",
    "headrace.monitoring.histograms.SCHEMA",
}
ADDED: dict[str, dict[str, str]] = {  # beside the columns of a project, or numbered when they are written
    "bronze.<source>": dict.fromkeys(parsed_file.OWN, "string"),
    "arrivals.<source>": {declarations.ROW_ID: "string", declarations.ARRIVED_AT: "timestamp[us, tz=UTC]"},
    "quarantine.<schema>_<table>": {expectations.REASON: "string"},
    "training.<model>": {training_set.LABEL: "of the label", training_set.PART: "string"},
    "<predictions>": {
        predictions.ID: "string",
        predictions.AT: "of the spine",
        "model": "string",
        "model_version": "int64",
        predictions.FEATURES: "struct",
        predictions.VERSIONS: "string",
        predictions.IN_SAMPLE: "bool",
        "scored_at": "timestamp[us, tz=UTC]",
    },
    **{f"<predictions>_{name}": {"place": "int64"} for name in ("profile_metrics", "drift_metrics", "histograms")},
}

INTRODUCTION = (
    "Moments are UTC with microseconds. Tables of the lakehouse are Delta tables: `headrace sql` and any Delta client read "
    "them. `<predictions>` is the table that `hr.Score(into=…)` or `hr.Stream(into=…)` names, by default "
    "`gold.<model>_predictions`."
)


@cache
def modules() -> tuple[object, ...]:
    """Every module of the package."""
    return tuple(
        import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
        for path in sorted(PACKAGE.rglob("*.py"))
        if "examples" not in path.relative_to(PACKAGE).parts and path.name not in WITHOUT
    )


def declared_schemas() -> dict[str, dict[str, str]]:
    """Every Arrow schema, and every dictionary of Arrow types, that a module declares: its place → column → type."""
    found: dict[str, dict[str, str]] = {}
    for module in modules():
        for name, value in vars(module).items():
            types = dict(zip(value.names, value.types, strict=True)) if isinstance(value, pa.Schema) else value
            if isinstance(types, dict) and types and all(isinstance(each, pa.DataType) for each in types.values()):
                place = f"{getattr(module, '__name__', '')}.{name}"
                found[place] = {column: str(kind) for column, kind in types.items()}
    return found


def state_tables() -> dict[str, dict[str, str]]:
    """The tables of the state database: name → column → type of SQL."""
    found: dict[str, sa.Table] = {}
    for module in modules():
        for value in vars(module).values():
            tables = value.tables.values() if isinstance(value, sa.MetaData) else [value]
            found |= {each.name: each for each in tables if isinstance(each, sa.Table)}
    return {name: _types(each) for name, each in sorted(found.items())}


def _types(made: sa.Table) -> dict[str, str]:
    kinds = (
        (each.name, "TIMESTAMP" if type(each.type).__name__ == "Instant" else str(each.type)) for each in made.columns
    )
    return {name: kind.partition("(")[0] for name, kind in kinds}


def destination_tables() -> dict[str, dict[str, str]]:
    """The table that Headrace keeps beside predictions in a database of the user."""
    notes = DatabaseTable("sqlite://", database="d", table="t")._notes  # noqa: SLF001
    return {notes.name: _types(notes)}


def lakehouse_tables() -> dict[str, dict[str, str]]:
    """The tables of the lakehouse: name → column → type of Arrow."""
    found: dict[str, dict[str, str]] = {}
    schemas = declared_schemas()
    for place, tables in SCHEMAS.items():
        for name in tables:
            found.setdefault(name, {}).update(schemas.get(place, {}))
    for name, columns in ADDED.items():
        found.setdefault(name, {}).update(columns)
    return dict(sorted(found.items()))


def stored_columns() -> dict[str, dict[str, str]]:
    """Every table with its columns."""
    return {**lakehouse_tables(), **state_tables(), **destination_tables()}


@cache
def _described() -> MappingProxyType[str, dict[str, dict[str, str] | str]]:
    return MappingProxyType(tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")))


def about() -> dict[str, str]:
    """What a table holds, one row for what."""
    return {name: str(text) for name, text in _described()["tables"].items()}


def descriptions() -> dict[str, dict[str, str]]:
    """Table → column → what it means. A section of the file may name several tables, with commas between them."""
    found: dict[str, dict[str, str]] = {}
    for names, columns in _described()["columns"].items():
        assert isinstance(columns, dict)
        for name in names.split(", "):
            found.setdefault(name, {}).update(columns)
    return found


def undescribed() -> list[str]:
    """Tables and columns without a description, and declared schemas whose tables are not known here."""
    known, texts = descriptions(), about()
    stored = stored_columns()
    return [
        *(name for name in stored if not texts.get(name)),
        *(
            f"{name}.{column}"
            for name, columns in stored.items()
            for column in columns
            if not known.get(name, {}).get(column)
        ),
        *sorted(declared_schemas().keys() - SCHEMAS.keys() - UNSTORED),
    ]


def stale() -> list[str]:
    """Described tables, columns and schemas that are not there."""
    stored = stored_columns()
    return [
        *(name for name in about() if name not in stored),
        *(
            f"{name}.{column}"
            for name, columns in descriptions().items()
            for column in columns
            if column not in stored.get(name, {}) and "<" not in column
        ),
        *sorted((SCHEMAS.keys() | UNSTORED) - declared_schemas().keys()),
    ]


def page() -> str:
    """The page of stored columns."""
    known, texts = descriptions(), about()
    blocks = [
        "# Stored tables and columns",
        INTRODUCTION,
    ]
    groups = (
        ("Lakehouse", "", lakehouse_tables()),
        (
            "State database",
            "SQLite or PostgreSQL; see [core](../core.md). Headrace alone writes it.",
            state_tables(),
        ),
        ("Databases of predictions", "Beside the predictions that `hr.database(…)` writes.", destination_tables()),
    )
    for title, text, tables in groups:
        blocks += [f"## {title}", *([text] if text else [])]
        for name, columns in tables.items():
            blocks += [f"### {name}".replace("<", "&lt;"), markdown(texts.get(name, ""))]
            others = [(f"`{column}`", "", cell(text)) for column, text in known.get(name, {}).items() if "<" in column]
            rows = [
                (f"`{column}`", kind, cell(known.get(name, {}).get(column, ""))) for column, kind in columns.items()
            ]
            blocks.append(table(("Column", "Type", "Meaning"), [*rows, *others]))
    return "\n\n".join(blocks)
