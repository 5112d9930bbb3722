"""An online store in one SQLite file: write-ahead log, a table for each feature table, one packed row for each key."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager
from functools import cache
from threading import local
from typing import TYPE_CHECKING
from urllib.parse import quote

from headrace.core.errors import ConflictError, UnavailableError
from headrace.core.failpoints import reach
from headrace.features.online.base import OnlineRow, PublishedRows, as_json, from_json

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from headrace.features.online.base import OnlineTable, Rows

PATIENCE = 30.0  # seconds that a writer waits for another one
AT_ONCE = 500  # keys of one statement

OWNER = "create table if not exists online_owner (one integer primary key, owner text not null)"
TABLES = "create table if not exists online_tables (name text primary key, described text not null) without rowid"
ROWS = "create table if not exists {table} (key blob primary key, time integer not null, packed blob not null) without rowid"
NEWER = """
insert into {table} (key, time, packed) values (?, ?, ?)
on conflict (key) do update set time = excluded.time, packed = excluded.packed
where excluded.time > time or excluded.time = time and excluded.packed is not packed
"""
GONE = "delete from {table} where key not in (select key from temp.staged)"
CHANGED = """
insert into {table} (key, time, packed) select key, time, packed from temp.staged where true
on conflict (key) do update set time = excluded.time, packed = excluded.packed
where excluded.time <> time or excluded.packed is not packed
"""

_inherited: list[object] = []  # what a parent process had opened is neither used nor closed in its child


def open_sqlite(address: str, folder: Path) -> SqliteStore:
    """The store in a file; a relative path starts in `folder`."""
    return SqliteStore((folder / address).resolve())


class SqliteStore:
    """See OnlineStore. Each thread has a connection of its own.

    Args:
        file: of the database; made when something is published. To begin anew, `drop` its tables: SQLite does not
            promise anything where a file is removed or replaced while somebody has it open. (One that was removed and
            made again is noticed all the same.)
    """

    is_local = True

    def __init__(self, file: Path) -> None:
        self.file = file
        self._name = str(file)
        self._mine = _Mine()

    def table(self, name: str) -> OnlineTable | None:
        """See OnlineStore."""
        with self._explained("read"):
            connection = self._connection()
            if connection is None:
                return None
            (changes,) = connection.execute("pragma data_version").fetchone()  # moves when somebody else commits
            if changes != self._mine.changes:
                self._mine.changes, self._mine.tables = changes, {}
            if name not in self._mine.tables:
                self._mine.tables[name] = _known(connection, name)
            return self._mine.tables[name]

    def replace(self, name: str, described: OnlineTable, rows: Rows, *, expected: OnlineTable | None) -> PublishedRows:
        """See OnlineStore. Writes only what differs, so that the log stays short."""
        table = _quoted(name)
        with self._writing(name, described, expected) as connection:
            if connection.execute(f"select 1 from {table} limit 1").fetchone() is None:
                return PublishedRows(rows=_count(connection.executemany(NEWER.format(table=table), rows)))
            connection.execute(ROWS.format(table="temp.staged"))
            connection.executemany(NEWER.format(table="temp.staged"), rows)
            removed = _count(connection.execute(GONE.format(table=table)))
            changed = _count(connection.execute(CHANGED.format(table=table)))
            connection.execute("drop table temp.staged")
            return PublishedRows(rows=changed, removed=removed)

    def update(self, name: str, described: OnlineTable, rows: Rows, *, expected: OnlineTable) -> PublishedRows:
        """See OnlineStore."""
        assert (described.keys, described.columns) == (expected.keys, expected.columns)
        with self._writing(name, described, expected) as connection:
            return PublishedRows(rows=_count(connection.executemany(NEWER.format(table=_quoted(name)), rows)))

    def read(self, name: str, keys: Sequence[bytes]) -> list[OnlineRow | None]:
        """See OnlineStore."""
        found: dict[bytes, OnlineRow] = {}
        with self._explained("read"):
            connection = self._connection()
            if connection is None:
                raise sqlite3.OperationalError("there is no such file")
            for start in range(0, len(keys), AT_ONCE):
                part = keys[start : start + AT_ONCE]
                asked = connection.execute(_asking(name, len(part)), part)
                found |= {key: OnlineRow(time, packed) for key, time, packed in asked}
        return [found.get(key) for key in keys]

    def read_of(self, name: str, described: OnlineTable, keys: Sequence[bytes]) -> list[OnlineRow | None] | None:
        """See OnlineStore."""
        found = self._read_known(name, described, keys)
        if found is not None:
            return found
        if self.table(name) != described:
            return None
        found = self.read(name, keys)
        return found if self.table(name) == described else None

    def _read_known(self, name: str, described: OnlineTable, keys: Sequence[bytes]) -> list[OnlineRow | None] | None:
        """The same where this thread has read that description before: one question, and whether anybody has committed since."""
        mine, count = self._mine, len(keys)
        try:
            connection = self._connection()
            if connection is None or mine.changes is None or mine.tables.get(name) != described or count > AT_ONCE:
                return None
            found = connection.execute(_asking(name, count), keys).fetchall()
            (changes,) = connection.execute("pragma data_version").fetchone()
        except (sqlite3.Error, OSError) as error:
            raise self._error("read", error) from error
        if changes != mine.changes:
            return None
        if count == len(found) == 1:
            return [OnlineRow(*found[0][1:])]
        rows = {key: OnlineRow(time, packed) for key, time, packed in found}
        return [rows.get(key) for key in keys]

    @property
    def place(self) -> str:
        """See OnlineStore."""
        return str(self.file)

    def owner(self) -> str | None:
        """See OnlineStore."""
        with self._explained("read"):
            connection = self._connection()
            return None if connection is None else _owner(connection)

    def claim(self, mark: str) -> str:
        """See OnlineStore."""
        found = self.owner()
        if found is not None:
            return found
        with self._transaction() as connection:
            connection.execute(OWNER)
            connection.execute("insert or ignore into online_owner (one, owner) values (1, ?)", (mark,))
            return _owner(connection) or mark

    def disclaim(self) -> None:
        """See OnlineStore."""
        if self.file.exists():
            with self._transaction() as connection:
                connection.execute("drop table if exists online_owner")

    def drop(self, name: str) -> None:
        """See OnlineStore."""
        if self.table(name) is not None:
            with self._transaction() as connection:
                connection.execute("delete from online_tables where name = ?", (name,))
                connection.execute(f"drop table if exists {_quoted(name)}")

    def close(self) -> None:
        """See OnlineStore."""
        if self._mine.connection is not None and self._mine.process == os.getpid():
            self._mine.connection.close()
        self._mine.connection = None

    # ------------------------------------------------------------------------------------------ writing

    @contextmanager
    def _writing(
        self, name: str, described: OnlineTable, expected: OnlineTable | None
    ) -> Generator[sqlite3.Connection]:
        with self._transaction() as connection:
            connection.execute(TABLES)
            connection.execute(ROWS.format(table=_quoted(name)))
            if _known(connection, name) != expected:
                raise ConflictError(
                    f"{name} was published by somebody else meanwhile.",
                    hint="Nothing was written; trying again is safe.",
                )
            yield connection
            text = as_json(described)
            connection.execute("insert or replace into online_tables (name, described) values (?, ?)", (name, text))
            reach(f"online.written:{name}")
        reach(f"online.committed:{name}")

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        """Committed at the end, rolled back by an error; alone from the first statement on."""
        with self._explained("written"):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            connection = self._connection(make=True)
            assert connection is not None
            _wal(connection)
            connection.execute("pragma synchronous = normal")
            connection.execute("begin immediate")
            try:
                yield connection
                connection.execute("commit")
            finally:
                self._mine.changes = None  # its own commits do not move what tells it of those of others
                if connection.in_transaction:
                    connection.execute("rollback")

    # ------------------------------------------------------------------------------------------ the connection

    def _connection(self, *, make: bool = False) -> sqlite3.Connection | None:
        """This thread's; None when there is no file."""
        mine = self._mine
        try:
            status = os.stat(self._name)  # noqa: PTH116  # for each request, and a path's own takes twice as long
        except FileNotFoundError:
            if not make:
                return None
            self._open(make=True)
            status = self.file.stat()
            mine.file = (status.st_dev, status.st_ino)
            return mine.connection
        if mine.connection is None or mine.process != os.getpid() or mine.file != (status.st_dev, status.st_ino):
            self._open()
            mine.file = (status.st_dev, status.st_ino)
        return mine.connection

    def _open(self, *, make: bool = False) -> None:
        mine = self._mine
        if mine.connection is not None and mine.process != os.getpid():
            _inherited.append(mine.connection)
        else:
            self.close()
        url = f"file:{quote(str(self.file.absolute()))}?mode={'rwc' if make else 'rw'}"
        mine.connection = sqlite3.connect(url, timeout=PATIENCE, isolation_level=None, uri=True)
        mine.process, mine.changes = os.getpid(), None

    @contextmanager
    def _explained(self, done: str) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise self._error(done, error) from error

    def _error(self, done: str, error: Exception) -> ConflictError | UnavailableError:
        if "locked" in str(error):
            return ConflictError(
                f"the online store {str(self.file)!r} has been written by somebody else for {PATIENCE:.0f} s.",
                hint="Nothing was written; trying again is safe.",
            )
        return UnavailableError(
            f"the online store {str(self.file)!r} cannot be {done}: {error}.",
            hint="headrace run publish fills it." if done == "read" else "",
        )


class _Mine(local):
    """A thread's connection, and what it has read of the tables since somebody last changed one."""

    def __init__(self) -> None:
        self.connection: sqlite3.Connection | None = None
        self.process = 0
        self.file: tuple[int, int] | None = None  # device and inode
        self.changes: int | None = None
        self.tables: dict[str, OnlineTable | None] = {}


@cache
def _asking(name: str, count: int) -> str:
    return f"select key, time, packed from {_quoted(name)} where key in ({','.join('?' * count)})"


def _wal(connection: sqlite3.Connection) -> None:
    """Turns the write-ahead log on. SQLite does not wait for a lock here, so two first openers must try again."""
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


def _known(connection: sqlite3.Connection, name: str) -> OnlineTable | None:
    try:
        row = connection.execute("select described from online_tables where name = ?", (name,)).fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # nothing was ever published
            return None
        raise
    return None if row is None else from_json(row[0])


def _owner(connection: sqlite3.Connection) -> str | None:
    try:
        row = connection.execute("select owner from online_owner").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # made by an earlier publication, or before anybody asked whose it is
            return None
        raise
    return None if row is None else row[0]


def _count(cursor: sqlite3.Cursor) -> int:
    return max(cursor.rowcount, 0)  # -1 where `executemany` was given nothing


def _quoted(name: str) -> str:
    """As `lakehouse.identifiers.quoted`, which would bring a parser of SQL into the server."""
    return '"' + name.replace('"', '""') + '"'
