"""Raw data into bronze tables: each declared file once, or the rows of a user's function.

The table itself records what has been loaded: every row has `_file` and `_digest`, the name and the SHA-256 of its
file. So a load is exactly-once by construction: it can be killed, repeated or run in parallel, and a table that was
restored to an earlier version gets the later files again.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core.errors import RefusedError
from headrace.core.ids import new_id
from headrace.lakehouse.declarations import Source
from headrace.lakehouse.file_load import FileLoad
from headrace.lakehouse.function_load import FunctionLoad
from headrace.lakehouse.parsed_file import OWN

if TYPE_CHECKING:
    from headrace.lakehouse.lakehouse import Lakehouse


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a load did.

    Attributes:
        table: the bronze table.
        version: its version after the load.
        files_new: how many files were not there before, or had changed.
        files_known: how many files the table already held.
        rows: how many rows came.
        notes: what was guessed, reported once for each table. Defaults to nothing.
        widened: the columns whose type became a wider one, in words. Defaults to none.
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

    Returns:
        What the load did.

    Raises:
        ConfigError: no file matches.
        DataError: a file cannot be read, or its columns do not fit together or the table. Nothing was written.
        UserCodeError: the `read` function raised, or yielded something other than Arrow batches.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-load-") as scratch:
        work = (
            FunctionLoad(lakehouse, source, Path(scratch))
            if source.read
            else FileLoad(lakehouse, source, folder, Path(scratch))
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
    """Loads one file by hand, as a source that declares only this file would.

    The column `_file` holds its whole path, so that a file of the same name in another folder does not replace its rows.

    Args:
        lakehouse: where to write.
        name: the bronze table.
        path: the file.

    Returns:
        What the load did.

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
    properties = {
        "headrace.kind": "source",
        "headrace.description": source.description,
        "headrace.owner": source.owner,
    }
    return {key: value for key, value in properties.items() if value}
