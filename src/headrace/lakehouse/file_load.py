"""A load of declared files: which files are new or changed, their rows in one schema, and the resulting change."""

# pyarrow.compute makes its functions when it is imported
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.core.errors import DataError
from headrace.lakehouse.columns import arrow_types, stored, widens
from headrace.lakehouse.file_patterns import find_files
from headrace.lakehouse.files import Reading, content_digest, read
from headrace.lakehouse.identifiers import column, quoted
from headrace.lakehouse.parsed_file import DIGEST, FILE, OWN, ParsedFile, row_stream, write_arrow
from headrace.lakehouse.reading import EMPTY
from headrace.lakehouse.schema_merge import is_number, merge_schemas
from headrace.lakehouse.writes import Append, Overwrite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from headrace.lakehouse.declarations import Source
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.writes import Change

REPORTED = "headrace.guesses"  # the property in which a table keeps which guesses about its files were reported


class FileLoad:
    """A load of declared files; `change` may be called several times, each time for another state of the table.

    Args:
        lakehouse: where the table is.
        source: the declaration.
        folder: the project folder, to which relative patterns refer.
        scratch: a folder for parsed files.

    Attributes:
        new: how many files had rows and were not in the table, or had changed.
        known: how many files the table already held.
        rows: how many rows came.
        notes: what was guessed and not reported before.

    Raises:
        ConfigError: no file matches.
    """

    def __init__(self, lakehouse: Lakehouse, source: Source, folder: Path, scratch: Path) -> None:
        self.lakehouse, self.source, self.scratch = lakehouse, source, scratch
        self.declared = arrow_types(source.schema)
        self.files = find_files(source, folder)
        self.digests = {name: content_digest(path)[:32] for name, path in self.files.items()}
        self.parsed: dict[tuple[str, frozenset[str]], ParsedFile] = {}
        self.notes: tuple[str, ...] = ()
        self.new = self.known = self.rows = 0

    def change(self, current: Snapshot | None) -> Change | None:
        """Computes the change that brings the table up to date; None if there is nothing to change.

        Raises:
            DataError: a file cannot be read, or its columns do not fit together or the table.
        """
        held = self._held(current)
        fresh = self._fresh(held)
        self.known = len(self.files) - len(fresh)
        types = {} if current is None else self._types(current, reading=bool(fresh))
        parsed = self._parse_all(fresh, types)
        self.new = sum(file.rows > 0 for file in parsed)
        self.rows = sum(file.rows for file in parsed)
        replaced = sorted(set(fresh) & {name for name, _ in held})
        self._check_empty(parsed, replaced, alone=current is None)
        widened = any(name in types and widens(types[name], to) for name, to in self.declared.items())
        if current is not None and not replaced and not self.rows and not widened:
            return None
        properties = self._note(current, parsed)
        types = merge_schemas(self.source, parsed, types, self.declared)
        if current is not None and replaced:
            return Overwrite(
                row_stream(self.source.name, parsed, types, first=self._kept(current, replaced, types)),
                properties=properties,
            )
        return Append(row_stream(self.source.name, parsed, types), properties=properties)

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
        moved = {digest for name, digest in held if name not in self.files}
        return [name for name, digest in self.digests.items() if (name, digest) not in held and digest not in moved]

    def _types(self, current: Snapshot, *, reading: bool) -> dict[str, pa.DataType]:
        """The columns of the table, as null those of which no value has shown the type yet.

        Columns of nothing but nulls are kept as text, which says nothing about the values that come later.
        """
        types = _fields(current.schema)
        blank = current.without_values(
            [
                name
                for name, kind in types.items()
                if (to := self.declared.get(name)) != kind
                and ((reading and pa.types.is_string(kind)) if to is None else not widens(kind, to))
            ]
        )
        return {name: pa.null() if name in blank else kind for name, kind in types.items()}

    def _parse_all(self, names: Sequence[str], types: Mapping[str, pa.DataType]) -> list[ParsedFile]:
        """The files, parsed; a column whose spelling makes it text in one of them is text in all of them."""
        texts = frozenset(name for name, kind in types.items() if pa.types.is_string(kind))
        parsed = [self._parse(name, texts, types) for name in names]
        spelled = {name for file in parsed for name in file.spelled if name not in types}
        numbers = {
            field.name for file in parsed for field in file.schema if field.name in spelled and is_number(field.type)
        }
        if not numbers:
            return parsed
        again = [self._parse(name, texts | numbers, types) for name in names]
        return [replace(file, guesses=first.guesses) for file, first in zip(again, parsed, strict=True)]

    def _parse(self, name: str, texts: frozenset[str], types: Mapping[str, pa.DataType]) -> ParsedFile:
        if (name, texts) not in self.parsed:
            path = self.scratch / f"{len(self.parsed)}.arrow"
            reading = Reading(
                types={**dict.fromkeys(texts, pa.string()), **self.declared}, known=types, dialect=self.source.dialect
            )
            with read(self.files[name], reading) as content:
                batches = content.batches
                schema, rows = write_arrow(path, batches, batches.schema, self.declared, what=name)
            if taken := sorted(set(OWN) & set(schema.names)):
                raise DataError(
                    f"{name}: Headrace writes the column {taken[0]!r} itself.", hint="Rename it in the file."
                )
            self.parsed[name, texts] = ParsedFile(
                name=name, digest=self.digests[name], path=path, schema=schema, rows=rows, guesses=content.guesses
            )
        return self.parsed[name, texts]

    def _check_empty(self, parsed: Sequence[ParsedFile], replaced: Sequence[str], *, alone: bool) -> None:
        """A file without even the names of its columns is left out, but says nothing about rows that were there.

        Raises:
            DataError: it would take the place of a file that had rows, or is all that there is.
        """
        empty = [file.name for file in parsed if not file.schema.names]
        if gone := [name for name in empty if name in replaced]:
            raise DataError(
                f"{gone[0]}: the file is empty; its rows were loaded before. Nothing was written.",
                hint="If it has none any more, leave the line with the names of its columns in it.",
            )
        if empty and alone and len(empty) == len(parsed):
            raise DataError(
                f"{self.files[empty[0]]}: the file is empty; a CSV file begins with the names of its columns."
            )

    def _note(self, current: Snapshot | None, parsed: Sequence[ParsedFile]) -> dict[str, str]:
        """Notes the guesses that were not reported before; returns the property in which the table keeps the reported ones."""
        reported: list[str] = json.loads(current.properties.get(REPORTED, "[]")) if current else []
        fresh = {guess.about: guess for file in parsed for guess in file.guesses if guess.about not in reported}
        self.notes = tuple(f"{self.source.name}: {guess}" for guess in fresh.values())
        kept = [about for about in fresh if about != EMPTY]
        return {REPORTED: json.dumps([*reported, *kept])} if kept else {}

    def _kept(
        self, current: Snapshot, replaced: Sequence[str], types: Mapping[str, pa.DataType]
    ) -> Iterator[pa.RecordBatch]:
        names = [name for name in (*types, *OWN) if name in current.schema.names]
        listed = ", ".join(column(name) for name in names)
        with self.lakehouse.connect({self.source.name: current.version}) as connection:
            where = f"WHERE {FILE} NOT IN ({', '.join('?' * len(replaced))})"
            rows = connection.sql(f"SELECT {listed} FROM {quoted(self.source.name)} {where}", params=list(replaced))
            yield from rows.to_arrow_reader(65_536)


def _fields(schema: pa.Schema) -> dict[str, pa.DataType]:
    """The columns of a bronze table that come from its files."""
    return {field.name: stored(field.type) or field.type for field in schema if field.name not in OWN}
