"""Statements that are compiled once, for what runs many times a second.

SQLAlchemy takes 50 to 100 µs to look up, bind and wrap a statement that SQLite executes in 5. A prepared statement keeps the SQL of its
database and the converters of its columns, and executes on the driver's cursor. It runs within `State.begin` or `State.read`, and
raises the same errors as any other statement there.
"""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, Dialect, Engine
    from sqlalchemy.sql.compiler import SQLCompiler
    from sqlalchemy.types import TypeEngine

    Converter = Callable[[Any], Any]


class Prepared:
    """A statement of one database. Safe to use from several threads.

    Args:
        engine: of the database.
        statement: a `select`, or an `insert`, `update` or `delete` with or without `returning`. Its lists cannot be expanding.
        columns: that an `insert` is given; none for any other statement.
    """

    def __init__(self, engine: Engine, statement: Any, columns: Sequence[str] = ()) -> None:
        self._dialect = dialect = engine.dialect
        compiled: SQLCompiler = statement.compile(dialect=dialect, column_keys=list(columns) or None)
        self._sql = str(compiled)
        self._order = compiled.positiontup  # None where values are bound by name
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}
        self._binding = {
            name: converter
            for name, bind in compiled.binds.items()
            if (converter := _implementation(bind.type, dialect).bind_processor(dialect)) is not None
        }
        returned = list(statement.exported_columns)
        names = [each.key for each in returned]
        self._row = namedtuple("Row", names) if names else None  # noqa: PYI024  # pyright: ignore[reportUntypedNamedTuple]
        self._reading = [_implementation(each.type, dialect).result_processor(dialect, None) for each in returned]

    def first(self, connection: Connection, values: Mapping[str, object]) -> Any:
        """Returns the first row, whose attributes are the columns; None where there is none."""
        return next(iter(self.all(connection, values)), None)

    def all(self, connection: Connection, values: Mapping[str, object]) -> list[Any]:
        """Returns the rows, whose attributes are the columns."""
        return [self._read(row) for row in self._executed(connection, self._bound(values))]

    def run(self, connection: Connection, values: Sequence[Mapping[str, object]]) -> None:
        """Executes a statement that returns no rows, once for each of the values."""
        if values:
            self._executed(connection, [self._bound(each) for each in values])

    def _executed(self, connection: Connection, bound: Any) -> Sequence[Any]:
        """The rows as the driver returns them; none of several executions."""
        driver = self._dialect.loaded_dbapi
        cursor = connection.connection.cursor()
        try:
            if isinstance(bound, list):
                cursor.executemany(self._sql, bound)
                return ()
            cursor.execute(self._sql, bound)
            return cursor.fetchall()
        except driver.Error as error:
            lost = self._dialect.is_disconnect(error, connection.connection.dbapi_connection, cursor)
            if lost:
                connection.invalidate(error)
            raise DBAPIError.instance(
                self._sql, None, error, driver.Error, connection_invalidated=lost, dialect=self._dialect
            ) from error
        finally:
            cursor.close()

    def _bound(self, values: Mapping[str, object]) -> Any:
        bound = {**self._constants, **values}
        for name, converter in self._binding.items():
            bound[name] = converter(bound[name])
        return bound if self._order is None else tuple([bound[name] for name in self._order])

    def _read(self, row: Any) -> Any:
        assert self._row is not None  # a statement without columns has no rows
        return self._row(
            *(value if read is None else read(value) for value, read in zip(row, self._reading, strict=True))
        )


def _implementation(kind: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    return kind.dialect_impl(dialect)
