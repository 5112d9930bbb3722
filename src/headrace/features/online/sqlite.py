"""An online store in one SQLite file: write-ahead log, a table for each feature table, one packed row for each key."""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from threading import local
from typing import TYPE_CHECKING

from headrace.core.errors import DataError
from headrace.core.failpoints import reach
from headrace.features.online.base import OnlineRow, OnlineTable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

PATIENCE = 30.0  # seconds that a writer waits for another one
AT_ONCE = 500  # keys of one statement

NEWER = """
insert into {table} (key, time, packed) values (?, ?, ?)
on conflict (key) do update set time = excluded.time, packed = excluded.packed where excluded.time >= time
"""


class SqliteStore:
    """See OnlineStore. Each thread has a connection of its own.

    Args:
        file: of the database; made when something is published.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._mine = local()

    def table(self, name: str) -> OnlineTable | None:
        """See OnlineStore."""
        if not self.file.exists():
            return None
        try:
            row = self._connection.execute("select described from online_tables where name = ?", (name,)).fetchone()
        except sqlite3.OperationalError:  # somebody made the file this moment, and not yet the table
            return None
        return None if row is None else _described(row[0])

    def replace(self, name: str, described: OnlineTable, rows: Iterable[tuple[bytes, int, bytes]]) -> int:
        """See OnlineStore."""
        with self._writing(name) as connection:
            connection.execute(f"delete from {_quoted(name)}")
            count = self._write(connection, name, rows)
            self._describe(connection, name, described)
        return count

    def update(self, name: str, described: OnlineTable, rows: Iterable[tuple[bytes, int, bytes]]) -> int:
        """See OnlineStore."""
        with self._writing(name) as connection:
            count = self._write(connection, name, rows)
            self._describe(connection, name, described)
        return count

    def read(self, name: str, keys: Sequence[bytes]) -> list[OnlineRow | None]:
        """See OnlineStore."""
        found: dict[bytes, OnlineRow] = {}
        try:
            for start in range(0, len(keys), AT_ONCE):
                part = keys[start : start + AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"select key, time, packed from {_quoted(name)} where key in ({marks})"
                found |= {key: OnlineRow(time, packed) for key, time, packed in self._connection.execute(query, part)}
        except sqlite3.OperationalError as error:
            raise DataError(
                f"{name!r} cannot be read from the online store {str(self.file)!r}: {error}.",
                hint="headrace run publish fills it.",
            ) from error
        return [found.get(key) for key in keys]

    def close(self) -> None:
        """Closes this thread's connection."""
        connection = self._mine.__dict__.pop("connection", None)
        if connection is not None:
            connection.close()

    @property
    def _connection(self) -> sqlite3.Connection:
        known = self._mine.__dict__.get("connection")
        if known is None:
            known = sqlite3.connect(self.file, timeout=PATIENCE, isolation_level=None)
            self._mine.connection = known
        return known

    @contextmanager
    def _writing(self, name: str) -> Generator[sqlite3.Connection]:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        connection = self._connection
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        connection.execute("begin immediate")
        try:
            connection.execute(
                "create table if not exists online_tables (name text primary key, described text not null) without rowid"
            )
            connection.execute(
                f"create table if not exists {_quoted(name)} "
                "(key blob primary key, time integer not null, packed blob not null) without rowid"
            )
            yield connection
            reach(f"online.written:{name}")
            connection.execute("commit")
        except BaseException:
            connection.execute("rollback")
            raise

    def _write(self, connection: sqlite3.Connection, name: str, rows: Iterable[tuple[bytes, int, bytes]]) -> int:
        written = connection.executemany(NEWER.format(table=_quoted(name)), rows)
        return max(written.rowcount, 0)

    def _describe(self, connection: sqlite3.Connection, name: str, described: OnlineTable) -> None:
        row = connection.execute("select described from online_tables where name = ?", (name,)).fetchone()
        as_of = described.as_of if row is None else max(described.as_of, _described(row[0]).as_of)
        text = json.dumps(
            {**{each: getattr(described, each) for each in ("keys", "columns", "data_version")}, "as_of": as_of}
        )
        connection.execute("insert or replace into online_tables (name, described) values (?, ?)", (name, text))


def _described(text: str) -> OnlineTable:
    stored = json.loads(text)
    return OnlineTable(
        keys=tuple((name, kind) for name, kind in stored["keys"]),
        columns=tuple((name, kind) for name, kind in stored["columns"]),
        as_of=stored["as_of"],
        data_version=stored["data_version"],
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
