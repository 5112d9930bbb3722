"""Taking away all that an environment keeps, in dev. Killed at any moment and run again, it takes away what is still there."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from sqlalchemy.engine import make_url

from headrace.access.rights import roles
from headrace.core.failpoints import reach
from headrace.environments.config import Secret
from headrace.workspace.drop import check_dev
from headrace.workspace.in_use import alone, unless_unreadable, without_servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.environments.config import Environment
    from headrace.workspace.workspace import Workspace

PARTS = ("serving", "rehearsal", "spool", "streams", "tokens.json")  # of an environment's folder, beside its stores
BESIDE = ("", "-wal", "-shm", "-journal")  # the files of an SQLite database


@dataclass(frozen=True, kw_only=True)
class Left:
    """A store that a reset does not take away, and why."""

    what: str
    where: str
    why: str


def reset(workspace: Workspace) -> tuple[list[str], list[Left]]:
    """Takes away all that an environment keeps in folders of its own; gives what went, and what is left.

    Taken away are tables, the online store, what servers and streams keep, artifacts, MLflow's database and, last, the
    state database with registry, runs and roles. Files that Headrace did not put there stay.

    Raises:
        RefusedError: the environment is not for development, or whoever runs this may not.
        BusyError: a run, a scheduler, a server or a stream is at work.
    """
    environment = workspace.environment
    check_dev(environment, "`headrace env reset`")
    gone: list[str] = []
    left = list(_left(workspace))
    with unless_unreadable():
        workspace.access.me().require(*roles("env reset"), to=f"reset {environment.name}")
    with alone(workspace, "reset the environment"), without_servers(workspace):
        workspace.close()
        kept = {each.where for each in left}
        for what, place in _places(environment):
            if str(place) not in kept and _remove(what, place):
                gone.append(f"{what}: {place}")
            reach(f"reset.removed:{what}")
    return gone, left


def _places(environment: Environment) -> Iterator[tuple[str, Path]]:
    """What an environment keeps on this machine, in the order in which it is taken away: the state database last."""
    if "://" not in environment.lakehouse_root:
        yield "tables", Path(environment.lakehouse_root)
    online = environment.online
    if isinstance(online, str) and "://" not in online:
        yield "online store", Path(online)
    for part in PARTS:
        yield part, environment.root / part
    if "://" not in environment.artifacts_root:
        yield "artifacts", Path(environment.artifacts_root)
    for what, value in (("tracking", environment.tracking), ("state", environment.state)):
        file = None if isinstance(value, Secret) else _sqlite_file(value)
        if file is not None:
            yield what, file


def _left(workspace: Workspace) -> Iterator[Left]:
    """Stores elsewhere, or shared with another environment, or in folders that may hold other things."""
    mine = workspace.environment
    stores = {
        "tables": mine.lakehouse_root,
        "artifacts": mine.artifacts_root,
        "state": mine.state,
        "tracking": mine.tracking,
        "online store": mine.online,
    }
    local = {what: str(place) for what, place in _places(mine)}
    for what, value in stores.items():
        if what not in local:
            # a URL may hold a password
            where = f"the secret {value.variable}" if isinstance(value, Secret) else _without_password(value)
            yield Left(what=what, where=where, why="it is not on this machine; whoever runs it removes it there")
    others = [each for each in workspace.config.environments if each.name != mine.name]
    shared = {str(place): other.name for other in others for _, place in _places(other)}
    for what, place in local.items():
        if place in shared:
            yield Left(what=what, where=place, why=f"{shared[place]!r} keeps its own there too")
        elif what == "artifacts" and not Path(place).is_relative_to(mine.root):
            yield Left(
                what=what, where=place, why="it lies outside of the environment's folder and may hold other files"
            )


def _without_password(url: str) -> str:
    with suppress(Exception):
        return make_url(url).render_as_string(hide_password=True)
    return url


def _sqlite_file(url: str) -> Path | None:
    if not url.startswith("sqlite"):
        return None
    path = url.partition(":///")[2].partition("?")[0]
    return Path(unquote(path)) if path else None


def _remove(what: str, place: Path) -> bool:
    """Takes one thing away; gives whether there was something. Links are removed, and what they lead to stays."""
    if what == "tables":
        return _remove_tables(place)
    if what in ("online store", "tracking", "state"):
        files = [place.with_name(place.name + suffix) for suffix in BESIDE]
        there = [file for file in files if file.is_file() or file.is_symlink()]
        for file in reversed(there):
            file.unlink(missing_ok=True)
        return bool(there)
    return _remove_one(place)


def _remove_one(place: Path) -> bool:
    if place.is_symlink() or place.is_file():
        place.unlink()
        return True
    if not place.is_dir():
        return False
    shutil.rmtree(place)
    return True


def _remove_tables(root: Path) -> bool:
    """Each folder `<schema>/<table>` with a Delta log, and the folders that are empty then."""
    from headrace.lakehouse.storage import DROPPED
    from headrace.workspace.aside import ASIDE, LOCK

    found = False
    for folder in (root, root.with_name(root.name + ASIDE)):
        if folder.is_symlink() or not folder.is_dir():
            continue
        for schema in [each for each in folder.iterdir() if each.is_dir() and not each.is_symlink()]:
            for table in list(schema.iterdir()):
                if table.name.startswith(DROPPED) or (table / "_delta_log").is_dir():
                    found = _remove_one(table) or found
            with suppress(OSError):  # somebody else's file is in it
                schema.rmdir()
        with suppress(OSError):
            folder.rmdir()
    root.with_name(root.name + LOCK).unlink(missing_ok=True)
    return found
