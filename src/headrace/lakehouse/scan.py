"""The one reader: Delta snapshots as views of a DuckDB connection that can read nothing else.

DuckDB reads most tables itself from the Parquet files of the snapshot, so that filters and columns are pushed
into them. The types are those of the Delta schema and not those of the files: a file that is older than a column
lacks it, and files of two schemas cause, depending on their order, an error or silently fewer columns. Tables
with partition columns, and all tables in object stores, are read through Arrow's dataset; with deletion vectors or
column mapping through delta-rs, into memory.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import duckdb
import pyarrow as pa

from headrace.core.errors import DataError, NotFoundError
from headrace.core.ids import new_id
from headrace.lakehouse import confinement, spill
from headrace.lakehouse.columns import DUCKDB, NAMES
from headrace.lakehouse.identifiers import column, literal, quoted
from headrace.lakehouse.storage import data_files

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from pyarrow.dataset import Dataset

    from headrace.lakehouse.table_version import TableVersion

DATASET_FEATURES = frozenset({"timestampNtz"})  # reader features under which a Parquet file is still what it seems
OURS = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ParserException,
    duckdb.OutOfMemoryException,
)  # no file's fault
SPILL = "64GiB"  # what a question whose memory is limited may write to disk
T = TypeVar("T")
FIRST_ROWS = 1000  # where most columns have a value, so that only the others are looked through


def connect(
    snapshots: Sequence[TableVersion], arrow: Mapping[str, pa.Table] | None = None, *, threads: int | None = None
) -> duckdb.DuckDBPyConnection:
    """A private in-memory DuckDB with each snapshot as the view `"schema"."table"`, shut off from everything else.

    It opens no file but those of the snapshots, sees no Python variable, loads no extension, and its settings are locked.
    One thing DuckDB cannot be told is to open files for reading only: `COPY … TO` the exact path of such a file would
    still overwrite it. So this is for Headrace's own statements; text that a user wrote is run by `ask`.

    Args:
        snapshots: the tables; no two of one name.
        arrow: further tables in memory, by the name of their view: `rows`, or `schema.table`.
        threads: how many to compute with; None for one a core. With one, the same question has the same answer to the
            last bit: with more, floating point numbers are added up in an order that chance decides.

    Raises:
        DataError: a file of a table is gone, or damaged.
    """
    views = [_view(snapshot, f"__snapshot_{number}") for number, snapshot in enumerate(snapshots)]
    with _complete(snapshots):
        return _open(views, _settings(threads), arrow)


def ask(
    snapshots: Sequence[TableVersion],
    work: Callable[[duckdb.DuckDBPyConnection], T],
    *,
    threads: int | None = None,
    memory: str | None = None,
    seconds: float | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> T:
    """What `work` makes of a connection as `connect` gives it, in which no file of a table can be written.

    Where the tables are Parquet files on this machine and the kernel can keep a thread from writing, DuckDB reads them
    from such a thread, which costs nothing. Otherwise it is given no file at all, but Arrow's datasets of every table,
    which took 1.1 times (a window) to 37 times (a count) as long (docs/adr/0020).

    Args:
        snapshots: the tables.
        work: calls DuckDB, and nothing that keeps threads for the whole process, as Arrow's compute does; nothing that
            it returns may need the connection.
        threads: see `connect`.
        memory: how much DuckDB may take before it spills, as "4GiB" or "50%"; None for most of the machine's. What it
            spills is then limited too.
        seconds: how long it may take; None for as long as it takes.
        cancelled: asked several times a second whether it is to end now; None: nobody ends it.

    Raises:
        DataError: a file of a table is gone, or damaged.
        TimeoutError: it took longer.
        InterruptedError: it was cancelled.
    """
    views = [_view(snapshot, f"__snapshot_{number}") for number, snapshot in enumerate(snapshots)]
    kept = all(view.files is not None for view in views) and confinement.possible()
    if not kept:
        views = [_through_arrow(view, snapshot) for view, snapshot in zip(views, snapshots, strict=True)]
    opened: list[duckdb.DuckDBPyConnection] = []
    settings = _settings(threads, memory)

    def inside() -> T:
        with _open(views, settings) as connection:
            opened.append(connection)
            return work(connection)

    def stop() -> None:
        for connection in opened:
            with suppress(duckdb.Error):  # it was closed just now
                connection.interrupt()

    with _complete(snapshots):
        writable = [spill.folder()] if kept else None
        return confinement.run(inside, stop=stop, writable=writable, seconds=seconds, cancelled=cancelled)


def to_arrow(snapshot: TableVersion, columns: Sequence[str] | None, where: str | None) -> pa.Table:
    """Rows of a snapshot in the types of its Delta schema.

    Raises:
        NotFoundError: there is no such column.
    """
    schema = snapshot.schema
    chosen = list(schema.names if columns is None else columns)
    for name in chosen:
        if name not in schema.names:
            raise NotFoundError(f"column of {snapshot.name}", name, schema.names)
    listed = ", ".join(column(name) for name in chosen) or "1"
    statement = f"SELECT {listed} FROM {quoted(snapshot.name)}{'' if where is None else f' WHERE {where}'}"
    with _reading(snapshot) as connection:
        rows = connection.sql(statement).to_arrow_table()
    return rows.select([]) if not chosen else rows.cast(pa.schema([schema.field(name) for name in chosen]))


def count(snapshot: TableVersion) -> int:
    """How many rows a snapshot has: from the statistics in the log where each file has them, else by reading."""
    if _is_plain(snapshot):
        known = data_files(snapshot.table)
        rows = known["num_records"].to_pylist() if "num_records" in known.column_names else [None] * known.num_rows
        if None not in rows:
            return sum(rows)
    with _reading(snapshot) as connection:
        found = connection.execute(f"SELECT count(*) FROM {quoted(snapshot.name)}").fetchone()
    return int(found[0]) if found else 0


def without_values(snapshot: TableVersion, names: Sequence[str]) -> frozenset[str]:
    """Those of these columns in which no row has a value."""
    if not names:
        return frozenset()
    table = quoted(snapshot.name)
    with _reading(snapshot) as connection:
        listed = ", ".join(column(name) for name in names)
        first = connection.sql(f"SELECT {listed} FROM {table} LIMIT {FIRST_ROWS}").to_arrow_table()
        blank = [name for name in names if first[name].null_count == first.num_rows]
        found = {
            name: connection.execute(f"SELECT 1 FROM {table} WHERE {column(name)} IS NOT NULL LIMIT 1").fetchone()
            for name in blank
        }
    return frozenset(name for name, row in found.items() if row is None)


# ---------------------------------------------------------------------------------------------- the sandbox


def _settings(threads: int | None, memory: str | None = None) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "threads": threads or os.cpu_count() or 1,
        "perfect_ht_threshold": 16,  # bits: histograms of a thousand bins are counted in an array
        "temp_directory": str(spill.folder() / new_id()),
        "python_enable_replacements": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "allow_persistent_secrets": False,
        **({} if memory is None else {"memory_limit": memory, "max_temp_directory_size": SPILL}),
    }


def _lock(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> None:
    connection.execute(f"SET allowed_paths = {_list(files)}")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


# ---------------------------------------------------------------------------------------------- views


@dataclass(frozen=True, kw_only=True)
class _View:
    """How DuckDB reads a snapshot.

    Attributes:
        name: `schema.table`.
        schema: of the Delta table.
        alias: a name for `rows`.
        files: the Parquet files, to be read by DuckDB itself; None where it reads `rows`.
        rows: what Arrow reads.
    """

    name: str
    schema: pa.Schema
    alias: str
    files: Sequence[str] | None
    rows: Dataset | pa.Table | None = None


def _view(snapshot: TableVersion, alias: str) -> _View:
    """The quickest way that is right for the table."""
    files = _local_files(snapshot)
    if files is None:
        snapshot.place.own(data_files(snapshot.table)["path"].to_pylist())
    rows = _arrow(snapshot) if files is None else None
    return _View(name=snapshot.name, schema=snapshot.schema, alias=alias, files=files, rows=rows)


def _through_arrow(view: _View, snapshot: TableVersion) -> _View:
    """The way in which DuckDB opens no file."""
    return replace(view, files=None, rows=_arrow(snapshot)) if view.files else view


def _open(
    views: Sequence[_View],
    settings: dict[str, str | bool | int | float | list[str]],
    arrow: Mapping[str, pa.Table] | None = None,
) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config=settings)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        for view in views:
            try:
                _add_view(connection, view)
            except duckdb.Error as error:
                raise _DamagedError(view.name, str(error)) from error
        for number, (name, rows) in enumerate((arrow or {}).items()):
            connection.register(f"__arrow_{number}", rows)
            _create_view(connection, name, f"SELECT * FROM __arrow_{number}")
        _lock(connection, [file for view in views for file in view.files or ()])
    except BaseException:
        connection.close()
        raise
    return connection


def _add_view(connection: duckdb.DuckDBPyConnection, view: _View) -> None:
    if view.files:
        source = f"read_parquet({_list(view.files)}, union_by_name = true)"
        try:
            _create_view(connection, view.name, _select(view.schema, source))
        except duckdb.BinderException:  # a column of the schema that no file has yet
            there = connection.sql(f"SELECT * FROM {source} LIMIT 0").columns
            _create_view(connection, view.name, _select(view.schema, source, there))
    elif view.files is not None:
        _create_view(connection, view.name, f"{_select(view.schema, None)} WHERE false")
    else:
        connection.register(view.alias, view.rows)
        _create_view(connection, view.name, _select(view.schema, view.alias))


@contextmanager
def _reading(snapshot: TableVersion) -> Generator[duckdb.DuckDBPyConnection]:
    """A connection for a statement of ours, which only fails if a file of the table does.

    Raises:
        DataError: a file is gone, or damaged.
    """
    with _complete([snapshot]), connect([snapshot]) as connection:
        try:
            yield connection
        except OURS:
            raise
        except duckdb.Error as error:
            raise _DamagedError(snapshot.name, str(error)) from error


@contextmanager
def _complete(snapshots: Sequence[TableVersion]) -> Generator[None]:
    """Says which files are gone where reading fails for that.

    Raises:
        DataError: files are gone, or DuckDB found one damaged.
    """
    try:
        yield
    except _DamagedError as error:
        _check_complete(snapshots)
        raise DataError(
            f"{error.table} cannot be read: {str(error).splitlines()[0]}",
            hint=f"Something other than a Delta writer changed its files. Restore them from a backup, "
            f"or an earlier version: headrace table history {error.table}",
        ) from None
    except duckdb.IOException:
        _check_complete(snapshots)
        raise


class _DamagedError(Exception):
    """DuckDB made no view of a table.

    Attributes:
        table: its name.
    """

    def __init__(self, table: str, reason: str) -> None:
        super().__init__(reason)
        self.table = table


def _check_complete(snapshots: Sequence[TableVersion]) -> None:
    """Refuses to read a version that lost files.

    Raises:
        DataError: files are gone.
    """
    for snapshot in snapshots:
        if gone := snapshot.place.missing(snapshot.version):
            raise DataError(
                f"{snapshot.name}: version {snapshot.version} cannot be read: {len(gone)} of its files were vacuumed.",
                findings=gone,
            )


def _create_view(connection: duckdb.DuckDBPyConnection, name: str, select: str) -> None:
    schema, _, table = name.rpartition(".")
    if schema:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {column(schema)}")
    connection.execute(f"CREATE VIEW {quoted(name) if schema else column(table)} AS {select}")


def _select(schema: pa.Schema, source: str | None, there: Sequence[str] | None = None) -> str:
    """SELECT of every column of a schema, cast to its type; null where the source does not have it."""
    has = schema.names if there is None else there
    casts = [
        f"CAST({column(field.name) if source and field.name in has else 'NULL'} AS {duckdb_type(field.type)})"
        f" AS {column(field.name)}"
        for field in schema
    ]
    return f"SELECT {', '.join(casts)}{f' FROM {source}' if source else ''}"


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(literal(value) for value in values)}]"


# ---------------------------------------------------------------------------------------------- files


def _is_plain(snapshot: TableVersion) -> bool:
    """Whether the rows of the table are the rows of its files, no more and no fewer columns hidden in paths."""
    features = set(snapshot.table.protocol().reader_features or ())
    metadata = snapshot.table.metadata()
    mapped = metadata.configuration.get("delta.columnMapping.mode", "none") != "none"
    return features <= DATASET_FEATURES and not mapped and not metadata.partition_columns


def _local_files(snapshot: TableVersion) -> list[str] | None:
    """The files of a plain table on this machine, in the order they were written; None for any other table."""
    folder = snapshot.place.folder
    if folder is None or not _is_plain(snapshot):
        return None
    added = data_files(snapshot.table).select(["modification_time", "path"]).to_pylist()
    paths = [str(each["path"]) for each in sorted(added, key=lambda each: (each["modification_time"], each["path"]))]
    own = snapshot.place.own(paths)
    return [str(folder / path) for path in own] if len(own) == len(paths) else None


def _arrow(snapshot: TableVersion) -> Dataset | pa.Table:
    table = snapshot.table
    features = set(table.protocol().reader_features or ())
    mapped = table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none"
    if features <= DATASET_FEATURES and not mapped:
        return table.to_pyarrow_dataset()
    return pa.table(table.scan()).select(snapshot.schema.names).cast(snapshot.schema)


# ---------------------------------------------------------------------------------------------- types


def duckdb_type(found: pa.DataType) -> str:
    """DuckDB's name for the type of a column that Delta holds.

    Raises:
        DataError: Delta holds it (a variant, say) and DuckDB has no type that would give back the same values.
    """
    if found in NAMES:
        return DUCKDB[NAMES[found]]
    if pa.types.is_decimal(found):
        return f"DECIMAL({found.precision}, {found.scale})"
    if pa.types.is_binary(found):
        return "BLOB"
    if pa.types.is_list(found):
        return f"{duckdb_type(found.value_type)}[]"
    if pa.types.is_map(found):
        return f"MAP({duckdb_type(found.key_type)}, {duckdb_type(found.item_type)})"
    if pa.types.is_struct(found):
        return f"STRUCT({', '.join(f'{column(field.name)} {duckdb_type(field.type)}' for field in found)})"
    raise DataError(f"a column of type {found} cannot be read.", hint="Cast it where the table is written.")
