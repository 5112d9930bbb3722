"""Places of tables: a folder or an object store with `<schema>/<table>` below it, and its form for delta-rs."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem, PyFileSystem, SubTreeFileSystem

from headrace.core import ownership
from headrace.core.errors import ConfigError, DataError, HeadraceError, UnavailableError
from headrace.core.folders import is_inside
from headrace.core.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CHUNK = 1 << 16  # bytes that are written at once
DROPPED = ".dropped-"  # before the name of a table that is on its way out
# delta-rs panics on the first group, splits at the backslash, and opens another folder than it made for the last.
UNUSABLE = re.compile(r"[\[\]|^\\\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder that may hold a table, or tables.

    Attributes:
        url: what delta-rs is given; for a local folder its percent-encoded `file://` URL.
        folder: the local folder; None in an object store.
        options: delta-rs's `storage_options`.
    """

    url: str
    folder: Path | None
    options: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @classmethod
    def at(cls, root: str | Path, options: Mapping[str, str] | None = None) -> Place:
        """Reads a folder, a `file://` URL or an object-store URL.

        Raises:
            ConfigError: a folder whose name delta-rs cannot handle.
        """
        text = str(root)
        scheme = urlsplit(text).scheme if "://" in text else ""
        if scheme not in ("", "file"):
            return cls(url=text.rstrip("/"), folder=None, options=dict(options or {}))
        folder = Path(unquote(urlsplit(text).path) if scheme else text).absolute()
        if found := UNUSABLE.search(str(folder)):
            raise ConfigError(
                f"tables cannot lie under {str(folder)!r}: Delta Lake's library does not handle {found[0]!r} in a path.",
                hint="Not usable: [ ] | ^ \\, control characters, and % before two hexadecimal digits.",
            )
        return cls(url=folder.as_uri(), folder=folder, options=dict(options or {}))

    def below(self, *parts: str) -> Place:
        """A folder further down; the parts are plain names."""
        folder = None if self.folder is None else self.folder.joinpath(*parts)
        url = "/".join((self.url, *parts)) if folder is None else folder.as_uri()
        return Place(url=url, folder=folder, options=self.options)

    @property
    def path(self) -> str:
        """The folder, or the URL, as a person would write it."""
        return self.url if self.folder is None else str(self.folder)

    def open(self, version: int | None = None) -> DeltaTable | None:
        """The table at a version (None: the latest), or None if no table is here."""
        if self.folder is not None and not (self.folder / "_delta_log").is_dir():
            return None
        try:
            return DeltaTable(self.url, version=version, storage_options=dict(self.options) or None)
        except TableNotFoundError:
            return None
        except DeltaError as error:
            raise DataError(
                f"{self.path}: the Delta log cannot be read: {str(error).splitlines()[0]}",
                hint="Something other than a Delta writer changed its files; take the folder back from a backup.",
            ) from error

    def files(self) -> FileSystem:
        """A file system whose root is this place.

        Raises:
            ConfigError: no object store is to be had by that URL and these options.
        """
        if self.folder is not None:
            return SubTreeFileSystem(str(self.folder), LocalFileSystem())
        try:
            return PyFileSystem(DeltaStorageHandler(self.url, options=dict(self.options) or None))
        except DeltaError as error:
            raise ConfigError(
                f"there is no way to {self.url!r}: {str(error).splitlines()[0][:200]}",
                hint="lakehouse = takes a folder or the URL of an object store, such as s3://bucket/tables.",
            ) from error

    def write(self, name: str, data: bytes) -> None:
        """Makes or replaces a file of this place. In an object store it is there as a whole or not at all.

        Args:
            name: of the file.
            data: all that it is to contain.

        Raises:
            ConfigError: as `files`.
            OSError: it cannot be written.
        """
        with self.files().open_output_stream(name, buffer_size=2 * CHUNK) as stream:
            for start in range(0, len(data), CHUNK):  # delta-rs takes bytes, which only a buffer gives it
                stream.write(data[start : start + CHUNK])

    def children(self) -> list[str]:
        """The names of the folders directly below, sorted; none if there is no such place."""
        found = self.files().get_file_info(FileSelector("", allow_not_found=True))
        return sorted(each.base_name for each in found if each.type == FileType.Directory)

    def claim(self, mark: str) -> str | None:
        """Marks the place as belonging to a state database unless it is marked; gives the mark, None where none can be.

        Raises:
            UnavailableError: it cannot be reached.
        """
        if self.folder is not None:
            return ownership.claim(self.folder, mark)
        found = self._mark()
        if found is None:
            with suppress(OSError):  # else: not to be written
                self.write(ownership.FILE, mark.encode())
        return found or self._mark()

    def owner(self) -> str | None:
        """What `claim` left here; None where it did not.

        Raises:
            UnavailableError: it cannot be reached.
        """
        return self._mark() if self.folder is None else ownership.mark_of(self.folder)

    def unmark(self) -> None:
        """Takes the mark away; without effect where there is none."""
        if self.folder is not None:
            ownership.unmark(self.folder)
            return
        with suppress(OSError, HeadraceError):
            self.files().delete_file(ownership.FILE)

    def _mark(self) -> str | None:
        files = self.files()
        try:
            if files.get_file_info(ownership.FILE).type == FileType.NotFound:
                return None
            with files.open_input_stream(ownership.FILE) as stream:
                return stream.read().decode()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnavailableError(f"{self.url} cannot be reached: {str(error).splitlines()[0][:200]}.") from error

    def remove(self) -> None:
        """Takes the table that lies here away. A local one is gone at once, whatever happens to its files."""
        if self.folder is not None:
            for left in self.folder.parent.glob(f"{DROPPED}*"):  # by a process that died
                shutil.rmtree(left)
            aside = self.folder.with_name(f"{DROPPED}{self.folder.name}-{new_id()}")
            self.folder.rename(aside)
            shutil.rmtree(aside)
            return
        files = self.files()
        found = files.get_file_info(FileSelector("", recursive=True, allow_not_found=True))
        paths = sorted((each.path for each in found if each.type == FileType.File), key=_from_the_end, reverse=True)
        for path in paths:
            files.delete_file(path)

    def missing(self, version: int) -> list[str]:
        """The data files of a version that are no longer there."""
        table = self.open(version)
        if table is None:
            return []
        added = data_files(table)["path"].to_pylist()
        return [each.path for each in self.files().get_file_info(self.own(added)) if each.type == FileType.NotFound]

    def own(self, paths: Iterable[str]) -> list[str]:
        """Data files as a table's log has them, relative to it and decoded; without those of another table (a shallow clone's).

        Raises:
            DataError: one leads out of the table's folder, where other tables and environments are.
        """
        own = [unquote(path) for path in paths if not path.startswith("/") and "://" not in path]
        for path in own:
            if ".." in path.split("/") if self.folder is None else not is_inside(self.folder, path):
                raise DataError(
                    f"{self.path}: the Delta log names the file {path!r}, which leads out of the table's folder.",
                    hint="Something other than a Delta writer changed the log; take the folder back from a backup.",
                )
        return own


def _from_the_end(path: str) -> tuple[bool, bool, str]:
    """Sorts a table's files so that, deleted from the last to the first, it goes back version by version.

    The pointer to the last checkpoint goes first, then checkpoints and versions, then what only they named.
    """
    folder, _, name = path.rpartition("/")
    in_log = folder.rpartition("/")[2] == "_delta_log"
    return in_log, name.startswith("_"), name


def data_files(table: DeltaTable) -> pa.Table:
    """The data files of a loaded version, a row each, with their statistics."""
    added = table.get_add_actions(flatten=True)
    return pa.RecordBatchReader.from_stream(added).read_all()  # pa.table(added) would import pandas, which takes longer
