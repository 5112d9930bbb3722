"""The location of an embedded store. MLflow writes absolute paths into it; after a move or a copy they are corrected.

The store records in a separate table where it was when it was last opened. If it is elsewhere now, every path in it
that begins with the old folder is changed to the new folder: the original of a copy is neither read nor written again.
MLflow is not imported, so this costs every command a millisecond.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from headrace.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SQLITE = "sqlite:///"
PATIENCE = 30.0  # seconds that a writer waits for another one
TABLE = "headrace_place"
LOCATIONS = (  # where MLflow keeps paths and URIs of artifacts
    ("experiments", "artifact_location", ""),
    ("runs", "artifact_uri", ""),
    ("logged_models", "artifact_location", ""),
    ("model_versions", "source", ""),
    ("model_versions", "storage_location", ""),
    ("trace_tags", "value", "\"key\" = 'mlflow.artifactLocation'"),
)
DEFAULT = "0"  # MLflow's own first experiment, which it makes with a folder below wherever the process happens to be


def file_of(url: str) -> Path | None:
    """The file of an embedded store; None for a server, or another kind of database."""
    if not url.startswith(SQLITE):
        return None
    return Path(unquote(url.removeprefix(SQLITE).partition("?")[0]))


def settle(url: str, *, project: Path | None = None, artifacts: str | None = None) -> None:
    """Sets the paths right in a store that stands elsewhere than it did, and remembers where it stands.

    Does nothing for a server, for a store that is not there yet, and for one that stands where it stood, whoever opens it.

    Args:
        url: of the store.
        project: the folder of the project, below which artifacts may be, too.
        artifacts: the folder or URL of the artifacts; said when a store has just been made.

    Raises:
        ConfigError: the store cannot be written.
    """
    file = file_of(url)
    if file is None or not file.is_file():
        return
    folder = file.parent.absolute()
    now = (str(folder), str(project.absolute()) if project else str(folder))
    try:
        with closing(sqlite3.connect(file, timeout=PATIENCE, isolation_level=None)) as connection:
            there = _tables(connection)
            if "experiments" not in there:  # MLflow has not made it yet, or it is somebody else's
                return
            then = _remembered(connection) if TABLE in there else None
            if then is None and artifacts is None:
                return
            if then is not None and (then[0] == now[0] or _same(Path(then[0]) / file.name, file)):
                return
            connection.execute("begin immediate")
            then = _remembered(connection) if TABLE in there else None  # another process may have been faster
            if then is None:
                _first(connection, artifacts)
            elif then[0] != now[0]:
                _rewrite(connection, there, sorted(set(zip(then, now, strict=True)), reverse=True))
            _remember(connection, now)
            connection.execute("commit")
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise ConfigError(
                f"the MLflow store {str(file)!r} cannot be written: {error}.",
                hint="It was moved or copied, and the paths in it have to be set right before it can be used.",
            ) from error
        # no database at all: whoever asks MLflow for it is told so


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}


def _remembered(connection: sqlite3.Connection) -> tuple[str, str] | None:
    return connection.execute(f"select folder, project from {TABLE}").fetchone()


def _remember(connection: sqlite3.Connection, place: Sequence[str]) -> None:
    connection.execute(f"create table if not exists {TABLE} (folder text not null, project text not null)")
    connection.execute(f"delete from {TABLE}")
    connection.execute(f"insert into {TABLE} (folder, project) values (?, ?)", tuple(place))


def _first(connection: sqlite3.Connection, artifacts: str | None) -> None:
    """Runs of MLflow's default experiment keep their artifacts with the others, and not where a process began."""
    empty = "not exists (select 1 from runs where runs.experiment_id = experiments.experiment_id)"
    connection.execute(
        f"update experiments set artifact_location = ? where experiment_id = ? and {empty}",
        (f"{artifacts}/Default", DEFAULT),
    )


def _rewrite(connection: sqlite3.Connection, there: set[str], moves: Iterable[tuple[str, str]]) -> None:
    """Replaces the beginning of every path; the longer folder first, since one may lie in the other."""
    both = [(before, after) for old, new in moves if old != new for before, after in _spellings(old, new)]
    for table, column, where in LOCATIONS:
        if table not in there:
            continue
        if column not in {row[1] for row in connection.execute(f"pragma table_info({table})")}:
            continue
        only = f" and {where}" if where else ""
        # one pass over what is there, so that a path which was set right is not taken for one of another folder
        begins = " or ".join(f"substr({column}, 1, length(?)) = ?" for _ in both)
        cases = " ".join(
            f"when substr({column}, 1, length(?)) = ? then ? || substr({column}, length(?) + 1)" for _ in both
        )
        values = [each for before, after in both for each in (before, before, after, before)]
        found = [each for before, _ in both for each in (before, before)]
        connection.execute(f"update {table} set {column} = case {cases} end where ({begins}){only}", [*values, *found])


def _spellings(old: str, new: str) -> list[tuple[str, str]]:
    """As a path and as a URL of a file, each up to the slash that ends the folder's name."""
    return [(f"{old}/", f"{new}/"), (f"file://{quote(old)}/", f"file://{quote(new)}/")]


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
