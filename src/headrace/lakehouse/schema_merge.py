"""One type for each column of a source, from its files, its table and its declaration together."""

# pyarrow.compute makes its functions when it is imported
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.core.errors import DataError
from headrace.lakehouse.columns import cast as cast_column
from headrace.lakehouse.columns import common, settled, type_name, widens
from headrace.lakehouse.rows import WHOLE
from headrace.lakehouse.widening import changed_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.lakehouse.declarations import Source
    from headrace.lakehouse.parsed_file import ParsedFile
    from headrace.lakehouse.reading import Guess


def merge_schemas(
    source: Source, parsed: Sequence[ParsedFile], types: Mapping[str, pa.DataType], declared: Mapping[str, pa.DataType]
) -> dict[str, pa.DataType]:
    """Finds one type for each column: the declared one, else the table's own if it holds all values, else one that does.

    Args:
        source: the declaration, for messages.
        parsed: the files.
        types: the columns of the table, null those of which no value has shown the type yet; empty without a table.
        declared: the declared types by column.

    Returns:
        The type of each column.

    Raises:
        DataError: a declared column is in no file, two types do not fit together, a value does not fit, or no row shows
            the type of a column yet.
    """
    _check_declared(source, parsed, types, declared)
    unified = {**types, **{name: declared[name] for name in declared if name in types}}
    origin = dict.fromkeys(types, "the table")
    for file in parsed:
        for field in file.schema:
            before = unified.get(field.name, pa.null())
            if field.name in types and not pa.types.is_null(before) and _fits(file, field, before):
                continue
            both = common(before, field.type)
            if both is None:
                raise _refusal(source, parsed, file, field, before, origin[field.name])
            unified[field.name] = both
            if both != before:
                origin[field.name] = file.name
    unknown = [name for name, kind in unified.items() if pa.types.is_null(kind) and name not in types]
    if unknown and not any(file.rows for file in parsed):
        raise DataError(
            f"{source.where}: no file of source {source.name!r} has a row yet, so the types of its columns are not known.",
            hint=f"Declare them: schema=hr.Schema({', '.join(f'{name}=…' for name in unknown)}).",
        )
    unified = {name: settled(kind) for name, kind in unified.items()}
    for file in parsed:
        _check_fit(source, parsed, file, unified, origin)
    return unified


def _check_declared(
    source: Source, parsed: Sequence[ParsedFile], types: Mapping[str, pa.DataType], declared: Mapping[str, pa.DataType]
) -> None:
    known = {*types, *(name for file in parsed for name in file.schema.names)}
    for name, to in declared.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise DataError(
                f"{source.where}: source {source.name!r} declares a column {name!r} that no file has"
                f"{f': did you mean {near[0]!r}?' if near else '.'}"
            )
        if name in types and types[name] != to and not widens(types[name], to):
            raise changed_type(str(source.where), source.name, name, types[name], to)


def _refusal(
    source: Source, parsed: Sequence[ParsedFile], file: ParsedFile, field: pa.Field, was: pa.DataType, where: str
) -> DataError:
    """The refusal of a file's column that does not fit: by its spelling where that made one of the two text."""
    if (guess := file.spelled.get(field.name)) is not None and _reads_spelling(was):
        return _misspelled(source, file.name, guess, was, where)
    before = next((other for other in parsed if other.name == where), None)
    if before is not None and (guess := before.spelled.get(field.name)) is not None and _reads_spelling(field.type):
        return _misspelled(source, before.name, guess, field.type, file.name)
    return _conflict(source, file.name, field, was, where)


def _conflict(source: Source, name: str, field: pa.Field, was: pa.DataType, where: str) -> DataError:
    example = field.name if field.name.isidentifier() else "column"
    what = f"{name}: column {field.name!r} is {type_name(field.type)}, in {where} it is {type_name(was)}."
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


def _misspelled(source: Source, file_name: str, guess: Guess, was: pa.DataType, where: str) -> DataError:
    """The refusal of texts that look like numbers or times in a column of such."""
    name = guess.column if guess.column.isidentifier() else "column"
    return DataError(
        f"{file_name}: column {guess.message}; in {where} it is {type_name(was)}. Nothing was loaded.",
        hint=f"If they are {'times' if pa.types.is_timestamp(was) else 'numbers'} whatever their spelling, declare it in source {source.name!r}: "
        f"schema=hr.Schema({name}={type_name(was)!r}). If they are text, give the source a new name, "
        f'with schema=hr.Schema({name}="string").',
    )


def _check_fit(
    source: Source,
    parsed: Sequence[ParsedFile],
    file: ParsedFile,
    types: Mapping[str, pa.DataType],
    origin: Mapping[str, str],
) -> None:
    """Casts what has to be cast once, before anything is written."""
    for field in file.schema:
        to = types[field.name]
        if field.type.equals(to) or settled(field.type).equals(to):
            continue
        if not _fits(file, field, to):
            raise _refusal(source, parsed, file, field, to, origin[field.name])


def _fits(file: ParsedFile, field: pa.Field, to: pa.DataType) -> bool:
    """Whether each value of a file's column is in another type what it is in its own."""
    if field.type.equals(to):
        return True
    if common(field.type, to) is None and not _numeric(field.type, to):
        return False
    try:
        for batch in file.batches():
            cast_column(batch.column(field.name), to)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _reads_spelling(kind: pa.DataType) -> bool:
    """Whether a declaration of the type reads texts whatever their spelling."""
    return is_number(kind) or pa.types.is_timestamp(kind)


def is_number(kind: pa.DataType) -> bool:
    """Whether a type is one of numbers: integers, floats or decimals."""
    return _numeric(kind) or pa.types.is_decimal(kind)


def _numeric(*types: pa.DataType) -> bool:
    return all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in types)
