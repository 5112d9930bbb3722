"""Raw data into bronze tables: each declared file once, or what a function of the user yields.

What has been loaded is told from the table itself: every row carries `_file` and `_digest`, the name and the SHA-256 of
the file it came from. So a load is exactly-once by construction: it can be killed, repeated or raced, and a table that
was restored to an earlier version gets again what came later.
"""

# pyarrow.compute makes its functions when it is imported
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import difflib
import glob
import inspect
import itertools
import json
import tempfile
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pyarrow as pa
import pyarrow.ipc

from headrace.core.errors import ConfigError, DataError, RefusedError, UserCodeError
from headrace.core.ids import new_id
from headrace.lakehouse import files
from headrace.lakehouse.columns import arrow_types, common, conform, settled, stored, type_name, widens
from headrace.lakehouse.columns import cast as cast_column
from headrace.lakehouse.commit import Append, Overwrite
from headrace.lakehouse.declarations import Source
from headrace.lakehouse.difference import same_rows
from headrace.lakehouse.reading import EMPTY, check_names
from headrace.lakehouse.rows import WHOLE, fit_column
from headrace.lakehouse.sql import column, quoted
from headrace.lakehouse.widening import beside_table, changed_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.lakehouse.commit import Change, Snapshot
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.reading import Guess

FILE = "_file"
DIGEST = "_digest"
OWN = (FILE, DIGEST)
TOLD = "headrace.guesses"  # the property in which a table keeps the guesses about its files that were told
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a load did.

    Attributes:
        table: the bronze table.
        version: its version after the load.
        files_new: files that were not there before, or that had changed.
        files_known: files that the table already held.
        rows: rows that came.
        notes: what was guessed, told once for each table.
        widened: columns whose type became a wider one, in words.
    """

    table: str
    version: int
    files_new: int
    files_known: int
    rows: int
    notes: tuple[str, ...] = ()
    widened: tuple[str, ...] = ()


def load(lakehouse: Lakehouse, source: Source, folder: Path) -> Loaded:
    """Brings a bronze table up to date with its source.

    A new file is appended; a changed one replaces the rows that its earlier content gave; a file that was moved is known
    by its content; the rows of a file that has gone stay, for bronze is the history. All new files make one version.
    A column whose values do not fit the table's type takes the wider type that holds both, where there is one.
    A `read` function's table is replaced when what it yields differs from what is there, in whatever order.

    Args:
        lakehouse: where to write, always this environment's own table.
        source: the declaration.
        folder: the project folder, to which relative patterns refer.

    Raises:
        ConfigError: no file matches.
        DataError: a file cannot be read, or its columns do not fit together or the table. Nothing was written.
        UserCodeError: the `read` function raised, or yielded something other than Arrow batches.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-load-") as scratch:
        work = (
            _Yielded(lakehouse, source, Path(scratch))
            if source.read
            else _Files(lakehouse, source, folder, Path(scratch))
        )
        # what is there decides what is written, so the id need not tell this load from an earlier one
        commit = lakehouse.commit(source.name, new_id(), work.change, properties=_properties(source))
        return Loaded(
            table=source.name,
            version=commit.version,
            files_new=work.new,
            files_known=work.known,
            rows=work.rows,
            notes=work.notes,
            widened=commit.widened,
        )


def load_file(lakehouse: Lakehouse, name: str, path: Path) -> Loaded:
    """Loads one file by hand, as a source that declares only this file would; `_file` is its whole path.

    So another file of the same name in another folder does not take the place of this one.

    Raises:
        DeclarationError: not a table name.
        ConfigError: there is no such file.
        RefusedError: the table is one that Headrace makes from others.
        DataError: it cannot be read, or does not fit the table.
    """
    whole = path.resolve()
    if lakehouse.exists(name, own=True) and not set(OWN) <= set(lakehouse.snapshot(name).schema.names):
        raise RefusedError(
            f"the table {name!r} was not loaded from files; {path.name!r} is not mixed into it.",
            hint="Choose another table with --into.",
        )
    return load(lakehouse, Source(name, files=str(whole)), Path(whole.anchor))


def _properties(source: Source) -> dict[str, str]:
    said = {
        "headrace.kind": "source",
        "headrace.description": source.description,
        "headrace.owner": source.owner,
    }
    return {key: value for key, value in said.items() if value}


# ---------------------------------------------------------------------------------------------- files


@dataclass(frozen=True, kw_only=True)
class _Spool:
    """A parsed file, waiting as Arrow on disk until all of them are known to fit together."""

    name: str
    digest: str
    path: Path
    schema: pa.Schema
    rows: int
    guesses: tuple[Guess, ...]

    @property
    def spelled(self) -> dict[str, Guess]:
        """Columns that were kept as text though their values look like numbers."""
        return {guess.column: guess for guess in self.guesses if guess.column}

    def batches(self) -> Iterator[pa.RecordBatch]:
        with pa.memory_map(str(self.path)) as mapped:
            reader = pyarrow.ipc.open_file(mapped)
            for index in range(reader.num_record_batches):
                yield reader.get_batch(index)


class _Files:
    """A load of declared files; `change` may be asked several times, each time for another state of the table."""

    def __init__(self, lakehouse: Lakehouse, source: Source, folder: Path, scratch: Path) -> None:
        self.lakehouse, self.source, self.scratch = lakehouse, source, scratch
        self.declared = arrow_types(source.schema)
        self.found = _find(source, folder)
        self.digests = {name: files.content_digest(path)[:32] for name, path in self.found.items()}
        self.spools: dict[tuple[str, frozenset[str]], _Spool] = {}
        self.notes: tuple[str, ...] = ()
        self.new = self.known = self.rows = 0

    def change(self, current: Snapshot | None) -> Change | None:
        held = self._held(current)
        fresh = self._fresh(held)
        self.known = len(self.found) - len(fresh)
        types = {} if current is None else self._types(current, reading=bool(fresh))
        spools = self._spools(fresh, types)
        self.new = sum(spool.rows > 0 for spool in spools)
        self.rows = sum(spool.rows for spool in spools)
        replaced = sorted(set(fresh) & {name for name, _ in held})
        self._check_empty(spools, replaced, alone=current is None)
        asked = any(name in types and widens(types[name], each) for name, each in self.declared.items())
        if current is not None and not replaced and not self.rows and not asked:
            return None
        told = self._tell(current, spools)
        types = _unify(self.source, spools, types, self.declared)
        if current is not None and replaced:
            return Overwrite(
                _reader(self.source.name, spools, types, first=self._kept(current, replaced, types)), properties=told
            )
        return Append(_reader(self.source.name, spools, types), properties=told)

    def _held(self, current: Snapshot | None) -> set[tuple[str, str]]:
        """Name and digest of the files whose rows the table has."""
        if current is None:
            return set()
        if not set(OWN) <= set(current.schema.names):
            raise DataError(
                f"{self.source.where}: the table {self.source.name!r} was not loaded from files, so what it has is not known.",
                hint="Give the source another name.",
            )
        with self.lakehouse.connect({self.source.name: current.version}) as connection:
            return set(
                connection.execute(f"SELECT DISTINCT {FILE}, {DIGEST} FROM {quoted(self.source.name)}").fetchall()
            )

    def _fresh(self, held: set[tuple[str, str]]) -> list[str]:
        """Files to load: not there under their name, and not the content of a file that was moved."""
        moved = {each for name, each in held if name not in self.found}
        return [name for name, each in self.digests.items() if (name, each) not in held and each not in moved]

    def _types(self, current: Snapshot, *, reading: bool) -> dict[str, pa.DataType]:
        """The columns of the table, as null those of which no value has told the type yet.

        Columns of nothing but nulls are kept as text, which says nothing about the values that come later.
        """
        types = _fields(current.schema)
        blank = current.without_values(
            [
                name
                for name, each in types.items()
                if (to := self.declared.get(name)) != each
                and ((reading and pa.types.is_string(each)) if to is None else not widens(each, to))
            ]
        )
        return {name: pa.null() if name in blank else each for name, each in types.items()}

    def _spools(self, names: Sequence[str], types: Mapping[str, pa.DataType]) -> list[_Spool]:
        """The files, parsed; a column whose spelling makes it text in one of them is text in all of them."""
        texts = frozenset(name for name, each in types.items() if pa.types.is_string(each))
        spools = [self._spool(name, texts, types) for name in names]
        spelled = {name for spool in spools for name in spool.spelled if name not in types}
        unlike = {
            field.name for spool in spools for field in spool.schema if field.name in spelled and _number(field.type)
        }
        if not unlike:
            return spools
        again = [self._spool(name, texts | unlike, types) for name in names]
        return [replace(spool, guesses=first.guesses) for spool, first in zip(again, spools, strict=True)]

    def _spool(self, name: str, texts: frozenset[str], types: Mapping[str, pa.DataType]) -> _Spool:
        if (name, texts) not in self.spools:
            path = self.scratch / f"{len(self.spools)}.arrow"
            reading = files.Reading(
                types={**dict.fromkeys(texts, pa.string()), **self.declared}, known=types, dialect=self.source.dialect
            )
            with files.read(self.found[name], reading) as content:
                batches = content.batches
                schema, rows = _write(path, batches, batches.schema, self.declared, what=name)
            if taken := sorted(set(OWN) & set(schema.names)):
                raise DataError(
                    f"{name}: Headrace writes the column {taken[0]!r} itself.", hint="Rename it in the file."
                )
            self.spools[name, texts] = _Spool(
                name=name, digest=self.digests[name], path=path, schema=schema, rows=rows, guesses=content.guesses
            )
        return self.spools[name, texts]

    def _check_empty(self, spools: Sequence[_Spool], replaced: Sequence[str], *, alone: bool) -> None:
        """A file without even the names of its columns is left out, but says nothing about rows that were there.

        Raises:
            DataError: it would take the place of a file that had rows, or is all that there is.
        """
        empty = [spool.name for spool in spools if not spool.schema.names]
        if gone := [name for name in empty if name in replaced]:
            raise DataError(
                f"{gone[0]}: the file is empty; its rows were loaded before. Nothing was written.",
                hint="If it has none any more, leave the line with the names of its columns in it.",
            )
        if empty and alone and len(empty) == len(spools):
            raise DataError(
                f"{self.found[empty[0]]}: the file is empty; a CSV file begins with the names of its columns."
            )

    def _tell(self, current: Snapshot | None, spools: Sequence[_Spool]) -> dict[str, str]:
        """Notes what was guessed for the first time; gives the property in which the table keeps what its readers were told."""
        told: list[str] = json.loads(current.properties.get(TOLD, "[]")) if current else []
        fresh = {guess.about: guess for spool in spools for guess in spool.guesses if guess.about not in told}
        self.notes = tuple(f"{self.source.name}: {guess}" for guess in fresh.values())
        kept = [about for about in fresh if about != EMPTY]
        return {TOLD: json.dumps([*told, *kept])} if kept else {}

    def _kept(
        self, current: Snapshot, replaced: Sequence[str], types: Mapping[str, pa.DataType]
    ) -> Iterator[pa.RecordBatch]:
        names = [name for name in (*types, *OWN) if name in current.schema.names]
        listed = ", ".join(column(name) for name in names)
        with self.lakehouse.connect({self.source.name: current.version}) as connection:
            where = f"WHERE {FILE} NOT IN ({', '.join('?' * len(replaced))})"
            rows = connection.sql(f"SELECT {listed} FROM {quoted(self.source.name)} {where}", params=list(replaced))
            yield from rows.to_arrow_reader(65_536)


def _find(source: Source, folder: Path) -> dict[str, Path]:
    """The files that the patterns match, by the name that their rows carry, in the order of these names."""
    found: dict[str, Path] = {}
    for pattern in source.patterns:
        literal = folder / pattern  # a name may have brackets in it
        matches = [pattern] if literal.is_file() else glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207 - takes absolute patterns
        paths = [folder / each for each in matches if (folder / each).is_file()]
        if not paths:
            raise ConfigError(
                f"{source.where}: no file matches {pattern!r} of source {source.name!r}.",
                hint=f"Looked in {folder}.",
            )
        for path in paths:
            inside = path.is_relative_to(folder)
            name = path.relative_to(folder).as_posix() if inside else path.name
            if not _is_text(name):
                raise ConfigError(
                    f"{source.where}: source {source.name!r} finds a file whose name is not UTF-8: {name!r}.",
                    hint="Rename it: each row carries the name of its file.",
                )
            if found.setdefault(name, path) != path:
                raise ConfigError(
                    f"{source.where}: source {source.name!r} finds two files called {name!r}.",
                    findings=[str(found[name]), str(path)],
                    hint="Rename one, or keep both below the project folder.",
                )
    return dict(sorted(found.items()))


def _is_text(name: str) -> bool:
    """Whether a name is characters, and not bytes that stand for none."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _write(
    path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema, types: Mapping[str, pa.DataType], *, what: str
) -> tuple[pa.Schema, int]:
    """Spools batches as Arrow, each column as declared or else as Delta keeps it.

    Raises:
        DataError: Arrow cannot keep them: lists or structs stand too deep in each other, say.
    """
    rows = 0
    try:
        kept = conform(schema.empty_table(), types, what=what).schema
        with pyarrow.ipc.new_file(str(path), kept) as sink:
            for batch in batches:
                sink.write_table(conform(pa.Table.from_batches([batch]), types, what=what))
                rows += batch.num_rows
    except (pa.ArrowInvalid, RecursionError) as error:
        raise DataError(f"{what}: the rows cannot be kept: {str(error).splitlines()[0]}.") from None
    return kept, rows


def _fields(schema: pa.Schema) -> dict[str, pa.DataType]:
    """The columns of a bronze table that come from its files."""
    return {field.name: stored(field.type) or field.type for field in schema if field.name not in OWN}


def _unify(
    source: Source, spools: Sequence[_Spool], types: Mapping[str, pa.DataType], declared: Mapping[str, pa.DataType]
) -> dict[str, pa.DataType]:
    """One type a column: as declared, else the table's own if it holds all values, else what holds those of all files."""
    _check_declared(source, spools, types, declared)
    unified = {**types, **{name: each for name, each in declared.items() if name in types}}
    origin = dict.fromkeys(types, "the table")
    for spool in spools:
        for field in spool.schema:
            before = unified.get(field.name, pa.null())
            if field.name in types and not pa.types.is_null(before) and _fits(spool, field, before):
                continue
            both = common(before, field.type)
            if both is None:
                raise _refusal(source, spools, spool, field, before, origin[field.name])
            unified[field.name] = both
            if both != before:
                origin[field.name] = spool.name
    unknown = [name for name, each in unified.items() if pa.types.is_null(each) and name not in types]
    if unknown and not any(spool.rows for spool in spools):
        raise DataError(
            f"{source.where}: no file of source {source.name!r} has a row yet, so the types of its columns are not known.",
            hint=f"Declare them: schema=hr.Schema({', '.join(f'{name}=…' for name in unknown)}).",
        )
    unified = {name: settled(each) for name, each in unified.items()}
    for spool in spools:
        _check_fit(source, spools, spool, unified, origin)
    return unified


def _check_declared(
    source: Source, spools: Sequence[_Spool], types: Mapping[str, pa.DataType], declared: Mapping[str, pa.DataType]
) -> None:
    known = {*types, *(name for spool in spools for name in spool.schema.names)}
    for name, each in declared.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise DataError(
                f"{source.where}: source {source.name!r} declares a column {name!r} that no file has"
                f"{f': did you mean {near[0]!r}?' if near else '.'}"
            )
        if name in types and types[name] != each and not widens(types[name], each):
            raise changed_type(str(source.where), source.name, name, types[name], each)


def _refusal(
    source: Source, spools: Sequence[_Spool], spool: _Spool, field: pa.Field, was: pa.DataType, where: str
) -> DataError:
    """The refusal of a file's column that does not fit: by its spelling where that made one of the two text."""
    if (guess := spool.spelled.get(field.name)) is not None and _spelled(was):
        return _misspelled(source, spool.name, guess, was, where)
    before = next((each for each in spools if each.name == where), None)
    if before is not None and (guess := before.spelled.get(field.name)) is not None and _spelled(field.type):
        return _misspelled(source, before.name, guess, field.type, spool.name)
    return _conflict(source, spool.name, field, was, where)


def _conflict(source: Source, file: str, field: pa.Field, was: pa.DataType, where: str) -> DataError:
    example = field.name if field.name.isidentifier() else "column"
    what = f"{file}: column {field.name!r} is {type_name(field.type)}, in {where} it is {type_name(was)}."
    if _numeric(field.type, was):
        return DataError(
            f"{what} Not every value is held by one type of number. Nothing was loaded.",
            hint=f"{WHOLE} Such a number is an identifier: "
            f'declare it as text, schema=hr.Schema({example}="string").{_anew(source, where)}',
        )
    return DataError(
        f"{what} Nothing was loaded.",
        hint=f'If both are text, declare it in source {source.name!r}: schema=hr.Schema({example}="string"). '
        f"If a text stands for null, add it to nulls=.{_anew(source, where)}",
    )


def _anew(source: Source, where: str) -> str:
    """What else it takes where the table has the other type."""
    if where != "the table":
        return ""
    return (
        " A table takes another type only when it is made anew, in dev: "
        f"headrace table drop {source.name} && headrace run refresh"
    )


def _misspelled(source: Source, file: str, guess: Guess, was: pa.DataType, where: str) -> DataError:
    """The refusal of texts that look like numbers or times in a column of such."""
    name = guess.column if guess.column.isidentifier() else "column"
    return DataError(
        f"{file}: column {guess.says}; in {where} it is {type_name(was)}. Nothing was loaded.",
        hint=f"If they are {'times' if pa.types.is_timestamp(was) else 'numbers'} whatever their spelling, declare it in source {source.name!r}: "
        f"schema=hr.Schema({name}={type_name(was)!r}). If they are text, give the source a new name, "
        f'with schema=hr.Schema({name}="string").',
    )


def _check_fit(
    source: Source, spools: Sequence[_Spool], spool: _Spool, types: Mapping[str, pa.DataType], origin: Mapping[str, str]
) -> None:
    """Casts what has to be cast once, before anything is written."""
    for field in spool.schema:
        to = types[field.name]
        if field.type.equals(to) or settled(field.type).equals(to):
            continue
        if not _fits(spool, field, to):
            raise _refusal(source, spools, spool, field, to, origin[field.name])


def _fits(spool: _Spool, field: pa.Field, to: pa.DataType) -> bool:
    """Whether each value of a file's column is in another type what it is in its own."""
    if field.type.equals(to):
        return True
    if common(field.type, to) is None and not _numeric(field.type, to):
        return False
    try:
        for batch in spool.batches():
            cast_column(batch.column(field.name), to)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _spelled(found: pa.DataType) -> bool:
    """Whether a declaration of the type reads texts whatever their spelling."""
    return _number(found) or pa.types.is_timestamp(found)


def _number(found: pa.DataType) -> bool:
    return _numeric(found) or pa.types.is_decimal(found)


def _numeric(*types: pa.DataType) -> bool:
    return all(pa.types.is_integer(each) or pa.types.is_floating(each) for each in types)


def _reader(
    name: str, spools: Sequence[_Spool], types: Mapping[str, pa.DataType], *, first: Iterable[pa.RecordBatch] = ()
) -> pa.RecordBatchReader:
    """The rows of all files as one stream in the unified types, after those of `first`."""
    schema = pa.schema([*types.items(), (FILE, pa.string()), (DIGEST, pa.string())])

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in first:
            yield _shaped(name, batch, schema, {})
        for spool in spools:
            for batch in spool.batches():
                yield _shaped(spool.name, batch, schema, {FILE: spool.name, DIGEST: spool.digest})

    return pa.RecordBatchReader.from_batches(schema, batches())


def _shaped(name: str, batch: pa.RecordBatch, schema: pa.Schema, constants: Mapping[str, str]) -> pa.RecordBatch:
    arrays: list[pa.Array] = []
    for field in schema:
        if field.name in constants:
            arrays.append(pa.repeat(pa.scalar(constants[field.name], pa.string()), batch.num_rows))
        elif field.name in batch.schema.names:
            arrays.append(
                cast("pa.Array", fit_column(name, batch.column(field.name), field, hint="Declare it as text."))
            )
        else:
            arrays.append(pa.nulls(batch.num_rows, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


# ---------------------------------------------------------------------------------------------- a user's function


class _Yielded:
    """A load of what a user's function yields."""

    def __init__(self, lakehouse: Lakehouse, source: Source, scratch: Path) -> None:
        self.lakehouse, self.source = lakehouse, source
        self.types = arrow_types(source.schema)
        self.table = self._spool(scratch / "yielded.arrow")
        self.notes: tuple[str, ...] = ()
        self.new = self.known = self.rows = 0

    def change(self, current: Snapshot | None) -> Change | None:
        self.rows, made = 0, self.table
        if current is not None:
            where = str(self.source.where)
            made = beside_table(made, current, where=where, table=self.source.name, declared=self.types)
            if same_rows(self.lakehouse, current, made):
                return None
        self.rows = made.num_rows
        return Overwrite(made)

    def _spool(self, path: Path) -> pa.Table:
        batches = _batches(self.source)
        first = next(batches, None)
        if first is None and not self.types:
            raise UserCodeError(
                f"{self.source.where}: the read function of {self.source.name!r} yielded nothing, so its columns are not known.",
                hint="Declare them with schema=hr.Schema(…), or yield one empty record batch.",
            )
        schema = pa.schema(list(self.types.items())) if first is None else first.schema
        check_names(f"{self.source.where}: {self.source.name}", schema.names)
        if taken := sorted(set(OWN) & set(schema.names)):
            raise UserCodeError(
                f"{self.source.where}: the read function of {self.source.name!r} gives the column {taken[0]!r}, by which "
                "Headrace knows the files of a table.",
                hint="Name it otherwise.",
            )
        empty = {field.name: pa.string() for field in schema if pa.types.is_null(field.type)}
        rest = batches if first is None else itertools.chain([first], batches)
        _write(path, rest, schema, {**empty, **self.types}, what=f"{self.source.where}: {self.source.name}")
        return pyarrow.ipc.open_file(pa.memory_map(str(path))).read_all()


def _batches(source: Source) -> Iterator[pa.RecordBatch]:
    """What the function yields, one record batch at a time, all with the columns of the first.

    Raises:
        UserCodeError: it raised, or yielded something else.
    """
    read = cast("Callable[[], object]", source.read)
    yielded = _run(source, read)
    if isinstance(yielded, pa.Table | pa.RecordBatch):
        yielded = [yielded]
    if not isinstance(yielded, Iterable) or hasattr(yielded, "__dataframe__"):
        raise _misshapen(source, f"returned {type(yielded).__name__}, not Arrow record batches")
    parts = _run(source, lambda: iter(yielded))
    schema: pa.Schema | None = None
    while (part := cast("Any", _run(source, lambda: next(parts, END)))) is not END:
        for batch in part.to_batches() if isinstance(part, pa.Table) else [part]:
            if not isinstance(batch, pa.RecordBatch):
                raise _misshapen(source, f"yielded {type(batch).__name__}, not Arrow record batches")
            if schema is not None and not batch.schema.equals(schema):
                raise _misshapen(source, f"yielded columns ({_listed(batch.schema)}) after ({_listed(schema)})")
            schema = batch.schema
            yield batch


END = object()


def _run(source: Source, step: Callable[[], T]) -> T:
    """One step of the user's code."""
    try:
        return step()
    except Exception as error:
        read = cast("Callable[[], object]", source.read)
        raise UserCodeError(
            f"{raised_at(error, read)}: the read function of {source.name!r} raised {type(error).__name__}: {error}",
            hint="Nothing was written.",
        ) from error


def _misshapen(source: Source, what: str) -> UserCodeError:
    return UserCodeError(
        f"{_defined(cast('Callable[[], object]', source.read))}: the read function of {source.name!r} {what}.",
        hint="Yield pyarrow.RecordBatch, all with the same columns; for pandas: pa.RecordBatch.from_pandas(frame).",
    )


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {type_name(field.type)}" for field in schema)


def _defined(function: Callable[..., object]) -> str:
    code = inspect.unwrap(function).__code__ if inspect.isfunction(inspect.unwrap(function)) else None
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


def raised_at(error: Exception, function: Callable[..., object]) -> str:
    """`file:line` of the innermost frame of the user's own file, or where the function is defined."""
    inner = inspect.unwrap(function)
    own = inner.__code__.co_filename if inspect.isfunction(inner) else None
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == own]
    return f"{own}:{lines[-1]}" if lines else _defined(function)
