"""Where the documents of a catalog are: `<project>/<environment>.json` in a folder or an object store.

A document is written whole: in a folder as a temporary file that is renamed, in an object store as one object. What others
wrote is read within limits, no link is followed, and what cannot be read is reported and skipped.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyarrow.fs import FileSelector, FileType

from headrace.catalog.document import BYTES, ENVIRONMENT, PROJECT, Document, decode
from headrace.core import credentials
from headrace.core.errors import DataError, RefusedError, UnavailableError
from headrace.core.failpoints import reach
from headrace.core.ids import new_id
from headrace.lakehouse.storage import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DOCUMENTS = 2_000  # of a catalog; more are not read
TOTAL = 256 << 20  # bytes of all documents together
SUFFIX = ".json"
ABANDONED = 3600  # seconds after which a temporary file belongs to nobody
OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not hold us


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A document, or a folder of a project, that was not read, and why."""

    document: str
    reason: str


def location(place: Place) -> str:
    """The URI of a folder or of a place in an object store, without credentials: the same for whoever names the same place."""
    return credentials.shown(place.url) if place.folder is None else place.folder.resolve().as_uri()


class CatalogStore:
    """The documents of a catalog.

    Args:
        where: a folder, or the URL of an object store.
        options: of the object store, as delta-rs takes them.

    Raises:
        ConfigError: a folder whose name cannot be handled.
    """

    def __init__(self, where: str, options: Mapping[str, str]) -> None:
        self._place = Place.at(where, options)

    def path(self, project: str, environment: str) -> str:
        """Where a document is, as a person would write it, without credentials."""
        return f"{credentials.shown(self._place.path)}/{project}/{environment}{SUFFIX}"

    def read(self, project: str, environment: str) -> Document | None:
        """One document; None where there is none.

        Raises:
            LaterFormatError: a later release of Headrace wrote it.
            UnavailableError: the catalog cannot be reached.
            DataError: it is malformed.
        """
        try:
            return decode(self._bytes(project, environment), project=project, environment=environment)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnavailableError(f"it cannot be read: {_line(error)}") from error

    def read_all(self) -> tuple[list[Document], list[Skipped]]:
        """All documents, by project and environment, and those that could not be read. None where there is no catalog yet.

        Raises:
            UnavailableError: the catalog cannot be reached.
            ConfigError: there is no way to an object store by that URL.
        """
        documents: list[Document] = []
        skipped: list[Skipped] = []
        total = 0
        names = self._names(skipped)
        for count, (project, environment) in enumerate(names):
            path = self.path(project, environment)
            if count >= DOCUMENTS or total >= TOTAL:
                reason = (
                    f"{len(names) - count:,} documents from here on exceed {DOCUMENTS:,} documents or {TOTAL:,} bytes"
                )
                skipped.append(Skipped(document=path, reason=reason))
                break
            try:
                data = self._bytes(project, environment)
                total += len(data)
                documents.append(decode(data, project=project, environment=environment))
            except FileNotFoundError:  # it was removed since
                continue
            except OSError as error:
                skipped.append(Skipped(document=path, reason=f"it cannot be read: {_line(error)}"))
            except DataError as error:
                skipped.append(Skipped(document=path, reason=error.what))
        return documents, skipped

    def write(self, document: Document) -> None:
        """Replaces a document as a whole.

        Raises:
            DataError: it is too large.
            RefusedError: the project's folder is a link.
            OSError: the catalog cannot be written.
        """
        data = document.encode()
        name = f"{document.environment}{SUFFIX}"
        if self._place.folder is None:
            self._place.below(document.project).write(name, data)
            return
        folder = _prepare(self._place.folder, document.project)
        making = folder / f".{name}-{new_id()}"
        try:
            with making.open("xb") as opened:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            making.chmod(self._place.folder.stat().st_mode & 0o666)  # as readable as the folder that was named
            reach(f"catalog.writing:{name}")
            making.replace(folder / name)
        finally:
            making.unlink(missing_ok=True)

    def remove(self, project: str, environment: str) -> None:
        """Takes a document away; without effect where there is none.

        Raises:
            OSError: it cannot be removed.
        """
        name = f"{environment}{SUFFIX}"
        if self._place.folder is None:
            self._place.below(project).files().delete_file(name)
        else:
            (self._place.folder / project / name).unlink(missing_ok=True)

    def _bytes(self, project: str, environment: str) -> bytes:
        """The content of a document, or its first bytes where it is larger than a document may be."""
        name = f"{environment}{SUFFIX}"
        if self._place.folder is None:
            with self._place.below(project).files().open_input_stream(name) as stream:
                return stream.read(BYTES + 1)
        folder = self._place.folder / project
        if folder.is_symlink():
            raise DataError("its folder is a link")
        descriptor = os.open(folder / name, OPEN)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DataError("it is not a file")
            with os.fdopen(descriptor, "rb", closefd=False) as opened:
                return opened.read(BYTES + 1)
        finally:
            os.close(descriptor)

    def _names(self, skipped: list[Skipped]) -> list[tuple[str, str]]:
        """Project and environment of each document; those whose names are not possible are reported."""
        names: list[tuple[str, str]] = []
        try:
            for project, file in sorted(self._local(skipped) if self._place.folder else self._remote()):
                environment = file.removesuffix(SUFFIX)
                if PROJECT.fullmatch(project) and ENVIRONMENT.fullmatch(environment):
                    names.append((project, environment))
                else:
                    path = self.path(project, environment)
                    _skip(skipped, path, "its name is not that of a project or an environment")
        except OSError as error:
            what = f"the catalog {credentials.shown(self._place.path)} cannot be read: {_line(error)}."
            raise UnavailableError(what) from error
        return names

    def _local(self, skipped: list[Skipped]) -> Iterator[tuple[str, str]]:
        """The documents in a folder; a project's folder that is a link, or cannot be listed, is reported."""
        assert self._place.folder is not None
        try:
            with os.scandir(self._place.folder) as found:
                folders = [each for each in found if not each.name.startswith(".")]
        except FileNotFoundError:  # there is no catalog yet
            return
        for folder in folders:
            try:
                if folder.is_symlink():
                    _skip(skipped, folder.path, "it is a link")
                elif folder.is_dir(follow_symlinks=False):
                    with os.scandir(folder) as files:
                        names = [each.name for each in files if _is_document(each.name)]
                    yield from ((folder.name, name) for name in names)
            except FileNotFoundError:  # it was removed since
                continue
            except OSError as error:
                _skip(skipped, folder.path, f"it cannot be listed: {_line(error)}")

    def _remote(self) -> Iterator[tuple[str, str]]:
        found = self._place.files().get_file_info(FileSelector("", recursive=True, allow_not_found=True))
        for each in found:
            folder, _, file = each.path.rpartition("/")
            if each.type == FileType.File and folder and _is_document(file):
                yield folder, file


def _skip(skipped: list[Skipped], document: str, reason: str) -> None:
    if len(skipped) < DOCUMENTS:  # what others wrote must not fill the memory
        skipped.append(Skipped(document=document, reason=reason))


def _is_document(file: str) -> bool:
    return file.endswith(SUFFIX) and not file.startswith(".")


def _prepare(root: Path, project: str) -> Path:
    """The folder of a project, made if need be, without what killed processes left in it.

    Raises:
        RefusedError: it is a link.
    """
    folder = root / project
    root.mkdir(parents=True, exist_ok=True)
    if folder.is_symlink():
        raise RefusedError(f"the folder {str(folder)!r} is a link.", hint="Remove the link.")
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        folder.chmod(root.stat().st_mode & 0o777)
    for left in folder.glob(f".*{SUFFIX}-*"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()
    return folder


def _line(error: OSError) -> str:
    return credentials.hidden(error.strerror or " ".join(str(error).split())[:200])
