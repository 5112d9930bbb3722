"""The state database: what must survive a process and is not a table of the lakehouse (runs, stages, requests…).

SQLAlchemy Core on SQLite, or on PostgreSQL. Each box defines its own tables and its own statements; all that differs
between the two databases is in this file.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from sqlalchemy import (
    Column,
    DateTime,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    func,
    insert,
    inspect,
    literal,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.types import TypeDecorator

from headrace.core import credentials
from headrace.core.clock import now
from headrace.core.errors import ConfigError, ConflictError, RefusedError, UnavailableError, UncertainError

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import ColumnElement, Connection, Dialect, Engine, Executable, Row, Transaction

    from headrace.core.errors import HeadraceError

PATIENCE = 30.0  # seconds that a writer waits for another one
RETURN = 10.0  # seconds that a server which was there before may be away until a transaction begins
PAUSE = 0.1  # seconds between two attempts to reach it
WRITES = "headrace_writes"
WRITING = 7_305_612_208  # any number that nobody else takes for an advisory lock
LIBPQ = {  # a server that cannot be reached, or whose machine is gone, is noticed; seconds, and milliseconds in the last
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
DRIVERS = {"psycopg": LIBPQ, "psycopg2": LIBPQ}
# of PostgreSQL: 25P03 idle for too long, 40001 serialization, 40P01 deadlock, 55P03 time-out of a lock, 57014 cancelled
HELD = frozenset({"25P03", "40001", "40P01", "55P03", "57014"})
BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
LOST = frozenset({"57P01", "57P02", "57P03", "57P05"})  # the server stops, crashed, starts, or ends who is idle


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
        waits: seconds that a server which was there before may be away until a transaction begins; defaults to 10.

    Raises:
        ConfigError: the URL is malformed, its driver is not installed, or the database cannot be opened.
    """

    def __init__(self, url: str, *, waits: float = RETURN) -> None:
        self._waits = waits
        self.engine = _sqlite(url) if url.startswith("sqlite") else _server(url)
        self._mine = local()
        self._file: tuple[int, int] | None = None
        self._reached = False
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", self._opened)

    @contextmanager
    def begin(self) -> Generator[Connection]:
        """One write transaction: committed at the end, rolled back by an error.

        There is one writer at a time, from the first statement on, so that what a transaction has read still stands
        when it writes, and rows are numbered in the order of the commits. Must not be nested within one thread.

        Raises:
            ConflictError: another session held the database, or a lock in it, for 30 s; or the connection was lost
                before the commit. Nothing was written.
            UnavailableError: the server has been away for 10 s.
            UncertainError: the connection was lost during the commit.
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
        """One consistent view, which waits for no writer. What is written through it is rolled back.

        Raises:
            ConflictError: another session held a lock for 30 s.
            UnavailableError: the server has been away for 10 s, or the connection was lost.
        """
        with self._connect(writes=False) as connection:
            yield connection

    @contextmanager
    def _connect(self, *, writes: bool) -> Generator[Connection]:
        connection, transaction = self._open(writes=writes)
        with connection:
            try:
                yield connection
            except BaseException as error:
                with suppress(DBAPIError):  # a lost connection: the server rolls back by itself
                    transaction.rollback()
                if isinstance(error, DBAPIError) and (said := _broken(self.engine, error, writes=writes)):
                    raise said from error
                raise
            if writes:
                self._commit(transaction)
            else:
                with suppress(DBAPIError):
                    transaction.rollback()

    def _open(self, *, writes: bool) -> tuple[Connection, Transaction]:
        """A transaction that has begun, tried again while a server that was there before is away."""
        until = time.monotonic() + (self._waits if self._reached else 0)
        while True:
            connection = None
            try:
                connection = self._connection(writes=writes)
                transaction = connection.begin()
            except (DatabaseError, PoolTimeoutError) as error:
                if connection is not None:
                    if isinstance(error, DBAPIError) and _is_lost(error):
                        connection.invalidate()
                    connection.close()
                if not self._is_away(error, connected=connection is not None):
                    raise _unopened(self.engine, error) from error
                if time.monotonic() > until:
                    raise self._away(error) from error
                time.sleep(PAUSE)
            else:
                self._reached = True
                return connection, transaction

    def _connection(self, *, writes: bool) -> Connection:
        connection = self.engine.connect().execution_options(**{WRITES: writes})
        if not writes and self.engine.dialect.name == "postgresql":  # otherwise each statement would see another
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        return connection

    def _is_away(self, error: Exception, *, connected: bool) -> bool:
        """Whether the server may come back; whatever a server says that was never reached, its URL may be wrong."""
        if self.engine.dialect.name == "sqlite" or not self._reached or not isinstance(error, DBAPIError):
            return False
        return _is_lost(error) or (not connected and isinstance(error, OperationalError))

    def _away(self, error: Exception) -> UnavailableError:
        said = _said(self.engine, error) if isinstance(error, DBAPIError) else str(error)
        return UnavailableError(
            f"the state database {_shown(self.engine)} has been away for {self._waits:.0f} s: {said}.",
            hint="Nothing was written; try again when its server is back.",
        )

    def _commit(self, transaction: Transaction) -> None:
        try:
            transaction.commit()
        except DBAPIError as error:
            if _is_lost(error):
                raise UncertainError(
                    f"the connection to the state database {_shown(self.engine)} was lost during a commit: what was to "
                    "be written may be there or not.",
                    hint="Look whether it is there before trying again.",
                ) from error
            if said := _broken(self.engine, error, writes=True):
                raise said from error
            raise

    def create(self, *tables: Table) -> None:
        """Makes the tables that are not there yet; two processes may do so at the same time."""
        with self.read() as connection:
            there = set(inspect(connection).get_table_names())
        missing = [table for table in tables if table.name not in there]
        if not missing:
            return
        with self.begin() as connection:
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


def present(connection: Connection) -> ColumnElement[datetime]:
    """The present by the clock that all who use this database share: that of its server, or of this machine (SQLite)."""
    if connection.dialect.name == "postgresql":
        return func.clock_timestamp(type_=Instant)
    return literal(now(), Instant)


def is_transient(error: DBAPIError) -> bool:
    """Whether a statement failed because of others (a lock, a time-out, a lost connection), not because of what it says."""
    return _is_lost(error) or _is_held(error)


def _is_held(error: DBAPIError) -> bool:
    return _sqlstate(error) in HELD or getattr(error.orig, "sqlite_errorname", "").startswith(BUSY)


def _is_lost(error: DBAPIError) -> bool:
    return error.connection_invalidated or _sqlstate(error) in LOST


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


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


def _server(url: str) -> Engine:
    """An engine of PostgreSQL, on which a transaction begins with its limits and, if it writes, alone."""
    engine = _engine(url)
    known = DRIVERS.get(engine.dialect.driver, {})
    timeouts = {name: value for name, value in known.items() if name not in engine.url.query}
    engine = _engine(url, connect_args=timeouts)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        if connection.dialect.name != "postgresql":
            return
        limit = round(PATIENCE * 1000)
        statements = [f"set local lock_timeout = {limit}", f"set local idle_in_transaction_session_timeout = {limit}"]
        if connection.get_execution_options().get(WRITES):
            statements.append(f"select pg_advisory_xact_lock({WRITING})")
        connection.exec_driver_sql("; ".join(statements))  # one round trip, which also finds a lost connection

    return engine


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


def _unopened(engine: Engine, error: DatabaseError | PoolTimeoutError) -> HeadraceError:
    """Says in words for a person why a database cannot be opened or begun."""
    shown = _shown(engine)
    if isinstance(error, PoolTimeoutError):
        return ConflictError(
            f"all connections of this process to the state database {shown} are in use.",
            hint="Nothing was written; try again.",
        )
    if _is_held(error):
        return _held(engine, error)
    if isinstance(error, OperationalError):
        return ConfigError(f"the state database {shown} cannot be opened: {_said(engine, error)}.")
    return ConfigError(f"{shown} is not a state database: {_said(engine, error)}.")


def _broken(engine: Engine, error: DBAPIError, *, writes: bool) -> HeadraceError | None:
    """What to say when others broke a transaction; None when a statement itself is wrong."""
    if _is_held(error):
        return _held(engine, error)
    if not _is_lost(error):
        return None
    what = f"the connection to the state database {_shown(engine)} was lost: {_said(engine, error)}."
    if writes:
        return ConflictError(what, hint="Nothing was written; try again.")
    return UnavailableError(what, hint="Try again.")


def _held(engine: Engine, error: DBAPIError) -> ConflictError:
    shown = _shown(engine)
    if engine.dialect.name == "sqlite":
        return ConflictError(
            f"the state database {shown} has been written by somebody else for {PATIENCE:.0f} s.",
            hint="Nothing was written; try again. `fuser` on the file says which process holds it.",
        )
    return ConflictError(
        f"another session of the state database {shown} was in the way, for {PATIENCE:.0f} s or in a circle: "
        f"{_said(engine, error)}.",
        hint="Nothing was written; try again. `select * from pg_stat_activity` says which sessions there are.",
    )


def _said(engine: Engine, error: DBAPIError) -> str:
    """The driver's words, without what is secret in the URL."""
    return credentials.without(str(error.orig).strip(), engine.url.render_as_string(hide_password=False))
