"""The point-in-time join: for each decision, the feature row that was the latest one available.

Engines carry whole rows through an as-of join: every feature column is sorted along. Here the as-of join sees keys and
times only; what it finds, one time a decision, is then looked up with an ordinary hash join whose small side is the
decisions, so that the columns of rows nobody asked for are dropped while they are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.lakehouse.sql import column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    import duckdb
    import pyarrow as pa

ROW = "__row"  # the place of a decision in the spine
TIME = "__time"


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """One feature table, looked up once.

    Attributes:
        relation: SQL of a relation on the connection, quoted.
        on: key column of the table → column of the spine.
        time: when a row became available.
        columns: column of the table → its name in the result.
        look_back: how old a row may be at the decision; None for any age.
        written: the column that breaks ties between rows of one key and time: the later wins, null loses.
    """

    relation: str
    on: Mapping[str, str]
    time: str
    columns: Mapping[str, str]
    look_back: timedelta | None
    written: str | None = None


def join(
    connection: duckdb.DuckDBPyConnection, spine: str, *, at: str, lookups: Sequence[Lookup], keep: Sequence[str]
) -> pa.Table:
    """Every row of the spine exactly once, in its order: the kept columns, then those looked up.

    A row matches with equal keys and `at - look_back <= time <= at`, both ends included. The latest time wins, then the
    latest `written`, then the greatest values (so that the result never depends on the order of files). A null key or
    time, on either side, matches nothing. Values come through untouched.

    Args:
        connection: where the relations are. Temporary tables are made and dropped.
        spine: SQL of a relation, or of a SELECT in parentheses.
        at: its column with the moment of each decision.
        lookups: the feature tables.
        keep: columns of the spine to give back.
    """
    needed = dict.fromkeys((at, *keep, *(name for lookup in lookups for name in lookup.on.values())))
    listed = ", ".join(column(name) for name in needed)
    try:
        connection.execute(
            f"create or replace temp table __spine as select row_number() over () as {ROW}, {listed} from {spine}"
        ).fetchall()
        for number, lookup in enumerate(lookups):
            _look_up(connection, f"__found_{number}", lookup, at)
        found = [
            f"__found_{number}.{column(name)}"
            for number, lookup in enumerate(lookups)
            for name in lookup.columns.values()
        ]
        joins = "\n".join(f"left join __found_{number} using ({ROW})" for number in range(len(lookups)))
        kept = [f"__spine.{column(name)}" for name in keep]
        return connection.sql(
            f"select {', '.join([*kept, *found])} from __spine {joins} order by __spine.{ROW}"
        ).to_arrow_table()
    finally:
        for name in ("__spine", *(f"__found_{number}" for number in range(len(lookups)))):
            connection.execute(f"drop table if exists {name}").fetchall()


def _look_up(connection: duckdb.DuckDBPyConnection, into: str, lookup: Lookup, at: str) -> None:
    """Makes the table `into`: one row for each decision that finds something."""
    span = connection.sql(f"select min({column(at)}) as first, max({column(at)}) as last from __spine").to_arrow_table()
    first, last = (span.column(end)[0].as_py() for end in ("first", "last"))
    rows = f"(from {lookup.relation} where {_may_match(lookup, first, last)})"
    keys = ", ".join(column(name) for name in lookup.on)
    same = " and ".join(f"f.{column(theirs)} = s.{column(ours)}" for theirs, ours in lookup.on.items())
    fresh = "" if lookup.look_back is None else f"where s.{column(at)} <= f.{TIME} + {_interval(lookup.look_back)}"
    connection.execute(
        f"""
        create or replace temp table __match as
        select s.{ROW}, {", ".join(f"s.{column(ours)} as __key_{place}" for place, ours in enumerate(lookup.on.values()))}, f.{TIME}
        from __spine s
        asof join (select {keys}, {column(lookup.time)} as {TIME} from {rows}) f on {same} and s.{column(at)} >= f.{TIME}
        {fresh}
        """
    ).fetchall()
    back = " and ".join(f"f.{column(theirs)} = m.__key_{place}" for place, theirs in enumerate(lookup.on))
    values = ", ".join(f"f.{column(theirs)} as {column(ours)}" for theirs, ours in lookup.columns.items())
    latest = f"f.{column(lookup.written)} as __written" if lookup.written else "null as __written"
    connection.execute(
        f"""
        create or replace temp table {into} as
        select m.{ROW}, {values}, {latest}
        from {rows} f join __match m on {back} and f.{column(lookup.time)} = m.{TIME}
        """
    ).fetchall()
    total, decisions = connection.execute(f"select count(*), (select count(*) from __match) from {into}").fetchall()[0]
    if total > decisions:
        _break_ties(connection, into, list(lookup.columns.values()))
    connection.execute("drop table __match").fetchall()


def _break_ties(connection: duckdb.DuckDBPyConnection, into: str, names: list[str]) -> None:
    order = ", ".join(["__written desc nulls last", *(f"{column(name)} desc nulls last" for name in names)])
    connection.execute(
        f"""
        create or replace temp table __one as
        from {into} qualify row_number() over (partition by {ROW} order by {order}) = 1
        """
    ).fetchall()
    connection.execute(f"create or replace temp table {into} as from __one").fetchall()
    connection.execute("drop table __one").fetchall()


def _may_match(lookup: Lookup, first: datetime | None, last: datetime | None) -> str:
    """What the scan can leave out at once: null keys and times, and times outside of any decision's reach."""
    time = column(lookup.time)
    terms = [f"{column(name)} is not null" for name in (*lookup.on, lookup.time)]
    if first is None or last is None:
        return "false"
    terms.append(f"{time} <= {_moment(last)}")
    if lookup.look_back is not None:
        terms.append(f"{time} >= {_moment(first - lookup.look_back)}")
    return " and ".join(terms)


def _moment(value: datetime) -> str:
    return f"{'timestamp' if value.tzinfo is None else 'timestamptz'} '{value.isoformat(sep=' ')}'"


def _interval(value: timedelta) -> str:
    microseconds = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
    return f"to_microseconds({microseconds})"
