"""The state database: what must survive a process and is not a table of the lakehouse (runs, stages, requests…).

SQLAlchemy Core on SQLite, or on PostgreSQL. Each box defines its own tables and its own statements; all that differs
between the two databases is in this file.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from sqlalchemy import Column, DateTime, Integer, MetaData, String, Table, create_engine, event, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError, ProgrammingError
from sqlalchemy.types import TypeDecorator

from headrace.core import credentials
from headrace.core.clock import now
from headrace.core.errors import ConfigError, ConflictError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import Connection, Dialect, Engine, Executable, Row

PATIENCE = 30.0  # seconds that a writer waits for another one
WRITES = "headrace_writes"
CREATING = 7_305_612_208  # any number that nobody else takes for an advisory lock


class Instant(TypeDecorator[datetime]):
    """A column of timezone-aware UTC instants, to the microsecond; SQLite itself knows no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; without the zone where the database would drop it anyway."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone.")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """With the zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


IDENTITY = Table(
    "state_identity",
    MetaData(),
    Column("one", Integer, primary_key=True, autoincrement=False),  # there is one row
    Column("id", String(36), nullable=False),
    Column("environment", String(100), nullable=False),
    Column("at", Instant, nullable=False),
)


class State:
    """One state database; safe to use from several threads and, each with its own `State`, from several processes.

    Args:
        url: an SQLAlchemy URL: `sqlite:///path/to/state.db` (the folder is made) or `postgresql+psycopg://…`.

    Raises:
        ConfigError: the URL is malformed, its driver is not installed, or the database cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self.engine = _sqlite(url) if url.startswith("sqlite") else _engine(url)
        self._mine = local()
        self._file: tuple[int, int] | None = None
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", self._opened)

    @contextmanager
    def begin(self) -> Generator[Connection]:
        """One write transaction: committed at the end, rolled back by an error.

        On SQLite there is one writer at a time, from the first statement on, so that what a transaction has read
        still stands when it writes. Must not be nested within one thread.

        Raises:
            ConflictError: another writer held the database for 30 s; nothing was written.
        """
        if getattr(self._mine, "writes", False):
            raise RuntimeError("begin() inside begin() would wait for itself: pass the connection on instead.")
        self._mine.writes = True
        try:
            with self._connect(writes=True) as connection:
                yield connection
        finally:
            self._mine.writes = False

    @contextmanager
    def read(self) -> Generator[Connection]:
        """One consistent view, which waits for no writer. What is written through it is rolled back."""
        with self._connect(writes=False) as connection:
            yield connection

    @contextmanager
    def _connect(self, *, writes: bool) -> Generator[Connection]:
        with _explained(self.engine):
            connection = self.engine.connect().execution_options(**{WRITES: writes})
            if not writes and self.engine.dialect.name == "postgresql":  # otherwise each statement would see another
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection:
            with _explained(self.engine):
                transaction = connection.begin()
            try:
                yield connection
            except BaseException:
                transaction.rollback()
                raise
            if writes:
                transaction.commit()
            else:
                transaction.rollback()

    def create(self, *tables: Table) -> None:
        """Makes the tables that are not there yet; two processes may do so at the same time."""
        with self.read() as connection:
            there = set(inspect(connection).get_table_names())
        missing = [table for table in tables if table.name not in there]
        if not missing:
            return
        with self.begin() as connection:
            alone(connection)  # two `create table if not exists` at once collide on PostgreSQL
            for table in missing:
                table.create(connection, checkfirst=True)

    def one(self, statement: Executable, table: Table) -> Row[Any] | None:
        """The only row of a table, which is made where it is not there yet; None where there is no row.

        Asks for the row first: to ask which tables there are takes longer.
        """
        try:
            with self.read() as connection:
                return connection.execute(statement).first()
        except (OperationalError, ProgrammingError):
            self.create(table)
            return None

    def identity(self, environment: str) -> str:
        """What this database is known by, made when it is first asked for; its stores carry it.

        Args:
            environment: that is opened on it.

        Raises:
            RefusedError: it is another environment's.
        """
        found = self.one(select(IDENTITY.c.id, IDENTITY.c.environment), IDENTITY)
        if found is None:
            with self.begin() as connection:
                alone(connection)
                found = connection.execute(select(IDENTITY.c.id, IDENTITY.c.environment)).first()
                if found is None:
                    found = (str(uuid4()), environment)
                    values = dict(zip(("id", "environment"), found, strict=True))
                    connection.execute(insert(IDENTITY).values(one=1, at=now(), **values))
        known, owner = cast("tuple[str, str]", tuple(found))
        if owner != environment:
            raise RefusedError(
                f"the state database {_shown(self.engine)} is that of environment {owner!r}, not of {environment!r}.",
                hint="Give each environment a state database of its own. Was it renamed? Its name is part of what it is.",
            )
        return known

    def close(self) -> None:
        """Closes the connections. The object may be used again: it then opens new ones."""
        self.engine.dispose()
        self._file = None

    def is_gone(self) -> bool:
        """Whether another file, or none, is where the open database of SQLite was: what is written to it would be lost."""
        return self._file is not None and self._file != _identity(self.engine)

    def _opened(self, _connection: object, _record: object) -> None:
        if self._file is None:
            self._file = _identity(self.engine)


def alone(connection: Connection) -> None:
    """Waits, in a write transaction, until nobody else makes what is made once; on SQLite it has done so already."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"select pg_advisory_xact_lock({CREATING})")


def _shown(engine: Engine) -> str:
    return credentials.shown(engine.url.render_as_string(hide_password=False))


def _identity(engine: Engine) -> tuple[int, int] | None:
    """Device and inode of an SQLite database; None where there is none."""
    assert engine.url.database
    try:
        found = Path(engine.url.database).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _engine(url: str, **options: Any) -> Engine:
    try:
        return create_engine(make_url(url), **options)
    except (ArgumentError, ValueError):
        said = repr(credentials.shown(url)) if "://" in url else "what is given"  # it may be the password alone
        raise ConfigError(
            f"{said} is not the URL of a database.",
            hint="Write sqlite:///path/to/state.db or postgresql+psycopg://…",
        ) from None
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigError(
            f"no driver for the state database {credentials.shown(url)}: {error}",
            hint="For PostgreSQL: pip install 'psycopg[binary]' and write postgresql+psycopg://…",
        ) from None


def _sqlite(url: str) -> Engine:
    engine = _engine(url, connect_args={"timeout": PATIENCE})
    path = engine.url.database
    if not path or path == ":memory:":
        raise ConfigError(f"{credentials.shown(url)!r} names no file.", hint="Write sqlite:///path/to/state.db")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder of the state database {path} cannot be made: {error.strerror}.") from None

    @event.listens_for(engine, "connect")
    def settings(connection: Any, _record: object) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None  # the driver begins nothing by itself; `begin` below does
        # NORMAL: a commit survives kill -9 of the process, but the last ones before a loss of power may be missing
        # (the file stays sound). A step whose end is missing is executed again, and its writes carry the same id.
        connection.execute("pragma synchronous = normal")
        connection.execute("pragma foreign_keys = on")
        _wal(connection)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("begin immediate" if writes else "begin")

    return engine


def _wal(connection: Any) -> None:
    """Turns the write-ahead log on. SQLite does not wait for a lock here, so two first openers must try again."""
    import sqlite3

    until = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def _explained(engine: Engine) -> Generator[None]:
    """Says in words for a person why a database cannot be opened or begun."""
    shown = _shown(engine)
    try:
        yield
    except OperationalError as error:
        if "locked" in str(error.orig):
            raise ConflictError(
                f"the state database {shown} has been written by somebody else for {PATIENCE:.0f} s.",
                hint="Nothing was written; try again. `fuser` on the file says which process holds it.",
            ) from error
        raise ConfigError(f"the state database {shown} cannot be opened: {_said(engine, error)}.") from error
    except DatabaseError as error:
        raise ConfigError(f"{shown} is not a state database: {_said(engine, error)}.") from error


def _said(engine: Engine, error: DatabaseError) -> str:
    """The driver's words, without what is secret in the URL."""
    return credentials.without(str(error.orig), engine.url.render_as_string(hide_password=False))
