"""Predictions into a table of an SQL database: a partition is one transaction, which also records that the partition was written.

SQLAlchemy Core, so any database that it supports. The table is created with the first predictions, `prediction_id` as
its key; features and their tables' versions are JSON text. The record is a row of the table `headrace_partitions`
beside it.
"""

# pyarrow.compute makes its functions when it is imported
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    create_engine,
    delete,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.schema import CreateColumn

from headrace.core.clock import now
from headrace.core.errors import ConfigError, DataError
from headrace.core.failpoints import reach
from headrace.core.state import Instant
from headrace.inference.destinations.base import ScoredRows
from headrace.inference.destinations.difference import compare
from headrace.inference.destinations.flat import flat
from headrace.scoring.columns import AT, ID

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from sqlalchemy import Connection, Engine
    from sqlalchemy.types import TypeEngine

NOTES = "headrace_partitions"
TURN = "(turn)"  # the note that a writer holds until it is through
WIDER = ((Integer, Float), (Date, DateTime), (Integer, Numeric))  # types of columns that would cut values of the second
ROWS = 10_000  # in one statement's list of values


class DatabaseTable:
    """See Destination.

    Args:
        url: of the database, as SQLAlchemy writes it; never shown.
        database: its name in `headrace.toml`.
        table: `table` or `schema.table`.

    Raises:
        ConfigError: the URL is malformed, or its driver is not installed.
    """

    def __init__(self, url: str, *, database: str, table: str) -> None:
        self.name = f"{table} of database {database}"
        self._database = database
        schema, _, self._table = table.rpartition(".")
        self._schema = schema or None
        self._engine = _engine(url, database)
        self._notes = Table(
            NOTES,
            MetaData(),
            Column("table_name", String(63), primary_key=True),
            Column("partition_id", String(64), primary_key=True),
            Column("rows_written", BigInteger, nullable=False),
            Column("at", Instant, nullable=False),
            schema=self._schema,
        )

    def write(self, predictions: pa.Table, *, id: str) -> ScoredRows:  # noqa: A002
        """See Destination."""
        rows = flat(predictions)
        with self._explained():
            self._prepare(rows.schema)
            written = self._write(rows, id)
        reach(f"database.committed:{self._table}")
        return ScoredRows(rows=written)

    def identity(self) -> str | None:
        """See Destination."""
        with self._explained():
            return "table" if inspect(self._engine).has_table(self._table, schema=self._schema) else None

    def close(self) -> None:
        """See Destination."""
        self._engine.dispose()

    def _write(self, rows: pa.Table, id: str) -> int:  # noqa: A002
        notes = self._notes.c
        with self._engine.begin() as connection:
            turn = (notes.table_name == self._table) & (notes.partition_id == TURN)
            connection.execute(update(self._notes).where(turn).values(at=now()))  # whoever else writes waits here
            mine = (notes.table_name == self._table) & (notes.partition_id == id)
            before = connection.execute(select(notes.rows_written).where(mine)).scalar()
            if before is not None:
                return int(before)
            table = self._described(rows.schema)
            self._widen(connection, table)
            standing = _standing(connection, table, rows)
            found = compare(rows, standing)
            reach(f"database.computed:{self._table}")
            if found.replace:
                for some in _slices(found.rows.select([ID])):
                    connection.execute(delete(table).where(table.c[ID].in_(some.column(ID).to_pylist())))
            for some in _slices(found.rows):
                connection.execute(insert(table), some.to_pylist())
            note = {"table_name": self._table, "partition_id": id, "rows_written": found.rows.num_rows, "at": now()}
            connection.execute(insert(self._notes).values(note))
            reach(f"database.written:{self._table}")
        return found.rows.num_rows

    def _described(self, schema: pa.Schema) -> Table:
        columns = [Column(field.name, _type(field), primary_key=field.name == ID) for field in schema]
        return Table(self._table, MetaData(), *columns, schema=self._schema)

    def _prepare(self, schema: pa.Schema) -> None:
        """Makes the tables, and the note by which writers take turns."""
        table = self._described(schema)
        Index(f"{self._table}_{AT}"[:63], table.c[AT])
        for each in (self._notes, table):
            self._create(each)
        turn = {"table_name": self._table, "partition_id": TURN, "rows_written": 0, "at": now()}
        with suppress(IntegrityError), self._engine.begin() as connection:  # it is there
            connection.execute(insert(self._notes).values(turn))

    def _create(self, table: Table) -> None:
        """Another process may be making it: then it is there a moment later."""
        for wait in (0.05, 0.2, 1.0, None):
            try:
                table.create(self._engine, checkfirst=True)
            except SQLAlchemyError:
                if wait is None:
                    raise
                time.sleep(wait)
            else:
                return

    def _widen(self, connection: Connection, table: Table) -> None:
        """Adds the columns that are new.

        A column's type is not changed: the table may have readers and views that Headrace does not know.

        Raises:
            DataError: it is a table of something else, or a column does not hold what comes.
        """
        there = {
            str(each["name"]): each["type"]
            for each in inspect(connection).get_columns(self._table, schema=self._schema)
        }
        if ID not in there or AT not in there:
            raise DataError(
                f"{self.name} is no table of predictions: it has no column {ID if ID not in there else AT!r}.",
                hint='Give hr.database(…, table="…") a name that nothing else has.',
            )
        quoted = connection.dialect.identifier_preparer.format_table(table)
        for each in table.c:
            if each.name not in there:
                described = CreateColumn(each).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {quoted} ADD COLUMN {described}")
            elif any(isinstance(there[each.name], narrow) and isinstance(each.type, wide) for narrow, wide in WIDER):
                kind = each.type.compile(dialect=connection.dialect)
                raise DataError(
                    f"{self.name}: column {each.name!r} is {there[each.name]} there and would now be {kind}, "
                    "so that values would be cut. Nothing of the partition was written.",
                    hint="Whoever owns the database changes it, and the same command goes on. In PostgreSQL: "
                    f"ALTER TABLE {quoted} ALTER COLUMN {connection.dialect.identifier_preparer.quote(each.name)} "
                    f"TYPE {kind}",
                )

    @contextmanager
    def _explained(self) -> Generator[None]:
        """What the database says, without the rows and without the URL.

        Raises:
            DataError: it refused.
        """
        try:
            yield
        except SQLAlchemyError as error:
            said = str(getattr(error, "orig", None) or type(error).__name__).strip().splitlines()[0]
            raise DataError(
                f"{self.name}: the database refused: {said}",
                hint=f"Nothing of the partition was written. [env.….databases] {self._database} says where it is.",
            ) from None


def _engine(url: str, database: str) -> Engine:
    try:
        return create_engine(make_url(url))
    except (ArgumentError, ValueError):
        raise ConfigError(
            f"database {database!r}: what it is set to is not the URL of a database.",
            hint="For example: postgresql+psycopg://user@host/name",
        ) from None
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigError(
            f"database {database!r}: no driver: {error}",
            hint="For PostgreSQL: pip install 'headrace[postgres]' and write postgresql+psycopg://…",
        ) from None


def _standing(connection: Connection, table: Table, rows: pa.Table) -> pa.Table:
    """What is there of these moments and versions: an id stands for one of each."""
    at = pc.min_max(rows.column(AT))
    wanted = select(table).where(
        table.c[AT].between(at["min"].as_py(), at["max"].as_py()),
        *(table.c[name].in_(pc.unique(rows.column(name)).to_pylist()) for name in ("model", "model_version")),
    )
    columns: list[list[Any]] = [[] for _ in rows.schema]
    for found in connection.execute(wanted, execution_options={"yield_per": ROWS}):
        for values, value in zip(columns, found, strict=True):
            values.append(value)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, rows.schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=rows.schema)


def _slices(rows: pa.Table) -> Sequence[pa.Table]:
    return [rows.slice(start, ROWS) for start in range(0, rows.num_rows, ROWS)]


def _type(field: pa.Field) -> TypeEngine[Any]:
    kind = field.type
    if field.name == ID:
        return String(32)
    if pa.types.is_boolean(kind):
        return Boolean()
    if pa.types.is_integer(kind):
        return BigInteger()
    if pa.types.is_floating(kind):
        return Double(53)
    if pa.types.is_decimal(kind):
        return Numeric(kind.precision, kind.scale)
    if pa.types.is_timestamp(kind):
        return Instant() if kind.tz else DateTime()
    if pa.types.is_date(kind):
        return Date()
    return LargeBinary() if pa.types.is_binary(kind) else Text()
