"""Predictions into Parquet or CSV files: one file a model, version and month, replaced as a whole by a rename.

    <folder>/<model>/version=<n>/<month>.parquet

An existing file is read first, and its rows of other decisions are kept. In CSV, features are JSON text.
"""

# pyarrow.compute makes its functions when it is imported
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from headrace.core.errors import DataError
from headrace.core.failpoints import reach
from headrace.core.locks import hold
from headrace.inference.destinations.base import ScoredRows
from headrace.inference.destinations.difference import compare
from headrace.inference.destinations.flat import flat
from headrace.lakehouse.columns import common, type_name
from headrace.lakehouse.rows import fit
from headrace.scoring.columns import AT, ID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from headrace.inference.declarations import Format

LOCK, NEW = ".headrace.lock", ".new"
MOVE = "Move the file away; the same command then writes it anew."


class FilesDestination:
    """See Destination.

    Args:
        folder: made with the first predictions.
        format: of the files.
    """

    def __init__(self, folder: Path, *, format: Format) -> None:  # noqa: A002
        self.name = f"{format} files in {folder}"
        self._folder, self._format = folder, format

    def write(self, predictions: pa.Table, *, id: str) -> ScoredRows:  # noqa: A002
        """See Destination. A reader sees each file before or after, and several files one after the other."""
        del id  # the same predictions come to the same files
        rows = predictions if self._format == "parquet" else flat(predictions)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with hold(self._folder / LOCK, wait=True):
                written = sum(self._replace(file, some) for file, some in self._by_file(rows))
        except OSError as error:
            raise DataError(f"{self.name} cannot be written: {error.strerror or error}.") from error
        return ScoredRows(rows=written)

    def identity(self) -> str | None:
        """See Destination."""
        return "folder" if self._folder.is_dir() else None

    def close(self) -> None:
        """See Destination."""

    def _by_file(self, rows: pa.Table) -> Iterator[tuple[Path, pa.Table]]:
        months = pc.strftime(rows.column(AT), format="%Y-%m")
        for model in pc.unique(rows.column("model")).to_pylist():
            for version in pc.unique(rows.column("model_version")).to_pylist():
                of_version = pc.and_(pc.equal(rows["model"], model), pc.equal(rows["model_version"], version))
                for month in sorted(pc.unique(months.filter(of_version)).to_pylist()):
                    folder = self._folder / quote(model, safe="") / f"version={version}"
                    mine = pc.and_(of_version, pc.equal(months, month))
                    yield folder / f"{month}.{self._format}", rows.filter(mine)

    def _replace(self, file: Path, rows: pa.Table) -> int:
        """Brings rows into a file; gives how many were new or other than what stood there."""
        before = self._read(file, rows.schema)
        after, changed = rows, rows.num_rows
        if before is not None:
            rows, before = _alike(file, rows, before)
            after = rows
            found = compare(rows, before)
            if found.rows.num_rows == 0:
                return 0
            stays = before.filter(pc.invert(pc.is_in(before.column(ID), pc.unique(found.rows.column(ID)))))
            mine = found.rows.select(rows.column_names).cast(rows.schema)
            after = pa.concat_tables([stays, mine], promote_options="default")
            changed = found.rows.num_rows
        if not file.parent.is_dir():
            file.parent.mkdir(parents=True, exist_ok=True)
            for each in (file.parent, file.parent.parent):
                each.chmod(self._folder.stat().st_mode & 0o777)
        new = file.with_name(f".{file.name}{NEW}")  # one writer at a time: the folder is held
        new.unlink(missing_ok=True)  # left by a writer that died
        with new.open("xb") as opened:
            self._write(after, opened)
            opened.flush()
            os.fsync(opened.fileno())
        reach(f"files.written:{file.name}")
        new.chmod(self._folder.stat().st_mode & 0o666)  # as readable as the folder that the user named
        new.rename(file)
        reach(f"files.renamed:{file.name}")
        return changed

    def _write(self, rows: pa.Table, opened: object) -> None:
        if self._format == "parquet":
            pyarrow.parquet.write_table(rows, opened)
        else:
            pyarrow.csv.write_csv(rows, opened)

    def _read(self, file: Path, schema: pa.Schema) -> pa.Table | None:
        """What stands there, in the types of what comes; None where nothing does.

        Raises:
            DataError: it is no file of predictions.
        """
        if not file.exists():
            return None
        try:
            with file.open("rb") as opened:
                if self._format == "parquet":
                    found = pyarrow.parquet.read_table(opened)
                else:
                    found = pyarrow.csv.read_csv(
                        opened,
                        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
                        convert_options=pyarrow.csv.ConvertOptions(
                            column_types={field.name: field.type for field in schema},
                            strings_can_be_null=True,
                            quoted_strings_can_be_null=False,
                        ),
                    )
        except pa.ArrowInvalid as error:
            raise DataError(f"{file} is no file of predictions: {error}.", hint="Move it away.") from error
        if ID not in found.column_names:
            raise DataError(f"{file} is no file of predictions: it has no column {ID!r}.", hint="Move it away.")
        return found


def _alike(file: Path, rows: pa.Table, before: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Both in types that hold the values of both: a column of a table that they were made from may have widened.

    Raises:
        DataError: a column is of another type there, or a value does not fit the type that holds the others.
    """
    types = {field.name: field.type for field in before.schema}
    for field in rows.schema:
        both = common(types.get(field.name, field.type), field.type)
        if both is None:
            raise DataError(
                f"{file}: column {field.name!r} is {type_name(types[field.name])} there and would now be "
                f"{type_name(field.type)}. Nothing was written.",
                hint=MOVE,
            )
        types[field.name] = both
    one, other = (
        fit(str(file), each, pa.schema([(name, types[name]) for name in each.column_names]), hint=MOVE)
        for each in (rows, before)
    )
    return one, other
