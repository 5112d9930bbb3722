"""All tables of an environment, and the tables of other environments that it may read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from headrace.core.errors import NotFoundError, RefusedError
from headrace.lakehouse import commit as committing
from headrace.lakehouse import log, maintenance, scan
from headrace.lakehouse.app_transactions import reached
from headrace.lakehouse.declarations import DUCKDBS, NAME, check_name
from headrace.lakehouse.storage import Place
from headrace.lakehouse.write_target import WriteTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import duckdb
    import pyarrow as pa

    from headrace.lakehouse.commit import Commit
    from headrace.lakehouse.log import LogEntry
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.writes import Change

RETENTION_HOURS = 7 * 24

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TableName:
    """A table that can be read, and whose it is."""

    name: str
    env: str


class Lakehouse:
    """The tables of one environment, to read and to write; over those of others, to read.

    A table of the own environment hides one of the same name elsewhere; among the others, the first one given wins.

    Args:
        env: the environment's name.
        root: the folder or URL of its tables.
        reads: other environments that may be read → the root of their tables.
        storage_options: for object stores, as delta-rs takes them.

    Raises:
        ConfigError: a folder whose name Delta Lake's library cannot handle.
    """

    def __init__(
        self,
        env: str,
        root: str,
        *,
        reads: Mapping[str, str] | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        self.env = env
        self._roots = {
            env: Place.at(root, storage_options),
            **{other: Place.at(where, storage_options) for other, where in (reads or {}).items() if other != env},
        }

    # ------------------------------------------------------------------------------------------ reading

    def names(self) -> list[TableName]:
        """Every readable table once, by name."""
        found: dict[str, str] = {}
        for env, root in self._roots.items():
            for schema in sorted(set(root.children()) - set(DUCKDBS)):
                for table in root.below(schema).children():
                    name = f"{schema}.{table}"
                    if name not in found and NAME.fullmatch(name) and self._target(name, env).snapshot() is not None:
                        found[name] = env
        return [TableName(name=name, env=found[name]) for name in sorted(found)]

    def exists(self, name: str, *, own: bool = False) -> bool:
        """Whether a table can be read; with `own`, whether this environment has it itself."""
        envs = [self.env] if own else self._roots
        return any(self._target(name, env).snapshot() is not None for env in envs)

    def snapshot(self, name: str, version: int | None = None) -> Snapshot:
        """A table at a version; None for the latest.

        Raises:
            NotFoundError: no such table, or no such version.
            DeclarationError: not a table name.
        """
        return self._found(name, self._roots, version)

    def data_version(self, name: str) -> int:
        """The last version of a table that changed rows or columns.

        Raises:
            NotFoundError: no such table.
        """
        return self.snapshot(name).data_version

    def history(self, name: str) -> list[LogEntry]:
        """What each version did, the latest first.

        Raises:
            NotFoundError: no such table.
        """
        latest = self.snapshot(name)
        return list(log.entries(latest.place, latest.version))

    def connect(
        self,
        names: Mapping[str, int | None],
        *,
        arrow: Mapping[str, pa.Table] | None = None,
        threads: int | None = None,
    ) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection in which these tables are views, and in which nothing else can be read, for our own SQL.

        Args:
            names: table → version; None for the latest.
            arrow: further views, of tables in memory.
            threads: how many to compute with; None for one a core. One gives the same answer to the last bit each time.

        Raises:
            NotFoundError: no such table or version.
        """
        return scan.connect([self.snapshot(name, version) for name, version in names.items()], arrow, threads=threads)

    def ask(
        self,
        names: Mapping[str, int | None],
        work: Callable[[duckdb.DuckDBPyConnection], T],
        *,
        threads: int | None = None,
        memory: str | None = None,
        seconds: float | None = None,
    ) -> T:
        """What a user's SQL gives, run where no file of a table can be written; see `scan.ask`.

        Args:
            names: table → version; None for the latest.
            work: runs it, on a connection in which these tables are views.
            threads: how many to compute with; see `connect`.
            memory: how much it may take before it spills; see `scan.ask`.
            seconds: how long it may take.

        Raises:
            NotFoundError: no such table or version.
            TimeoutError: it took longer.
        """
        snapshots = [self.snapshot(name, version) for name, version in names.items()]
        return scan.ask(snapshots, work, threads=threads, memory=memory, seconds=seconds)

    # ------------------------------------------------------------------------------------------ writing

    def commit(
        self,
        name: str,
        id: str,  # noqa: A002 - the id of the commit
        change: Callable[[Snapshot | None], Change | None],
        *,
        n: int = 1,
        properties: Mapping[str, str] | None = None,
    ) -> Commit:
        """Makes a change to this environment's own table exactly once; see `commit.commit`.

        Raises:
            RefusedError: the table's folder is a link to somewhere else.
            DataError: rows that do not fit the table. Nothing was written.
            ConflictError: other writers came first for a minute. Nothing was written.
        """
        return committing.commit(self._own(name), id, change, n=n, properties=properties)

    def advance(
        self,
        name: str,
        id: str,  # noqa: A002 - the id of the commit
        change: Callable[[Snapshot | None], Change],
        offsets: Mapping[str, tuple[int | None, int]],
    ) -> Commit:
        """Makes a change to this environment's own table that stands on stretches of inputs; see `commit.advance`.

        Raises:
            MovedError: an input has come to somewhere else meanwhile. Nothing was written.
            RefusedError, DataError, ConflictError: as `commit`.
        """
        return committing.advance(self._own(name), id, change, offsets)

    def reached(self, name: str, ids: Iterable[str]) -> dict[str, int | None]:
        """How far inputs have come in this environment's own table; None before their first change."""
        place = self._own(name).place
        table = place.open()
        return {each: None if table is None else reached(place, table, each) for each in ids}

    def restore(self, name: str, version: int) -> Commit:
        """Makes the table what it was at an earlier version, in a new version. Changes undone by it can be made again.

        Raises:
            NotFoundError: no such table of this environment, or no such version.
            RefusedError: files of that version were vacuumed.
            ConflictError: other writers came first for a minute.
        """
        self._found(name, [self.env], version)
        return maintenance.restore(self._own(name), version)

    def drop(self, name: str) -> None:
        """Takes this environment's own table away, with its history. Repeated after it was cut off, it takes the rest.

        Nobody may write the table meanwhile.

        Raises:
            NotFoundError: no such table of this environment.
            RefusedError: the table's folder is a link to somewhere else.
        """
        self._found(name, [self.env])
        self._own(name).place.remove()

    def optimize(self, name: str) -> int:
        """Rewrites many small files as few large ones. No row changes.

        Returns:
            How many small files were replaced.

        Raises:
            NotFoundError: no such table of this environment.
            ConflictError: other writers came first for a minute.
        """
        self._found(name, [self.env])
        return maintenance.optimize(self._own(name))

    def vacuum(
        self, name: str, *, keep_versions: Iterable[int] = (), retention_hours: int = RETENTION_HOURS
    ) -> list[str]:
        """Deletes files that only old versions need.

        Args:
            name: the table.
            keep_versions: versions that stay readable, beside the latest.
            retention_hours: versions that were the latest less than this ago stay readable too. With 0, a reader or
                writer at work on an older version may find its files gone.

        Returns:
            The paths of the deleted files.

        Raises:
            NotFoundError: no such table of this environment, or no such version.
        """
        for version in keep_versions:
            self._found(name, [self.env], version)
        self._found(name, [self.env])
        return maintenance.vacuum(self._own(name), sorted(set(keep_versions)), retention_hours)

    # ------------------------------------------------------------------------------------------ names

    def _target(self, name: str, env: str) -> WriteTarget:
        schema, table = check_name(name, declared=False).split(".")
        return WriteTarget(name=name, env=env, place=self._roots[env].below(schema, table))

    def _own(self, name: str) -> WriteTarget:
        target, root = self._target(name, self.env), self._roots[self.env]
        if target.place.folder is not None and root.folder is not None:
            expected = root.folder.resolve().joinpath(*name.split("."))
            if target.place.folder.resolve() != expected:
                raise RefusedError(
                    f"{name!r} of {self.env!r} is a link to {str(target.place.folder.resolve())!r} and is not written.",
                    hint="Only an environment's own tables are written, each in its own folder.",
                )
        return target

    def _found(self, name: str, envs: Iterable[str], version: int | None = None) -> Snapshot:
        for env in envs:
            target = self._target(name, env)
            latest = target.snapshot()
            if latest is None:
                continue
            if version is None or version == latest.version:
                return latest
            if 0 <= version < latest.version and (found := target.snapshot(version)) is not None:
                return found
            hint = f"The latest version is {latest.version}. `headrace table history {name}` lists them."
            raise NotFoundError(f"version of {name}", str(version), None, hint=hint)
        raise NotFoundError(
            "table",
            name,
            [each.name for each in self.names()],
            hint="headrace run refresh builds what is declared; headrace table list shows what there is.",
        )
