"""Rows to score, in the spine's types: the spine, or a table, a file or a query with the same columns."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from headrace.core.errors import DataError, NotFoundError
from headrace.core.ids import digest
from headrace.core.text import counted
from headrace.features.rows import Decisions, needed
from headrace.inference.row_arrivals import added, last_write, with_arrivals
from headrace.lakehouse import files
from headrace.lakehouse.adhoc import MEMORY
from headrace.lakehouse.columns import conform
from headrace.lakehouse.declarations import NAME, Sql
from headrace.lakehouse.dialect import NULLS, Dialect
from headrace.lakehouse.identifiers import column, quoted
from headrace.lakehouse.scan import duckdb_type
from headrace.lakehouse.sql import check, explain, relation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.core.ids import Json
    from headrace.features.plan import FeaturePlan
    from headrace.inference.row_arrivals import FirstMoments
    from headrace.lakehouse.declarations import Source
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.reading import Guess

GIVEN = "given"  # the view of a file's rows
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class InputRows:
    """Where rows come from.

    Attributes:
        decisions: to read them.
        said: as a person is told; empty for the spine.
        identity: changes when the rows may have changed.
        notes: what was guessed about a file.
    """

    decisions: Decisions
    said: str
    identity: Mapping[str, Json]
    notes: tuple[str, ...] = ()


def spine(lakehouse: Lakehouse, plan: FeaturePlan) -> InputRows:
    """All decisions that there are."""
    return replace(_table(lakehouse, plan.spine), said="")


def rows(
    lakehouse: Lakehouse,
    plan: FeaturePlan,
    source: str,
    *,
    latest: datetime | None = None,
    like: Sequence[Source] = (),
    texts: Sequence[str] = (),
    first_moments: FirstMoments | None = None,
) -> InputRows:
    """The rows of a table of the lakehouse, or of a Parquet, CSV or JSON file.

    A file is read as a source reads its files: its texts mean what they mean in the sources that the spine comes from.

    Args:
        lakehouse: the tables.
        plan: says which columns are needed.
        source: `schema.table`, or a path.
        latest: stands for the moment of every row, which then need not have one.
        like: the sources of the spine; where they differ in what means null, the defaults hold.
        texts: columns of which each row needs a value. Defaults to none.
        first_moments: of rows that get a key and a moment here, because the spine has neither; see `with_arrivals`.

    Raises:
        NotFoundError: there is neither.
        DataError: a column is missing, or cannot be read in the spine's type; a row has no key, no moment or no text, or
            comes twice.
    """
    if NAME.fullmatch(source) and Path(source).suffix.lower() not in files.ENDINGS:
        found = _table(lakehouse, source)
        _check_types(lakehouse, plan, source)
        if added(plan, lakehouse.snapshot(source).schema.names):
            found = _arrived_table(lakehouse, plan, source, found, texts, first_moments)
    else:
        found = _file(lakehouse, plan, Path(source), latest, like, texts, first_moments)
    return _shaped(lakehouse, plan, found, latest)


def query(
    lakehouse: Lakehouse,
    plan: FeaturePlan,
    text: str,
    *,
    latest: datetime | None = None,
    texts: Sequence[str] = (),
    first_moments: FirstMoments | None = None,
) -> InputRows:
    """The rows of a SELECT over tables of the lakehouse.

    Args:
        lakehouse: the tables.
        plan: says which columns are needed.
        text: the SELECT.
        latest: see `rows`.
        texts: see `rows`.
        first_moments: see `rows`.

    Raises:
        SqlError: it is not one, or does not give the same rows each time.
        DataError: see `rows`.
    """
    with lakehouse.hinting():
        asked = check(Sql(text, "<query>"), [name.name for name in lakehouse.names()])
    snapshots = {name: lakehouse.snapshot(name) for name in asked.inputs}
    wanted = [name for name in needed(plan) if not (latest and name == plan.at)]

    def answer(connection: duckdb.DuckDBPyConnection) -> pa.Table:
        answered = relation(connection, asked)
        made = added(plan, answered.columns)
        _check_columns("the query", [name for name in wanted if name not in made], answered.columns)
        try:
            return answered.select(*(column(name) for name in wanted if name not in made)).to_arrow_table()
        except duckdb.Error as error:
            raise explain(error, asked) from None

    versions = {name: snapshot.version for name, snapshot in snapshots.items()}
    answered = lakehouse.ask(versions, answer, memory=MEMORY)
    _check_texts("the query", answered, texts)
    moments: dict[str, Json] = {}
    if added(plan, answered.column_names):
        answered = with_arrivals(answered, plan, last_write(lakehouse, versions), first_moments).select(wanted)
        moments = _moments(answered, plan)
    found = InputRows(
        decisions=Decisions(relation=GIVEN, arrow={GIVEN: _conformed(answered, _types(lakehouse, plan), "the query")}),
        said="query",
        identity={
            "query": asked.normalized,
            "inputs": {name: snapshot.content for name, snapshot in snapshots.items()},
            **moments,
        },
    )
    return _shaped(lakehouse, plan, found, latest)


def read_file(lakehouse: Lakehouse, plan: FeaturePlan, path: Path, *, like: Sequence[Source] = ()) -> pa.Table:
    """All columns of a file, decisions or full rows, with its texts read as the sources of the spine read theirs.

    Args:
        lakehouse: the tables.
        plan: says which columns are needed, and which of them are texts.
        path: of the file.
        like: the sources of the spine.

    Raises:
        DataError: the file cannot be read.
    """
    texts = {each.name: pa.string() for each in plan.inputs if each.kind == "string"}
    dialect, _ = _dialect(like)
    read, _ = _read(path, {**texts, **_types(lakehouse, plan)}, dialect)
    return read


def from_frame(
    lakehouse: Lakehouse, plan: FeaturePlan, rows: pa.Table, *, latest: datetime | None = None, keep: Sequence[str] = ()
) -> InputRows:
    """Rows in memory.

    Args:
        lakehouse: the tables.
        plan: says which columns are needed.
        rows: with the keys and the other needed columns of the spine; further columns are left out.
        latest: stands for the moment of every row, which then need not have one.
        keep: further columns that are kept as they are.

    Raises:
        DataError: see `rows`.
    """
    wanted = [name for name in needed(plan) if not (latest and name == plan.at)]
    _check_columns("the frame", wanted, rows.column_names)
    read = _conformed(rows.select(wanted), _types(lakehouse, plan), "the frame")
    for name in keep:
        read = read.append_column(rows.schema.field(name), rows.column(name))
    found = InputRows(decisions=Decisions(relation=GIVEN, arrow={GIVEN: read}), said="the frame", identity={})
    return _shaped(lakehouse, plan, found, latest, keep)


def _table(lakehouse: Lakehouse, name: str) -> InputRows:
    snapshot = lakehouse.snapshot(name)
    return InputRows(
        decisions=Decisions(relation=quoted(name), tables={name: snapshot.version}),
        said=name,
        identity={"table": name, "data": snapshot.content},
    )


def _arrived_table(
    lakehouse: Lakehouse,
    plan: FeaturePlan,
    name: str,
    found: InputRows,
    texts: Sequence[str],
    first_moments: FirstMoments | None,
) -> InputRows:
    """The rows of a table without the key or the moment that the spine got, with both, as a file's rows get them."""
    version = found.decisions.tables[name]
    snapshot = lakehouse.snapshot(name, version)
    there = snapshot.schema.names
    _check_columns(name, [each for each in needed(plan) if each not in added(plan, there)], there)
    read = snapshot.to_arrow([each for each in needed(plan) if each in there])
    _check_texts(name, read, texts)
    read = with_arrivals(read, plan, last_write(lakehouse, {name: version}), first_moments)
    return replace(
        found,
        decisions=Decisions(relation=GIVEN, tables={name: version}, arrow={GIVEN: read}),
        identity={**found.identity, **_moments(read, plan)},
    )


def _moments(rows: pa.Table, plan: FeaturePlan) -> dict[str, Json]:
    """The part of an identity that says which moments were added, which may change where the rows do not."""
    return (
        {"moments": digest([str(each) for each in rows.column(plan.at).to_pylist()])}
        if plan.at in rows.column_names
        else {}
    )


def _file(
    lakehouse: Lakehouse,
    plan: FeaturePlan,
    path: Path,
    latest: datetime | None,
    like: Sequence[Source],
    texts: Sequence[str],
    first_moments: FirstMoments | None,
) -> InputRows:
    if not path.is_file():
        tables = [name.name for name in lakehouse.names()]
        raise NotFoundError(
            "table or file", str(path), tables, hint=f"Write schema.table, or the path of a file: {files.POSSIBLE}."
        )
    wanted = [name for name in needed(plan) if not (latest and name == plan.at)]
    types = _types(lakehouse, plan)
    dialect, from_ = _dialect(like)
    read, guesses = _read(path, {name: types[name] for name in wanted}, dialect)
    made = added(plan, read.column_names)
    _check_columns(str(path), [name for name in wanted if name not in made], read.column_names)
    read = read.select([name for name in wanted if name in read.column_names])
    _check_texts(path.name, read, texts)
    moments: dict[str, Json] = {}
    if made:
        written = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
        read = with_arrivals(read, plan, written, first_moments).select(wanted)
        moments = _moments(read, plan)
    read_as: dict[str, Json] = {**asdict(dialect), "nulls": list(dialect.nulls)}  # all of it decides values
    return InputRows(
        decisions=Decisions(relation=GIVEN, arrow={GIVEN: _conformed(read.select(wanted), types, str(path))}),
        said=path.name,
        identity={"file": files.content_digest(path), "dialect": read_as, **moments},
        notes=(
            *([from_] if from_ and files.format_of(path) == "csv" else []),
            *(guess.message + "." for guess in guesses),
        ),
    )


def _dialect(like: Sequence[Source]) -> tuple[Dialect, str]:
    """How files like those of the spine's sources are written, and which sources that was taken from."""
    found = {source.dialect for source in like}
    names = " and ".join(source.name for source in like)
    if len({dialect.nulls for dialect in found}) > 1:
        return Dialect(), f"null texts are {_listed(Dialect().nulls)}: the sources {names} differ in theirs."
    if len(found) == 1:
        (dialect,) = found
    else:
        dialect = Dialect(nulls=next((each.nulls for each in found), NULLS))
    changed = dialect.nulls != NULLS
    return dialect, f"null texts are {_listed(dialect.nulls)}, as in {names}." if changed else ""


def _listed(nulls: Sequence[str]) -> str:
    return ", ".join(map(repr, nulls)) or "none"


def _read(path: Path, types: Mapping[str, pa.DataType], like: Dialect) -> tuple[pa.Table, tuple[Guess, ...]]:
    """The rows, in the types that are wanted where a text has to be read; the engine reads more forms of times."""
    reading = files.Reading(
        types={name: kind for name, kind in types.items() if _written(kind)},
        dialect=Dialect(nulls=like.nulls),
        like=like,
    )
    with files.read(path, reading) as content:
        return content.batches.read_all(), content.guesses


def _written(kind: pa.DataType) -> bool:
    """Whether CSV and JSON have a text for values of a type, times apart."""
    simple = (pa.types.is_string, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_date)
    return pa.types.is_decimal(kind) or any(test(kind) for test in simple)


def _types(lakehouse: Lakehouse, plan: FeaturePlan) -> dict[str, pa.DataType]:
    schema = lakehouse.snapshot(plan.spine).schema
    return {name: schema.field(name).type for name in needed(plan)}


def _conformed(found: pa.Table, types: Mapping[str, pa.DataType], what: str) -> pa.Table:
    """No value changed by a cast; times in text are left for the engine to read, which takes more forms."""
    texts = [
        each.name for each in found.schema if pa.types.is_string(each.type) and pa.types.is_timestamp(types[each.name])
    ]
    return conform(found, {name: kind for name, kind in types.items() if name not in texts}, what=what)


def _check_types(lakehouse: Lakehouse, plan: FeaturePlan, name: str) -> None:
    """A table's columns as they are: what a cast would do to a value is for a query to say."""
    schema = lakehouse.snapshot(name).schema
    for wanted, kind in _types(lakehouse, plan).items():
        if wanted in schema.names and schema.field(wanted).type != kind:
            raise DataError(
                f"{name}: column {wanted!r} is {schema.field(wanted).type}; in {plan.spine} it is {kind}.",
                hint=f'Say how: --query "select cast({wanted} as {duckdb_type(kind)}) as {wanted}, … from {name}"',
            )


def _check_columns(what: str, wanted: list[str], there: list[str]) -> None:
    missing = [name for name in wanted if name not in there]
    if missing:
        raise DataError(
            f"{what} lacks {counted(len(missing), 'column')} that scoring needs: {', '.join(map(repr, missing))}.",
            hint=f"It has {', '.join(there)}.",
        )


def _check_texts(what: str, rows: pa.Table, texts: Sequence[str]) -> None:
    """Names each row that lacks a value of these columns by its number, before a model is asked for any of them.

    Raises:
        DataError: there is such a row.
    """
    empty = [
        (place, name)
        for name in texts
        if name in rows.column_names
        for place, absent in enumerate(rows.column(name).is_null().to_pylist(), start=1)
        if absent
    ]
    if empty:
        raise DataError(
            f"{what}: {counted(len({place for place, _ in empty}), 'row')} without a text that the model takes.",
            findings=[f"row {place}: the input {name!r} is missing" for place, name in sorted(empty)],
            hint="Nothing was scored. Write the text into the row, or leave the row out, and score again.",
        )


def _shaped(
    lakehouse: Lakehouse, plan: FeaturePlan, found: InputRows, latest: datetime | None, keep: Sequence[str] = ()
) -> InputRows:
    """The needed columns, cast, and those that are kept; the moment of each row, or `latest` for all; checked once."""
    types = _types(lakehouse, plan)
    given = found.decisions
    with lakehouse.connect(given.tables, arrow=given.arrow) as connection:
        there = connection.sql(f"from {given.relation} limit 0").columns
        _check_columns(found.said, [name for name in types if not (latest and name == plan.at)], there)
        listed = [
            f"cast({_moment(latest)} as {duckdb_type(kind)}) as {column(name)}"
            if latest and name == plan.at
            else f"cast({column(name)} as {duckdb_type(kind)}) as {column(name)}"
            for name, kind in types.items()
        ]
        listed += [column(name) for name in keep]
        shaped = f"(select {', '.join(listed)} from {given.relation})"
        try:
            _check_rows(connection, plan, shaped, found.said)
        except duckdb.Error as error:
            raise DataError(
                f"{found.said}: the rows cannot be read as the spine's: {str(error).strip().splitlines()[0]}",
                hint=", ".join(f"{name} is {duckdb_type(kind)}" for name, kind in types.items()),
            ) from None
    told: dict[str, Json] = {**found.identity, "latest": latest.isoformat() if latest else None}
    return replace(found, decisions=replace(given, relation=shaped), identity=told)


def _check_rows(connection: duckdb.DuckDBPyConnection, plan: FeaturePlan, relation: str, said: str) -> None:
    names = (*plan.keys, plan.at)
    listed = ", ".join(column(name) for name in names)
    counts = ", ".join(f"count(*) - count({column(name)})" for name in needed(plan))  # reads every value once
    (nulls,) = connection.sql(f"select {counts} from {relation}").fetchall()
    for name, missing in zip(needed(plan), nulls, strict=True):
        if missing and name in names:
            raise DataError(
                f"{said}: {counted(missing, 'row')} without {name!r}.",
                hint="Each row needs its key and the moment of its decision; --latest takes the present for all.",
            )
    twice = connection.sql(f"select {listed}, count(*) as times from {relation} group by all having count(*) > 1")
    if found := twice.limit(SHOWN).to_arrow_table().select(names).to_pylist():
        raise DataError(
            f"{said}: decisions that come more than once.",
            findings=[", ".join(f"{name} {value}" for name, value in each.items()) for each in found],
            hint="A decision is a key and a moment; give each once.",
        )


def _moment(latest: datetime | None) -> str:
    assert latest is not None
    return f"timestamptz '{latest.isoformat()}'"
