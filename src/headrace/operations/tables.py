"""Tables of the lakehouse: the list, the content of one, its versions, and loading a file by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError
from headrace.operations.in_use import at_work
from headrace.operations.operation import operation
from headrace.operations.record import Record, rows_as_json
from headrace.operations.sql import QueryResult

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from headrace.core.ids import Json
    from headrace.workspace.workspace import Workspace

MOST = 1000  # rows that are shown
SAMPLE = 5  # rows


@dataclass(frozen=True, kw_only=True)
class TableReport(Record):
    """A table that can be read.

    Attributes:
        table: its name.
        env: the environment whose table it is: this one, or another one that it reads.
        instead_of: other environments that have a table of this name, which this one hides here.
        kind: `source`, `table`, `feature table` and so on, as Headrace keeps it with the table; None where it was made by others.
        rows: the number of its rows.
        columns: the number of its columns.
        version: the number of its latest Delta version.
    """

    table: str
    env: str
    instead_of: tuple[str, ...]
    kind: str | None
    rows: int
    columns: int
    version: int


@dataclass(frozen=True, kw_only=True)
class TableList(Record):
    """The tables that can be read from an environment.

    Attributes:
        env: the environment from which they are read.
        tables: sorted as the lakehouse lists them.
    """

    env: str
    tables: tuple[TableReport, ...]


@dataclass(frozen=True, kw_only=True)
class ColumnReport(Record):
    """A column of a table.

    Attributes:
        column: its name.
        type: its Arrow type, as text.
    """

    column: str
    type: str


@dataclass(frozen=True, kw_only=True)
class TableDetails(Record):
    """A version of a table.

    Attributes:
        table: its name.
        env: the environment whose table it is.
        version: the number of the Delta version that is shown.
        rows: the number of its rows.
        properties: what is kept with the table, by name; those of Headrace begin with `headrace.`.
        columns: in the order of the table.
        sample: some of its rows, each column → value.
    """

    table: str
    env: str
    version: int
    rows: int
    properties: Mapping[str, str]
    columns: tuple[ColumnReport, ...]
    sample: tuple[Mapping[str, object], ...]

    def to_json(self) -> dict[str, Json]:
        """As every record; in `sample`, NaN and infinities are the texts "NaN", "Infinity", "-Infinity"."""
        return {**super().to_json(), "sample": rows_as_json(self.sample)}


@dataclass(frozen=True, kw_only=True)
class TableVersion(Record):
    """A version of a table.

    Attributes:
        version: its number.
        at: when it was committed.
        operation: what Delta calls it: WRITE, MERGE, OPTIMIZE, RESTORE and so on.
        rows: the number of rows that were added or replaced; rows that were deleted do not count.
        user: who made it; None where Headrace did not.
        id: of the commit; None where Headrace did not make it.
    """

    version: int
    at: datetime
    operation: str
    rows: int
    user: str | None
    id: str | None


@dataclass(frozen=True, kw_only=True)
class LoadReport(Record):
    """What the load of a file did.

    Attributes:
        table: into which the file was loaded.
        env: the environment.
        rows: the number of rows that came.
        version: the number of the table's Delta version afterwards.
        changed: whether the file was new or had changed; a file that was loaded before changes nothing.
        notes: what was guessed about the file, a sentence each.
    """

    table: str
    env: str
    rows: int
    version: int
    changed: bool
    notes: tuple[str, ...]


@operation("table list")
def list_tables(workspace: Workspace, *, limit: int | None = None, offset: int = 0) -> TableList:
    """The tables that can be read from an environment, those of other environments among them.

    Args:
        workspace: the environment.
        limit: the number of tables; None: all.
        offset: how many are left out before them.
    """
    tables: list[TableReport] = []
    for name in islice(workspace.lakehouse.each_name(), offset, None if limit is None else offset + limit):
        table = workspace.lakehouse.summary(name.name, newest=False)
        tables.append(
            TableReport(
                table=name.name,
                env=table.env,
                instead_of=workspace.lakehouse.hidden(name.name),
                kind=table.kind,
                rows=table.rows,
                columns=table.columns,
                version=table.version,
            )
        )
    return TableList(env=workspace.environment.name, tables=tuple(tables))


@operation("table show", of="name")
def show_table(workspace: Workspace, name: str, *, rows: int = SAMPLE, version: int | None = None) -> TableDetails:
    """Columns, properties and some rows of a table.

    Args:
        workspace: the environment.
        name: of the table.
        rows: the number of rows to show.
        version: the number of a Delta version; None: the latest.

    Raises:
        NotFoundError: there is no such table, or it has no such version.
    """
    from headrace.lakehouse.identifiers import quoted
    from headrace.lakehouse.values import rows_of

    if not 0 <= rows <= MOST:
        raise ConfigError(f"{rows} rows are not shown.", hint=f"From 0 to {MOST}; `headrace sql` answers with more.")
    snapshot = workspace.lakehouse.snapshot(name, version)
    with workspace.lakehouse.connect({name: version}) as connection:
        sample = rows_of(connection.sql(f"from {quoted(name)} limit {int(rows)}").to_arrow_table())
    return TableDetails(
        table=name,
        env=snapshot.env,
        version=snapshot.version,
        rows=snapshot.rows(),
        properties=snapshot.properties,
        columns=tuple(ColumnReport(column=field.name, type=str(field.type)) for field in snapshot.schema),
        sample=tuple(sample),
    )


@operation("sql", of="name")
def read_table(workspace: Workspace, name: str, *, version: int | None = None) -> QueryResult:
    """All rows of a table, with the right to ask the lakehouse by SQL, and its entry in the audit record.

    Args:
        workspace: the environment.
        name: of the table.
        version: the number of a Delta version; None: the latest.

    Raises:
        NotFoundError: there is no such table, or it has no such version.
    """
    return QueryResult(arrow=workspace.lakehouse.snapshot(name, version).to_arrow())


@operation("table history", of="name")
def list_table_versions(workspace: Workspace, name: str, *, limit: int | None = None) -> list[TableVersion]:
    """The versions of a table, the latest first.

    Args:
        workspace: the environment.
        name: of the table.
        limit: only so many of the latest; None: all.

    Raises:
        NotFoundError: there is no such table.
    """
    return [
        TableVersion(
            version=entry.version,
            at=entry.at,
            operation=entry.operation,
            rows=entry.rows_written,
            user=entry.user,
            id=entry.id,
        )
        for entry in islice(workspace.lakehouse.each_entry(name), limit)
    ]


@operation("table load", of="file")
def load_table(workspace: Workspace, file: Path, *, into: str | None = None) -> LoadReport:
    """Loads a file into a table; the same file is loaded once, however often this is called.

    Args:
        workspace: the environment.
        file: CSV, JSONL or Parquet.
        into: the name of the table; None: `bronze.` and the name of the file.

    Raises:
        DeclarationError: `into` is not a table name.
        ConfigError: there is no such file.
        RefusedError: the project or Headrace makes this table itself.
        DataError: the file cannot be read, or does not fit the table.
        BusyError: something is being taken away from the environment.
    """
    from headrace.lakehouse.source import load_file
    from headrace.operations.reserved_tables import check_load

    name = into or f"bronze.{_named_after(file)}"
    with at_work(workspace):
        check_load(workspace, name)
        loaded = load_file(workspace.lakehouse, name, file)
    return LoadReport(
        table=name,
        env=workspace.environment.name,
        rows=loaded.rows,
        version=loaded.version,
        changed=bool(loaded.files_new),
        notes=loaded.notes,
    )


def _named_after(file: Path) -> str:
    name = re.sub(r"[^a-z0-9_]+", "_", file.name.partition(".")[0].lower()).strip("_")
    return name if re.match(r"[a-z]", name) else f"file_{name}".rstrip("_")
