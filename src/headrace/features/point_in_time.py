"""The point-in-time join: for each decision, the feature row that was the latest one available.

Engines carry whole rows through an as-of join, and sort all of them. Here only the decisions are sorted, by key and
moment. Keys and times of a feature table are streamed: each is assigned to the slot of the first decision that may use
it, the latest time stays there, and a running maximum passes it on to the later decisions of its key. The result, one
time for each decision, is the small side of a hash join that looks up the features, so that the columns of other rows
are dropped while they are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from headrace.lakehouse.identifiers import column

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import duckdb
    from numpy.typing import NDArray

NONE = int(np.iinfo(np.int64).min)  # nothing was found
FINITE = 2**62  # µs either way; DuckDB's infinite moments lie beyond
BATCH = 2**20  # rows; the larger, the closer together are those looked up one after the other


@dataclass(frozen=True, kw_only=True)
class JoinSpec:
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

    @property
    def moment(self) -> str:
        """SQL of the time of a row `f`."""
        return f"cast(f.{column(self.time)} as timestamptz)"


def join(
    connection: duckdb.DuckDBPyConnection, spine: str, *, at: str, lookups: Sequence[JoinSpec], keep: Sequence[str]
) -> pa.Table:
    """Every row of the spine exactly once, in its order: the kept columns, then those looked up.

    A row matches with equal keys and `at - look_back <= time <= at`, both ends included. The latest time wins, then the
    latest `written`, then the greatest values (so that the result never depends on the order of files). A null key or
    time, on either side, matches nothing. Values come through untouched. Moments are compared in whole microseconds;
    dates and times without a zone are taken in the zone of the connection.

    Args:
        connection: where the relations are. Temporary tables and views are made and dropped.
        spine: SQL of a relation, or of a SELECT in parentheses.
        at: its column with the moment of each decision.
        lookups: the feature tables.
        keep: columns of the spine to give back.
    """
    needed = dict.fromkeys((at, *keep, *(name for lookup in lookups for name in lookup.on.values())))
    rows = connection.sql(f"select {', '.join(column(name) for name in needed)} from {spine}").to_arrow_table()
    arrays, names = [rows[name] for name in keep], list(keep)
    sides: dict[tuple[str, ...], tuple[str, pa.Table]] = {}  # lookups by the same columns share their decisions
    connection.register("__spine", rows.append_column("__row", pa.array(np.arange(rows.num_rows))))
    try:
        for lookup in lookups:
            side = tuple(lookup.on.values())
            if side not in sides:
                sides[side] = _decisions(connection, at, side, f"__keys_{len(sides)}")
            arrays += _look_up(connection, lookup, *sides[side], rows.num_rows).columns
            names += lookup.columns.values()
    finally:
        connection.unregister("__spine")
        for keys, _ in sides.values():
            connection.execute(f"drop table {keys}").fetchall()
    return pa.Table.from_arrays(arrays, names)


def _decisions(connection: duckdb.DuckDBPyConnection, at: str, side: Sequence[str], keys: str) -> tuple[str, pa.Table]:
    """The decisions that can match: `__code` of the key, `__at`, and `__row` in the spine; sorted.

    Makes the table `keys` as well, with each key once: `__key_0`, `__key_1`, …, and its `__code`.
    """
    listed = ", ".join(f"{column(name)} as __key_{place}" for place, name in enumerate(side))
    known = " and ".join(f"{column(name)} is not null" for name in (at, *side))
    connection.execute(
        f"""
        create or replace temp table {keys} as
        select row_number() over () - 1 as __code, * from (select distinct {listed} from __spine where {known})
        """
    ).fetchall()
    return keys, connection.sql(
        f"""
        select k.__code, cast(f.{column(at)} as timestamptz) as __at, f.__row
        from __spine f join {keys} k on {_same_key(side)}
        where f.{column(at)} is not null
        order by all
        """
    ).to_arrow_table()


def _look_up(
    connection: duckdb.DuckDBPyConnection, lookup: JoinSpec, keys: str, decisions: pa.Table, count: int
) -> pa.Table:
    """The columns of a lookup, for each of the spine's `count` rows."""
    times = _times(connection, lookup, keys, decisions)
    hit = times != NONE
    time, code, row = times[hit], _whole(decisions["__code"])[hit], _whole(decisions["__row"])[hit]
    first = np.ones(len(time), bool)  # decisions that share what they found are neighbours
    first[1:] = (code[1:] != code[:-1]) | (time[1:] != time[:-1])
    moments = pa.array(time[first]).cast(pa.timestamp("us", "UTC"))
    wanted = pa.table({"__place": np.arange(len(moments)), "__code": code[first], "__time": moments})
    found = _gather(connection, lookup, keys, wanted)
    place = np.full(len(moments), NONE)
    place[_whole(found["__place"])] = np.arange(found.num_rows)
    source = np.full(count, NONE)
    source[row] = place[np.cumsum(first) - 1]
    return found.drop_columns("__place").take(pa.array(source, mask=source == NONE))


def _times(
    connection: duckdb.DuckDBPyConnection, lookup: JoinSpec, keys: str, decisions: pa.Table
) -> NDArray[np.int64]:
    """For each decision the time of the row that it finds, in µs, or NONE."""
    code, at = _whole(decisions["__code"]), _whole(decisions["__at"])
    if not len(at):
        return at
    reach = None if lookup.look_back is None else lookup.look_back // timedelta(microseconds=1)
    start, last = (None if reach is None else int(at.min()) - reach), int(at.max())
    within = [
        f"{lookup.moment} {sign} make_timestamptz({bound})"
        for sign, bound in ((">=", start), ("<=", last))
        if bound is not None and abs(bound) < FINITE
    ]
    rows = f"""
        select k.__code, {lookup.moment} as __time
        from {lookup.relation} f join {keys} k on {_same_key(tuple(lookup.on))}
        where {" and ".join([*within, f"{lookup.moment} is not null"])}
        """
    if start is None:
        found = connection.sql(f"select min(__time) from ({rows})").to_arrow_table()[0].cast(pa.int64())[0].as_py()
        start = last if found is None else int(found)
    width = last - start + 1
    if max(abs(start), abs(last)) >= FINITE or (int(code[-1]) + 1) * width >= 2**63:
        return _times_by_engine(connection, rows, decisions, reach)
    zero = code * width - start  # key and time as one number
    seen = zero + np.maximum(
        at, start - 1
    )  # before the first row is one moment, or it would lie among those of another key
    latest = _latest(connection.sql(rows).to_arrow_reader(BATCH), seen, start, width)
    return np.where(latest >= zero + (start if reach is None else at - reach), latest - zero, NONE)


def _latest(
    batches: Iterable[pa.RecordBatch], decisions: NDArray[np.int64], start: int, width: int
) -> NDArray[np.int64]:
    """For each decision the latest row at or before it, both as key and time in one number; -1 if there is none."""
    slots = np.full(len(decisions) + 1, -1)  # in each, the latest that the decision sees and the one before does not
    for batch in batches:
        rows = _whole(batch["__code"]) * width + (_whole(batch["__time"]) - start)
        rows.sort()  # makes the search three times faster
        slot = np.searchsorted(decisions, rows)
        last = np.flatnonzero(np.diff(slot, append=-1))
        slots[slot[last]] = np.maximum(slots[slot[last]], rows[last])
    return np.maximum.accumulate(slots[:-1])


def _times_by_engine(
    connection: duckdb.DuckDBPyConnection, rows: str, decisions: pa.Table, reach: int | None
) -> NDArray[np.int64]:
    """The same where keys and times do not fit into one number of 63 bits, at three times the cost."""
    fresh = "true" if reach is None else f"d.__at <= f.__time + to_microseconds({reach})"
    connection.register("__decisions", decisions)
    try:
        found = connection.sql(
            f"""
            select case when {fresh} then f.__time end
            from __decisions d asof left join ({rows}) f on d.__code = f.__code and d.__at >= f.__time
            order by d.__code, d.__at
            """
        ).to_arrow_table()
    finally:
        connection.unregister("__decisions")
    return _whole(found[0].cast(pa.int64()).fill_null(NONE))


def _gather(connection: duckdb.DuckDBPyConnection, lookup: JoinSpec, keys: str, wanted: pa.Table) -> pa.Table:
    """The rows with these keys and times, each once, in any order: their `__place` and the columns."""
    values = ", ".join(f"f.{column(theirs)} as {column(ours)}" for theirs, ours in lookup.columns.items())
    rows = f"""
        select k.__place, {values}
        from {lookup.relation} f join __wanted_keys k on {_same_key(tuple(lookup.on))} and {lookup.moment} = k.__time
        """
    order = [f"f.{column(name)} desc nulls last" for name in (lookup.written, *lookup.columns) if name]
    connection.register("__wanted", wanted)
    try:
        connection.execute(f"create temp table __wanted_keys as from __wanted join {keys} using (__code)").fetchall()
        found = connection.sql(rows).to_arrow_table()
        if found.num_rows > wanted.num_rows:  # ties
            only = f"qualify row_number() over (partition by k.__place order by {', '.join(order)}) = 1"
            found = connection.sql(f"{rows} {only}").to_arrow_table()
    finally:
        connection.unregister("__wanted")
        connection.execute("drop table if exists __wanted_keys").fetchall()
    return found


def _same_key(names: Sequence[str]) -> str:
    return " and ".join(f"f.{column(name)} = k.__key_{place}" for place, name in enumerate(names))


def _whole(values: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    return values.cast(pa.int64()).to_numpy()
