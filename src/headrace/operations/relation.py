"""Rows that a question is about: a table by its name, a file, the answer to a SELECT, or rows in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

import pyarrow as pa

from headrace.core.errors import DataError, DeclarationError, NotFoundError
from headrace.lakehouse import files
from headrace.lakehouse.declarations import NAME, Source, Table
from headrace.lakehouse.identifiers import quoted

if TYPE_CHECKING:
    from headrace.workspace.workspace import Workspace

Relation = str | pa.Table
Kind = Literal["table", "file", "query"]


class ArrowStream(Protocol):
    """Rows that can be read as Arrow does: an Arrow table, a data frame of polars or pandas."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The Arrow PyCapsule interface."""
        ...


if TYPE_CHECKING:
    import pandas as pd

    from headrace.operations.sql import QueryResult

    Frame = pd.DataFrame | ArrowStream | QueryResult | Sequence[Mapping[str, object]]


def in_memory(rows: Frame) -> pa.Table:
    """Rows in memory as an Arrow table.

    Args:
        rows: a data frame of pandas (its index is left out) or of polars, an Arrow table, the answer to a SELECT, or a list
            of dictionaries, column → value; a column that a dictionary lacks is null there.

    Raises:
        DeclarationError: it is none of these, has no row or no column, two columns of one name, or a column whose values
            are of several kinds.
    """
    from headrace.lakehouse.frame import arrow_table
    from headrace.operations.sql import QueryResult

    if isinstance(rows, QueryResult):
        return rows.arrow
    if isinstance(rows, Sequence) and not isinstance(rows, str):
        listed = cast("Sequence[object]", rows)
        if strange := [each for each in listed if not isinstance(each, Mapping)]:
            raise DeclarationError(
                f"a row of the list is {type(strange[0]).__name__}, no dictionary.",
                hint='Write each as {"column": value}, or give a data frame.',
            )
        return arrow_table(_from_dictionaries(cast("Sequence[Mapping[str, object]]", listed)), "the list of rows")
    return arrow_table(rows, "what was given")


def _from_dictionaries(rows: Sequence[Mapping[str, object]]) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    try:
        return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
        raise DeclarationError(
            f"the list of rows cannot be read as a table: {error}", hint="Make the values of each column of one kind."
        ) from None


@dataclass(frozen=True, kw_only=True)
class OpenRelation:
    """Rows that can be read on a connection.

    Attributes:
        name: as people are told.
        version: the number of the Delta version; None for what is no table.
        sql: the rows, as it stands after FROM.
        schema: of the rows.
        tables: table → version that the connection needs.
        arrow: views that it needs.
    """

    name: str
    version: int | None = None
    sql: str
    schema: pa.Schema
    tables: Mapping[str, int] = field(default_factory=dict[str, int])
    arrow: Mapping[str, pa.Table] = field(default_factory=dict[str, "pa.Table"])


def open_relation(
    workspace: Workspace, rows: Relation, *, version: int | None = None, view: str = "given"
) -> OpenRelation:
    """Finds rows.

    Args:
        workspace: the environment.
        rows: the name of a table, the path of a file, a SELECT, or a table in memory.
        version: the number of a Delta version of a table; None: the latest.
        view: what the rows are called where they are no table.

    Raises:
        NotFoundError: there is no such table, version or file.
        SqlError: the SELECT cannot be parsed, or reads what is not a table of the lakehouse.
        LimitError: its answer is too large.
        DataError: there is no row or no column, or the file cannot be read.
        DeclarationError: a version of what is no table.
    """
    if isinstance(rows, str):
        kind = kind_of_text(workspace, rows)
        if kind == "table":
            return _table(workspace, rows.strip(), version)
        held, name = _read(workspace, rows, kind)
    else:
        held, name = rows, "frame"
    if version is not None:
        raise DeclarationError(f"version {version} of a {name}: only a table has versions.")
    if not held.num_rows or not held.num_columns:
        raise DataError(f"the {name} has {held.num_rows} rows and {held.num_columns} columns.")
    held = _readable(held)
    return OpenRelation(name=name, sql=view, schema=held.schema, arrow={view: held})


def _readable(rows: pa.Table) -> pa.Table:
    """The same rows, in types that DuckDB reads: half floats as floats; intervals and other types of extensions as texts."""
    for place, each in enumerate(rows.schema):
        column = rows.column(place)
        if pa.types.is_float16(each.type):
            rows = rows.set_column(place, each.name, column.cast(pa.float32()))
            continue
        inner = each.type.value_type if pa.types.is_dictionary(each.type) else each.type
        if isinstance(inner, pa.BaseExtensionType):
            texts = pa.array([None if value is None else _one_text(value) for value in column.to_pylist()], pa.string())
            rows = rows.set_column(place, each.name, texts)
    return rows


def _one_text(value: object) -> str:
    """A value of a type of an extension: an interval of pandas as `(0, 5)`."""
    if isinstance(value, Mapping):
        ends = cast("Mapping[str, object]", value).values()
        return f"({', '.join(f'{each:g}' if isinstance(each, float) else str(each) for each in ends)})"
    return str(value)


def kind_of_text(workspace: Workspace, text: str) -> Kind:
    """Whether a text is the name of a table, the path of a file, or a SELECT. A table that exists comes before a file.

    Raises:
        NotFoundError: it is one word, and neither a table nor a file.
    """
    word = text.strip()
    if NAME.fullmatch(word) and workspace.lakehouse.exists(word):
        return "table"
    if Path(word).suffix.lower() in files.ENDINGS and _is_file(word):
        return "file"
    if len(word.split()) > 1:
        return "query"
    tables = [each.name for each in workspace.lakehouse.names()]
    raise NotFoundError(
        "table or file", word, tables, hint=f"Write schema.table, a SELECT, or the path of a file: {files.POSSIBLE}."
    )


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # a SELECT that is longer than any path
        return False


def _read(workspace: Workspace, text: str, kind: Kind) -> tuple[pa.Table, str]:
    """The rows of a file or of a SELECT, and what they are called."""
    if kind == "query":
        from headrace.lakehouse.adhoc import ask

        return ask(workspace.lakehouse, text), "query"
    path = Path(text.strip())
    with files.read(path, files.Reading()) as content:
        return content.batches.read_all(), path.name


def _table(workspace: Workspace, name: str, version: int | None) -> OpenRelation:
    snapshot = workspace.lakehouse.snapshot(name, version)
    if not snapshot.rows():
        raise DataError(f"{name} version {snapshot.version} has no rows.")
    return OpenRelation(
        name=name,
        version=snapshot.version,
        sql=quoted(name),
        schema=snapshot.schema,
        tables={name: snapshot.version},
    )


def sources_of(workspace: Workspace, table: str) -> tuple[Source, ...]:
    """The sources of files that the rows of a table come from, as they are declared now."""
    from headrace.lakehouse import graph

    project = workspace.project
    elsewhere = [name.name for name in workspace.lakehouse.names()]
    found = graph.sources([*project.all(Source), *project.all(Table)], table, elsewhere=elsewhere)
    return tuple(each for each in found if each.files)


def chosen(schema: pa.Schema, columns: Sequence[str] | None, of: str) -> list[pa.Field]:
    """The columns that are asked for, in the order of the table; None: all.

    Raises:
        NotFoundError: there is no such column.
    """
    columns = [columns] if isinstance(columns, str) else columns
    for name in columns or ():
        if name not in schema.names:
            raise NotFoundError(f"column of {of}", name, schema.names)
    return [each for each in schema if columns is None or each.name in columns]
