"""Refreshes a table by its SELECT: computes it on pinned inputs, applies the expectations, writes the difference.

Up to three tables are written, in this order: the quarantined rows (`quarantine.<schema>_<table>`), the table itself,
and the counts of its expectations (`metrics.expectations`). All checks are made before the first write. After a kill
between two writes, the same step computes the same rows again, finds that the written tables are already correct, and
writes the others: the first two are compared with the existing tables, the counts are appended once for each step and
version of the table.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from headrace.core.clock import now
from headrace.core.errors import DataError, DeclarationError
from headrace.core.ids import digest, new_id
from headrace.lakehouse.changes import FEED
from headrace.lakehouse.columns import DUCKDB, INSTANT, arrow_types, keeps_text, stored, type_name
from headrace.lakehouse.declarations import KEY, Sql, key_text, quarantine_name
from headrace.lakehouse.difference import beside, difference, is_wider, same_rows
from headrace.lakehouse.expectations import REASON, ExpectationResult, apply, example_rows
from headrace.lakehouse.identifiers import column, quoted
from headrace.lakehouse.sql import Query, check, explain, relation
from headrace.lakehouse.widening import beside_table
from headrace.lakehouse.writes import Append, Overwrite, Upsert

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from headrace.lakehouse.declarations import Table
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.writes import Change

WRITTEN_AT = "_written_at"
OWN = (WRITTEN_AT, REASON)
METRICS = "metrics.expectations"
# What DuckDB computes with and Delta does not keep → what is kept instead, where it can be kept.
KEPT = {
    "HUGEINT": "BIGINT",
    "UHUGEINT": "BIGINT",
    "UBIGINT": "BIGINT",
    "UINTEGER": "BIGINT",
    "USMALLINT": "INTEGER",
    "UTINYINT": "SMALLINT",
    "TIMESTAMP_S": "TIMESTAMP",
    "TIMESTAMP_MS": "TIMESTAMP",
    "TIMESTAMP_NS": "TIMESTAMP",
    "UUID": "VARCHAR",
    "JSON": "VARCHAR",
}
NOT_KEPT = ("INTERVAL", "TIME", "TIME WITH TIME ZONE", "TIME_NS", "BIT", "VARIANT", "UNION", "BIGNUM", '"NULL"')
WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
BROKEN = ("FLOAT", "DOUBLE", "DECIMAL")


@dataclass(frozen=True, kw_only=True)
class Materialized:
    """What a step did to a table.

    Attributes:
        table: its name.
        version: its version after the step; unchanged if nothing differed.
        rows: rows that it has now.
        changed: rows that were written, new or different. After a kill, what this attempt still had to write.
        deleted: rows that the SELECT no longer gives.
        quarantined: rows set apart, by predicate; a row that breaks two is counted for both.
        repaired: rows repaired, by predicate.
        warned: rows kept though they break a `"warn"` expectation, by predicate.
        widened: columns whose type became a wider one, in words.
    """

    table: str
    version: int
    rows: int
    changed: int
    deleted: int
    quarantined: dict[str, int] = field(default_factory=dict[str, int])
    repaired: dict[str, int] = field(default_factory=dict[str, int])
    warned: dict[str, int] = field(default_factory=dict[str, int])
    widened: tuple[str, ...] = ()


def materialize(
    lakehouse: Lakehouse,
    table: Table,
    *,
    id: str,  # noqa: A002 - what the contract of `commit` calls it
    versions: Mapping[str, int | None],
    stamp: datetime | None = None,
) -> Materialized:
    """Runs the SELECT of a table on the given versions of its inputs and writes the difference.

    Args:
        lakehouse: where to read and write.
        table: the declaration; it has a SELECT.
        id: identifies the step, so that its counts are appended once however often it runs.
        versions: the tables that may be read, and the version of each (None: the latest).
        stamp: for a feature table: the value of `_written_at` of each row that is written now. Rows that do not change
            keep theirs.

    Raises:
        SqlError: the SELECT or an expectation is refused or fails; with file and line.
        DeclarationError: a declared column does not exist.
        DataError: a broken expectation, a null or double key, a value that does not fit its declared type, a column
            whose type changed to one that does not hold its values, a key whose type changed. Nothing was written.
    """
    made = _make(lakehouse, table, versions)
    rows = _typed(lakehouse, table, made.rows)
    _set_apart(lakehouse, table, made.held)
    written = _write(lakehouse, table, rows, stamp)
    _note(lakehouse, table, made.judged, id, written.version)
    broken = {
        action: {each.predicate: each.broken for each in made.judged if each.action == action and each.broken}
        for action in ("quarantine", "repair", "warn")
    }
    return Materialized(
        table=table.name,
        version=written.version,
        rows=rows.num_rows,
        changed=written.changed,
        deleted=written.deleted,
        quarantined=broken["quarantine"],
        repaired=broken["repair"],
        warned=broken["warn"],
        widened=written.widened,
    )


def write_rows(lakehouse: Lakehouse, table: Table, rows: pa.Table) -> Materialized:
    """Brings a table to rows that were computed elsewhere, by the difference. Arguments and errors as `materialize`."""
    typed = _typed(lakehouse, table, rows)
    written = _write(lakehouse, table, typed, None)
    return Materialized(
        table=table.name,
        version=written.version,
        rows=typed.num_rows,
        changed=written.changed,
        deleted=written.deleted,
        widened=written.widened,
    )


# ---------------------------------------------------------------------------------------------- computing


@dataclass(frozen=True, kw_only=True)
class _Made:
    """What the SELECT gives: the rows of the table, those set apart, and what the expectations found."""

    rows: pa.Table
    held: pa.Table
    judged: Sequence[ExpectationResult]


def _make(lakehouse: Lakehouse, table: Table, versions: Mapping[str, int | None]) -> _Made:
    if not isinstance(table.sql, Sql):
        raise DeclarationError(f"{table.where}: table {table.name!r} has no sql=, so there is nothing to compute.")
    query = check(table.sql, versions.keys())
    # One thread: with more, sums of floating point numbers and first() differ from run to run, so that a table would be
    # rewritten though nothing changed. On 2 cores it costs nothing: the tables of the example take 5 to 7 s either way.
    return lakehouse.ask(
        {name: versions[name] for name in query.inputs},
        lambda connection: _computed(connection, table, query),
        threads=1,
    )


def _computed(connection: duckdb.DuckDBPyConnection, table: Table, query: Query) -> _Made:
    _run(connection, table, query)
    judged = apply(connection, "made", "held", table)
    _check_identity(connection, table)
    return _Made(
        rows=connection.sql("FROM made").to_arrow_table(),
        held=connection.sql("FROM held").to_arrow_table(),
        judged=judged,
    )


def _run(connection: duckdb.DuckDBPyConnection, table: Table, query: Query) -> None:
    """Makes the table `made`: the rows of the SELECT in the types that will be kept."""
    rows = relation(connection, query)
    columns = {name: str(kind) for name, kind in zip(rows.columns, rows.types, strict=True)}
    _check_names(table, rows.columns)
    casts = _casts(table, columns)
    try:
        rows.create("computed" if casts else "made")
    except duckdb.Error as error:
        raise explain(error, query, above=1) from None
    if casts:
        for name, to in casts.items():
            _check_cast(connection, table, name, columns[name], to)
        listed = ", ".join(
            f"CAST({column(name)} AS {casts[name]}) AS {column(name)}" if name in casts else column(name)
            for name in columns
        )
        connection.execute(f"CREATE TEMP TABLE made AS SELECT {listed} FROM computed")
        connection.execute("DROP TABLE computed")


def _check_names(table: Table, names: Sequence[str]) -> None:
    """Every column has a name of its own, and every declared column is there."""
    lower = [name.lower() for name in names]
    if twice := [name for name in names if lower.count(name.lower()) > 1]:
        raise DeclarationError(
            f"{table.where}: the SELECT of {table.name!r} gives the column {twice[0]!r} twice.",
            hint="Name each column once: a.x AS a_x.",
        )
    if taken := [name for name in names if name in OWN]:
        raise DeclarationError(
            f"{table.where}: Headrace writes the column {taken[0]!r} itself.", hint="Name it otherwise."
        )
    schema = () if table.schema is None else tuple(table.schema.columns)
    for role, declared in (("key", table.keys), ("time", filter(None, [table.time])), ("schema", schema)):
        for name in declared:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                said = f"did you mean {near[0]!r}?" if near else f"it gives {', '.join(names)}."
                raise DeclarationError(
                    f"{table.where}: the {role} of {table.name!r} names the column {name!r}, "
                    f"which its SELECT does not give: {said}"
                )


def _casts(table: Table, columns: Mapping[str, str]) -> dict[str, str]:
    """Columns whose type changes on the way into Delta: as declared, else to the nearest that can be kept."""
    declared = {} if table.schema is None else {name: DUCKDB[each] for name, each in table.schema.columns.items()}
    casts: dict[str, str] = {}
    for name, found in columns.items():
        to = declared.get(name) or KEPT.get(found) or ("VARCHAR" if found.startswith("ENUM") else found)
        if to in NOT_KEPT:
            what = "null in every row" if found == '"NULL"' else found
            raise DeclarationError(
                f"{table.where}: column {name!r} of {table.name!r} is {what}, which a Delta table has no type for.",
                hint=f'Cast it in the SELECT, or declare schema=hr.Schema({name}="string").',
            )
        if name == table.time and not to.startswith("TIMESTAMP"):
            raise DeclarationError(
                f"{table.where}: time {name!r} of {table.name!r} is {to}, not a moment.",
                hint=f"Compute a TIMESTAMP WITH TIME ZONE, for example: {name} AT TIME ZONE 'America/New_York'.",
            )
        if to != found:
            casts[name] = to
    return casts


def _check_cast(connection: duckdb.DuckDBPyConnection, table: Table, name: str, found: str, to: str) -> None:
    """Every value has a counterpart in the new type; numbers keep their value when they become whole."""
    value = column(name)
    lost = f"{value} IS NOT NULL AND TRY_CAST({value} AS {to}) IS NULL"
    if to in WHOLE and found.startswith(BROKEN):
        lost = f"{value} IS NOT NULL AND (TRY_CAST({value} AS {to}) IS NULL OR TRY_CAST({value} AS {to}) <> {value})"
    row = connection.execute(f"SELECT count(*) FROM computed WHERE {lost}").fetchall()[0]
    if row and row[0]:
        shown = list(dict.fromkeys((*table.identity, name)))
        raise DataError(
            f"{table.where}: {row[0]} values of column {name!r} of {table.name!r} are not {to}. Nothing was written.",
            findings=example_rows(connection, f"FROM computed WHERE {lost}", shown),
            hint="Cast or round it in the SELECT as it should be, or declare another type in schema=.",
        )


def _check_identity(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Key and time are never null, and no two rows agree in them."""
    for name in table.identity:
        row = connection.execute(f"SELECT count(*) FROM made WHERE {column(name)} IS NULL").fetchall()[0]
        if row and row[0]:
            role = "time" if name == table.time else "key"
            raise DataError(
                f"{table.where}: {role} {name!r} of {table.name!r} is null in {row[0]} rows. Nothing was written.",
                findings=example_rows(connection, f"FROM made WHERE {column(name)} IS NULL", _columns(connection)[:6]),
                hint=f"Leave these rows out in the SELECT, or declare "
                f'hr.expect("{name} is not null", otherwise="quarantine").',
            )
    listed = ", ".join(column(name) for name in table.identity)
    double = f"FROM made GROUP BY {listed} HAVING count(*) > 1"
    row = connection.execute(f"SELECT count(*) FROM (SELECT 1 {double})").fetchall()[0]
    if row and row[0]:
        raise DataError(
            f"{table.where}: {row[0]} times, rows of {table.name!r} agree in ({', '.join(table.identity)}). "
            "Nothing was written.",
            findings=example_rows(connection, f"{double} ORDER BY ALL", table.identity),
            hint="Choose one of them in the SELECT (QUALIFY row_number() OVER (PARTITION BY … ORDER BY …) = 1), "
            "or declare a key that tells them apart.",
        )


def _columns(connection: duckdb.DuckDBPyConnection) -> list[str]:
    return [str(name) for name, *_ in connection.execute("DESCRIBE made").fetchall()]


# ---------------------------------------------------------------------------------------------- writing


@dataclass(frozen=True, kw_only=True)
class _Written:
    version: int
    changed: int
    deleted: int
    widened: tuple[str, ...]


def _typed(lakehouse: Lakehouse, table: Table, rows: pa.Table) -> pa.Table:
    """The rows in the table's own types, or in wider ones: no column changes its values under those who read it.

    Raises:
        DataError: a column would lose values, or a key would be written otherwise.
    """
    current = _own(lakehouse, table.name)
    if current is None:
        return rows
    declared = arrow_types(table.schema)
    made = beside_table(rows, current, where=str(table.where), table=table.name, declared=declared)
    for name in set(table.keys) & set(current.schema.names):
        was = stored(current.schema.field(name).type)
        now = rows.schema.field(name).type
        if was is not None and not keeps_text(was, now):
            raise DataError(
                f"{table.where}: key {name!r} of {table.name!r} was {type_name(was)} and would now be {type_name(now)}: "
                "the ids of predictions and the keys of the online store are made from its text. Nothing was written.",
                hint=f"Keep the type with schema=hr.Schema({name}={type_name(was)!r}): a value that it does not hold is "
                "then named, to be corrected where it comes from. To have the other type, make the table anew in dev: "
                f"headrace table drop {table.name} && headrace run refresh",
            )
    return made


def _own(lakehouse: Lakehouse, name: str) -> Snapshot | None:
    """This environment's own table; one that is only read from another environment does not count."""
    if not lakehouse.exists(name):
        return None
    found = lakehouse.snapshot(name)
    return found if found.env == lakehouse.env else None


def _set_apart(lakehouse: Lakehouse, table: Table, held: pa.Table) -> None:
    """The quarantine table becomes exactly the rows that this run set apart."""
    name = quarantine_name(table.name)

    def change(current: Snapshot | None) -> Change | None:
        if current is None:
            return Overwrite(held) if held.num_rows else None
        made = beside_table(held, current, where=str(table.where), table=name, declared={})
        return None if same_rows(lakehouse, current, made) else Overwrite(made)

    lakehouse.commit(name, new_id(), change)


def _write(lakehouse: Lakehouse, table: Table, rows: pa.Table, stamp: datetime | None) -> _Written:
    """The table becomes what the SELECT gave, by the rows that differ."""
    changed = deleted = 0

    def change(current: Snapshot | None) -> Change | None:
        nonlocal changed, deleted
        if current is None:
            changed, deleted = rows.num_rows, 0
            return Overwrite(_stamped(rows, stamp))
        differs = difference(lakehouse, current, rows, table.identity)
        changed, deleted = differs.changed.num_rows, differs.deleted.num_rows
        if {*rows.column_names, *([] if stamp is None else [WRITTEN_AT])} != set(current.schema.names):
            return Overwrite(_whole(lakehouse, table, current, rows, stamp))
        if not changed and not deleted and not is_wider(rows.schema, current.schema):
            return None
        return Upsert(_stamped(differs.changed, stamp), table.identity, delete=differs.deleted)

    # Not the step's id: after a definition went and came back (A, B, A) the step has the key of the first A, and yet
    # something to write. Comparing rows tells what has been written; all that is missing is written once.
    commit = lakehouse.commit(table.name, new_id(), change, properties=_properties(table, stamp))
    return _Written(version=commit.version, changed=changed, deleted=deleted, widened=commit.widened)


def _stamped(rows: pa.Table, stamp: datetime | None) -> pa.Table:
    return (
        rows if stamp is None else rows.append_column(WRITTEN_AT, pa.repeat(pa.scalar(stamp, INSTANT), rows.num_rows))
    )


def _whole(lakehouse: Lakehouse, table: Table, current: Snapshot, rows: pa.Table, stamp: datetime | None) -> pa.Table:
    """All rows, for a table whose columns are others now: rows that are otherwise the same keep `_written_at`."""
    if stamp is None or WRITTEN_AT not in current.schema.names:
        return _stamped(rows, stamp)
    there = set(current.schema.names)
    same = " AND ".join(
        f"made.{column(name)} IS NOT DISTINCT FROM {f'there.{column(name)}' if name in there else 'NULL'}"
        for name in rows.column_names
    )
    with beside(lakehouse, current, rows) as connection:
        return connection.sql(
            f"SELECT made.*, coalesce(there.{WRITTEN_AT}, $stamp) AS {WRITTEN_AT} "
            f"FROM made LEFT JOIN {quoted(table.name)} AS there ON {same}",
            params={"stamp": stamp},
        ).to_arrow_table()


def _properties(table: Table, stamp: datetime | None) -> dict[str, str]:
    """The declaration, kept with the table so that another project can find it."""
    said = {
        "headrace.kind": "table" if stamp is None else "feature",
        KEY: key_text(table.keys),
        "headrace.time": table.time or "",
        "headrace.look_back": getattr(table, "look_back", None) or "",  # of a feature table, which is declared above
        "headrace.description": table.description,
        "headrace.owner": table.owner,
        FEED: "true" if table.change_feed else "",
    }
    return {name: value for name, value in said.items() if value}


def _note(lakehouse: Lakehouse, table: Table, judged: Sequence[ExpectationResult], step: str, version: int) -> None:
    """One row an expectation into `metrics.expectations`, once for each step and version of the table."""
    if not judged:
        return
    rows = pa.table(
        {
            "table": pa.array([table.name] * len(judged), pa.string()),
            "version": pa.array([version] * len(judged), pa.int64()),
            "expectation": pa.array([each.predicate for each in judged], pa.string()),
            "action": pa.array([each.action for each in judged], pa.string()),
            "rows": pa.array([each.rows for each in judged], pa.int64()),
            "broken": pa.array([each.broken for each in judged], pa.int64()),
            "step": pa.array([step] * len(judged), pa.string()),
            "at": pa.array([now()] * len(judged), INSTANT),
        }
    )
    lakehouse.commit(METRICS, digest({"step": step, "version": version}), lambda _: Append(rows))
