"""All tables of an environment, and the tables of other environments that it may read."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from headrace.core.errors import NotFoundError, RefusedError, SqlError
from headrace.lakehouse import commit as committing
from headrace.lakehouse import log, maintenance, scan, summaries
from headrace.lakehouse.app_transactions import reached
from headrace.lakehouse.declarations import DUCKDBS, NAME, check_name
from headrace.lakehouse.readable import is_readable
from headrace.lakehouse.storage import Place
from headrace.lakehouse.write_target import WriteTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    import duckdb
    import pyarrow as pa

    from headrace.lakehouse.commit import Commit
    from headrace.lakehouse.log import LogEntry
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.summaries import TableSummary
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
    Of the others, only tables that match a pattern of `tables` can be read.

    Args:
        env: the environment's name.
        root: the folder or URL of its tables.
        reads: other environments that may be read → the root of their tables.
        tables: other environments → patterns of the tables that can be read; all tables of an environment that is left out.
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
        tables: Mapping[str, Sequence[str]] | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        self.env = env
        self._born: set[tuple[str, str]] = set()  # name and environment of tables that were seen with a first version
        self._patterns = {other: tuple(patterns) for other, patterns in (tables or {}).items() if other != env}
        self._roots = {
            env: Place.at(root, storage_options),
            **{other: Place.at(where, storage_options) for other, where in (reads or {}).items() if other != env},
        }

    # ------------------------------------------------------------------------------------------ reading

    def names(self) -> list[TableName]:
        """Every readable table once, by name."""
        return list(self.each_name())

    def each_name(self) -> Iterator[TableName]:
        """As `names`, one by one: whoever wants the first few opens no other table."""
        for name, envs in sorted(self._folders().items()):
            env = next((each for each in envs if self._is_born(name, each)), None)
            if env is not None:
                yield TableName(name=name, env=env)

    def written_longest_ago(self, count: int) -> list[TableName]:
        """The readable tables whose log changed the longest time ago, at most so many.

        In an object store all tables are opened for that, and theirs come in the order in which their rows changed.
        """
        named: list[tuple[int, str, str]] = []
        for name, envs in self._folders().items():
            for env in envs:
                at = summaries.written(self._target(name, env).place)
                if at is None:
                    found = self.summary(name, newest=False) if self._is_born(name, env) else None
                    at = int(found.changed.timestamp() * 1e9) if found is not None and found.changed else None
                if at is not None:
                    named.append((at, name, env))
                    break
        born = (TableName(name=name, env=env) for _, name, env in sorted(named) if self._is_born(name, env))
        return list(islice(born, count))

    def summary(self, name: str, *, newest: bool) -> TableSummary:
        """What a list says of the latest version of a table, remembered while its log is unchanged.

        Args:
            name: of the table.
            newest: whether the latest value of its time is wanted, for which rows may have to be read.

        Raises:
            NotFoundError: no such table.
        """
        for env in self._roots:
            if self._may_read(name, env):
                found = summaries.summary(self._target(name, env), newest=newest)
                if found is not None:
                    return found
        self.snapshot(name)  # says what there is
        raise NotFoundError("table", name, None)

    def _folders(self) -> dict[str, list[str]]:
        """The folders of readable tables by name, with the environments that have one, in the order in which they count."""
        found: dict[str, list[str]] = {}
        for env, root in self._roots.items():
            for schema in sorted(set(root.children()) - set(DUCKDBS)):
                for table in root.below(schema).children():
                    name = f"{schema}.{table}"
                    if NAME.fullmatch(name) and self._may_read(name, env):
                        found.setdefault(name, []).append(env)
        return found

    def exists(self, name: str, *, own: bool = False) -> bool:
        """Whether a table can be read; with `own`, whether this environment has it itself."""
        envs = [self.env] if own else self._roots
        return any(self._may_read(name, env) and self._target(name, env).snapshot() is not None for env in envs)

    def hidden(self, name: str) -> tuple[str, ...]:
        """Other environments whose table of this name could be read here, if an earlier one, or this one, had none."""
        having = [env for env in self._roots if self._may_read(name, env) and self._is_born(name, env)]
        return tuple(having[1:])

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
        return list(self.each_entry(name))

    def each_entry(self, name: str) -> Iterator[LogEntry]:
        """As `history`, one by one.

        Raises:
            NotFoundError: no such table.
        """
        latest = self.snapshot(name)
        return log.entries(latest.place, latest.version)

    def refreshed(self, name: str) -> datetime:
        """When rows or columns of this environment's own table last changed.

        Raises:
            NotFoundError: this environment has no such table itself.
        """
        latest = self._found(name, [self.env])
        return log.changed_at(latest.place, latest.version)

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
        cancelled: Callable[[], bool] | None = None,
    ) -> T:
        """What a user's SQL gives, run where no file of a table can be written; see `scan.ask`.

        Args:
            names: table → version; None for the latest.
            work: runs it, on a connection in which these tables are views.
            threads: how many to compute with; see `connect`.
            memory: how much it may take before it spills; see `scan.ask`.
            seconds: how long it may take.
            cancelled: asked several times a second whether it is to end now; None: nobody ends it.

        Raises:
            NotFoundError: no such table or version.
            TimeoutError: it took longer.
            InterruptedError: it was cancelled.
        """
        snapshots = [self.snapshot(name, version) for name, version in names.items()]
        return scan.ask(snapshots, work, threads=threads, memory=memory, seconds=seconds, cancelled=cancelled)

    @contextmanager
    def hinting(self) -> Generator[None]:
        """An SqlError about a table that another environment has, and that cannot be read here, says what allows it."""
        try:
            yield
        except SqlError as error:
            if error.unknown_table is not None:
                error.hint = self._withheld(error.unknown_table, self._roots) or error.hint
            raise

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
        return dict.fromkeys(ids) if table is None else reached(place, table, ids)

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
        self._born.discard((name, self.env))
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

    def _may_read(self, name: str, env: str) -> bool:
        return env not in self._patterns or is_readable(name, self._patterns[env])

    def _is_born(self, name: str, env: str) -> bool:
        """Whether a table whose folder is there has a first version; each table is opened once for that."""
        if (name, env) not in self._born:
            target = self._target(name, env)
            if not summaries.is_known(target) and target.snapshot() is None:
                return False
            self._born.add((name, env))
        return True

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
            if not self._may_read(name, env):
                continue
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
        withheld = self._withheld(name, envs)
        known = None if withheld else [each.name for each in self.names()]
        hint = "headrace run refresh builds what is declared; headrace table list shows what there is."
        raise NotFoundError("table", name, known, hint=withheld or hint)

    def _withheld(self, name: str, envs: Iterable[str]) -> str:
        """Which environment has a table outside its patterns, and what allows to read it; empty where none has."""
        for env in envs:
            if NAME.fullmatch(name) and not self._may_read(name, env) and self._is_born(name, env):
                patterns = ", ".join(f'"{pattern}"' for pattern in (*self._patterns[env], name))
                return (
                    f"{env!r} has {name}, and {self.env!r} may not read it. What allows it, in headrace.toml: "
                    f"[env.{self.env}] reads = {{{env} = [{patterns}]}}. Or {self.env!r} makes a table of its own."
                )
        return ""
