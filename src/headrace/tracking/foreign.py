"""Somebody else's MLflow store: read, never written to, also where MLflow itself would write."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from headrace.core import credentials
from headrace.core.errors import DataError, NotFoundError, UnavailableError
from headrace.tracking import store_relocation
from headrace.tracking.tracking import Tracking

if TYPE_CHECKING:
    from collections.abc import Generator


PATIENCE = 10.0  # seconds that a server may take to accept a connection


def _check_server(url: str) -> None:
    """Whether anybody listens: MLflow itself would try for minutes.

    Raises:
        UnavailableError: nobody does.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=PATIENCE).close()
    except OSError as error:
        raise UnavailableError(
            f"the MLflow server {credentials.shown(url)} cannot be reached: {error.strerror or error}.",
            hint="Check the address after --tracking-uri, and whether the server runs.",
        ) from error


@contextmanager
def foreign(url: str) -> Generator[Tracking]:
    """The store at a URL, to download from. A SQLite database is copied, since MLflow migrates what it opens.

    Args:
        url: `http://…`, `sqlite:///…`, or a folder of MLflow's file store.

    Raises:
        NotFoundError: there is no such file or folder.
        DataError: the file is no SQLite database; it is a database of another kind.
        UnavailableError: there is no server at the address.
    """
    database = store_relocation.file_of(url)
    if "://" in url and database is None and not url.startswith(("http://", "https://", "file:")):
        raise DataError(
            f"{credentials.shown(url)} is not read: MLflow makes tables in a database that it opens.",
            hint="Name its tracking server, http://…; a file, sqlite:///…; or a folder of MLflow's file store.",
        )
    folder = (
        None
        if "://" in url and not url.startswith("file:")
        else Path(url.removeprefix("file://").removeprefix("file:"))
    )
    if database is None:
        if folder is not None and not folder.is_dir():
            raise NotFoundError(
                "MLflow store at", url, None, hint="--tracking-uri is http://…, sqlite:///… or a folder."
            )
        if url.startswith(("http://", "https://")):
            _check_server(url)
        yield Tracking(url, "")
        return
    if not database.is_file():
        raise NotFoundError("MLflow store at", url, None, hint="sqlite:///relative.db, or sqlite:////absolute/path.db.")
    with TemporaryDirectory(prefix="headrace-mlflow-store-") as scratch:
        copy = Path(scratch, database.name)
        try:
            with (
                closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as there,
                closing(sqlite3.connect(copy)) as here,
            ):
                there.backup(here)
        except sqlite3.Error as error:
            raise DataError(f"{credentials.shown(url)} cannot be read as MLflow's store: {error}.") from error
        yield Tracking(f"sqlite:///{copy}", "")
