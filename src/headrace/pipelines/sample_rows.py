"""Sample rows of a test, which a refresh takes in place of what sources declare; kept in this process, by project folder.

Only the temporary projects of `headrace.testing` have any.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from headrace.lakehouse import graph
from headrace.lakehouse.declarations import ArrivalTable, Source, Sql, Table, quarantine_name

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    import pyarrow as pa

    Declared = Source | Table

SCHEMA = "samples"  # of the tables that hold the rows given for a table which a SELECT defines


@dataclass
class SampleRows:
    """The rows that one project was given.

    Attributes:
        files: source → the file with its rows.
        rows: table or source → its rows in memory.
        elsewhere: tables of other projects, which were declared when their rows were given.
        without: the sources that have none.
        only: tables; nothing else is built but what they need. Empty for every table.
        lacking: table → the sources and tables without rows because of which the last refresh did not build it.
    """

    files: dict[str, Path] = field(default_factory=dict[str, "Path"])
    rows: dict[str, pa.Table] = field(default_factory=dict[str, "pa.Table"])
    elsewhere: dict[str, Table] = field(default_factory=dict[str, "Table"])
    without: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    lacking: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def instead_of(self, declared: Sequence[Declared]) -> list[Declared]:
        """The declarations with those that have sample rows replaced, and without sources that have none."""
        made: list[Declared] = []
        sources = [each.name for each in declared if isinstance(each, Source)]
        self.without = tuple(name for name in sources if name not in self.files and name not in self.rows)
        for each in [*declared, *self.elsewhere.values()]:
            if isinstance(each, Source):
                made += self._source(each)
            elif each.name in self.rows:
                made += self._table(each)
            else:
                made.append(each)
        return made

    def buildable(self, declared: Sequence[Declared], known: Collection[str]) -> list[Declared]:
        """Of the declarations that `instead_of` returned, those whose inputs all have rows; notes what the others lack.

        Args:
            declared: the sources and tables.
            known: the tables that the lakehouse has already.
        """
        named = {each.name: each for each in declared}
        every = frozenset({*named, *known, *self.without})
        self.lacking = {}
        memo: dict[str, tuple[str, ...]] = {}

        def lacks(name: str, above: frozenset[str]) -> tuple[str, ...]:
            if name in memo or name in above:  # tables that need each other are refused by whoever orders them
                return memo.get(name, ())
            each = named.get(name)
            if each is None:
                return () if name in known else (name,)
            if isinstance(each, Table) and each.sql is None and not isinstance(each, ArrivalTable):
                return () if name in known else (name,)
            reads = graph.inputs(each, every)
            memo[name] = tuple(dict.fromkeys(lack for one in reads for lack in lacks(one, above | {name})))
            return memo[name]

        for name in named:
            if found := lacks(name, frozenset()):
                self.lacking[name] = found
        wanted = {*self.only} if self.only else {*named}
        waiting = [*wanted]
        while waiting:
            each = named.get(waiting.pop())
            more: set[str] = set() if each is None else {*graph.inputs(each, every)} - wanted
            wanted |= more
            waiting += more
        return [each for each in declared if each.name not in self.lacking and each.name in wanted]

    def _source(self, declared: Source) -> list[Declared]:
        if declared.name in self.files:
            return [replace(declared, files=str(self.files[declared.name]), read=None)]
        if declared.name in self.rows:
            return [self._in_memory(declared)]
        return []

    def _in_memory(self, declared: Source) -> Source:
        rows = self.rows[declared.name]
        return replace(declared, files=(), read=rows.to_batches)

    def _table(self, declared: Table) -> list[Declared]:
        """The rows as a table of their own, and a SELECT of them: types, keys and expectations count as for any rows."""
        name = f"{SCHEMA}.{quarantine_name(declared.name).partition('.')[2]}"  # no two tables have the same
        rows = self.rows[declared.name]
        return [
            Source(name, read=rows.to_batches, where=declared.where),
            replace(declared, sql=Sql(f"select * from {name}", declared.where.file)),
        ]


_of: dict[Path, SampleRows] = {}


def of(folder: Path) -> SampleRows | None:
    """The sample rows of a project; None where it has its own sources."""
    return _of.get(folder)


def keep(folder: Path) -> SampleRows:
    """Lets a project take sample rows from now on: none as yet."""
    return _of.setdefault(folder, SampleRows())


def forget(folder: Path) -> None:
    """Ends that."""
    _of.pop(folder, None)
