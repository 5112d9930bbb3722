"""The order in which declared tables are built: each after the tables that its SELECT reads."""

from __future__ import annotations

import graphlib
from typing import TYPE_CHECKING

from headrace.core.errors import DeclarationError
from headrace.lakehouse.declarations import ArrivalTable, Sql, Table
from headrace.lakehouse.sql import Query, check

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from headrace.lakehouse.declarations import Source

    Declared = Source | Table


def order(declared: Iterable[Declared], *, elsewhere: Collection[str] = ()) -> list[Declared]:
    """Sources and tables, each after its inputs; otherwise as declared.

    Args:
        declared: sources, and tables with or without a SELECT. Those without, and sources, have no inputs.
        elsewhere: tables that may be read though nobody declares them here, such as one that was loaded by hand.

    Raises:
        DeclarationError: two of one name, or tables that need each other; says where each stands.
        SqlError: a SELECT that does not pass the check, or that reads a table that is not there.
    """
    named = _by_name(declared)
    known = {*named, *elsewhere}
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for name, declaration in named.items():
        sorter.add(name, *(each for each in inputs(declaration, known) if each in named))
    try:
        return [named[name] for name in sorter.static_order()]
    except graphlib.CycleError as error:
        raise _cycle([named[name] for name in error.args[1]]) from None


def inputs(declaration: Declared, known: Collection[str]) -> tuple[str, ...]:
    """The tables that a declaration reads, sorted; none for a source or a table that is made elsewhere."""
    if isinstance(declaration, ArrivalTable):
        return (declaration.source.name,)
    read = query(declaration, known)
    return () if read is None else read.inputs


def query(declaration: Declared, known: Collection[str]) -> Query | None:
    """The checked SELECT of a table; None for a source or a table that is made elsewhere.

    Raises:
        SqlError: it does not pass the check.
    """
    if isinstance(declaration, Table) and isinstance(declaration.sql, Sql):
        return check(declaration.sql, known)
    return None


def sources(declared: Iterable[Declared], table: str, *, elsewhere: Collection[str] = ()) -> list[Source]:
    """The sources that the rows of a table come from, through however many tables.

    Raises:
        SqlError: a SELECT that does not pass the check.
    """
    named = {each.name: each for each in declared}
    known = {*named, *elsewhere}
    found: dict[str, Source] = {}
    reached, waiting = {table}, [table]
    while waiting:
        declaration = named.get(waiting.pop())
        if declaration is None:
            continue
        if not isinstance(declaration, Table):
            found[declaration.name] = declaration
            continue
        more = [name for name in inputs(declaration, known) if name not in reached]
        reached.update(more)
        waiting += more
    return list(found.values())


def _by_name(declared: Iterable[Declared]) -> dict[str, Declared]:
    named: dict[str, Declared] = {}
    for declaration in declared:
        first = named.setdefault(declaration.name, declaration)
        if first is not declaration:
            raise DeclarationError(
                f"{declaration.name!r} is declared twice.",
                findings=[str(first.where), str(declaration.where)],
                hint="Give one of them another name.",
            )
    return named


def _cycle(path: Sequence[Declared]) -> DeclarationError:
    """`path` runs from a table to one that reads it, and so on, back to the first."""
    ring = path[:0:-1]  # in reading direction, each once
    lines = [
        f"{reader.where}: {reader.name} reads {read.name}"
        for reader, read in zip(ring, [*ring[1:], ring[0]], strict=True)
    ]
    return DeclarationError(
        f"tables need each other: {' → '.join(each.name for each in [*ring, ring[0]])}.",
        findings=lines,
        hint="A table cannot be made from itself: break the circle with a table in between.",
    )
