"""Deletes everything that an environment keeps, in dev. After a kill at any moment, the same command deletes what is left."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from headrace.access.rights import roles
from headrace.core import credentials
from headrace.core.errors import HeadraceError, RefusedError
from headrace.core.failpoints import reach
from headrace.core.ownership import Owner, mark_of, unmark
from headrace.core.state import State
from headrace.environments.secret import Secret
from headrace.features.online.opening import open_store
from headrace.lakehouse.storage import Place
from headrace.operations.catalog_sync import remove_from_catalog
from headrace.operations.drop_table import check_dev
from headrace.operations.in_use import alone, unless_unreadable, without_servers
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.workspace import stores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.environments.config import Environment
    from headrace.tracking.tracking import Tracking
    from headrace.workspace.workspace import Workspace

PARTS = (
    "serving",
    "parity-check",
    "spool",
    "streams",
    "api-keys.json",
)  # of an environment's folder, beside its stores
STATE = "state.db"  # where the state database is, unless another place is configured
BESIDE = ("", "-wal", "-shm", "-journal")  # the files of an SQLite database
DATABASES = ("online store", "tracking", "state")
SQLITE = b"SQLite format 3\0"  # how each file of it begins


@dataclass(frozen=True, kw_only=True)
class RemainingStore(Record):
    """A store that a reset does not take away.

    Attributes:
        what: `tables`, `artifacts`, `state`, `tracking` or `online store`.
        where: its folder, its file or its URL without credentials; of a secret its name.
        reason: why it stays.
    """

    what: str
    where: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ResetPlan(Record):
    """What a reset is about to take away.

    Attributes:
        env: the environment.
        root: the folder below which it keeps its stores.
        left: stores that stay.
    """

    env: str
    root: Path
    left: tuple[RemainingStore, ...]


@dataclass(frozen=True, kw_only=True)
class ResetReport(Record):
    """What a reset took away.

    Attributes:
        env: the environment.
        removed: what was there and is gone, as `tables: FOLDER`.
        left: stores that stayed.
    """

    env: str
    removed: tuple[str, ...]
    left: tuple[RemainingStore, ...]


@operation("env reset")
def reset(
    workspace: Workspace, *, lost_state: str | None = None, confirm: Callable[[ResetPlan], None] | None = None
) -> ResetReport:
    """Takes away all that an environment keeps in folders of its own.

    Taken away are tables, the online store, what servers and streams keep, artifacts, MLflow's database and, last, the
    state database with registry, runs and roles. Files that Headrace did not put there stay.

    The environment is opened `anew`: its state database may be unreadable. An admin of another state database than that of
    the stores has no right to them; one that is lost has to be named.

    Args:
        workspace: the environment.
        lost_state: the id of the state database that the stores belong to, where it is gone for good.
        confirm: called before anything is taken away; it raises when the person declines. None asks nobody.

    Raises:
        RefusedError: the environment is not for development, a store is another environment's or another state's, or the
            caller may not.
        BusyError: a run, a scheduler, a server or a stream is at work.
    """
    environment = workspace.environment
    check_dev(environment, "`headrace env reset`")
    left = tuple(_left(workspace))
    if confirm is not None:
        confirm(ResetPlan(env=environment.name, root=environment.root, left=left))
    removed: list[str] = []
    with unless_unreadable():
        workspace.state.identity(environment.name)
        workspace.access.me().require(*roles("env reset"), to=f"reset {environment.name}")
    _check_owners(workspace, lost_state)
    with alone(workspace, "reset the environment"), without_servers(workspace):
        states = {_owner(workspace).state, lost_state or ""} - {""}
        workspace.close()
        kept = {each.where for each in left}
        _unmark(workspace)
        reach("reset.removed:marks")
        for what, place in _places(environment):
            if str(place) not in kept and _remove(what, place):
                removed.append(f"{what}: {place}")
            reach(f"reset.removed:{what}")
        remove_from_catalog(workspace.configured, workspace.config.name, states)
    return ResetReport(env=environment.name, removed=tuple(removed), left=left)


def _owner(workspace: Workspace) -> Owner:
    """Whose the stores should be; a state database that cannot be read has no id."""
    with unless_unreadable():
        return workspace.owner
    return Owner(state="", project=workspace.config.name, environment=workspace.environment.name)


def _check_owners(workspace: Workspace, lost: str | None) -> None:
    """Another environment's stores are not taken away, whatever this one's settings name, nor another state's.

    Raises:
        RefusedError: one is.
    """
    environment, mine = workspace.environment, _owner(workspace)
    for what, mark in _marks(workspace, mine):
        found = Owner.read(mark)
        if found is None or found.state == mine.state:
            continue
        if (found.project, found.environment) != (mine.project, mine.environment):
            raise RefusedError(
                f"{what} belongs to {found.environment!r} of project {found.project!r}. Nothing was removed.",
                hint=f"Is it what [env.{environment.name}] or HEADRACE_ENV__{environment.name}__… should name?",
            )
        if found.state != lost:
            raise RefusedError(
                f"{what} belongs to another state database than the one that is open. Nothing was removed.",
                findings=[f"it belongs to state {found.state}", f"open is {mine.state or 'none that could be read'}"],
                hint="An admin of that state resets it: set `state` back. If that state database is gone for good, say so: "
                f"headrace env reset --env {environment.name} --lost-state {found.state}",
            )
        if _usual(workspace) == lost:
            raise RefusedError(
                f"state {lost} is not lost: it lies in {str(environment.root)!r}. Nothing was removed.",
                hint="An admin of it resets the environment, with `state` set back.",
            )


def _marks(workspace: Workspace, mine: Owner) -> Iterator[tuple[str, str]]:
    """What each store that is there carries. Nothing is made or written."""
    environment = workspace.environment
    serving = environment.root / "serving"
    found = {f"the folder {str(each)!r}": mark_of(each) for each in (environment.root, serving)}
    with suppress(HeadraceError):
        found[f"the lakehouse {environment.lakehouse_root!r}"] = _lakehouse(environment).owner()
    with suppress(HeadraceError):
        if isinstance(environment.online, Secret) or "://" in environment.online or Path(environment.online).exists():
            store = open_store(environment.online_address, workspace.config.folder)
            found["the online store"] = store.owner()
            store.close()
    with suppress(HeadraceError):
        file = None if isinstance(environment.tracking, Secret) else _sqlite_file(environment.tracking)
        if file is None or file.exists():
            found["what MLflow keeps"] = _tracking(environment).mark(mine).owner()
    yield from ((what, mark) for what, mark in found.items() if mark is not None)


def _usual(workspace: Workspace) -> str | None:
    """The id of the state database that lies in the environment's folder, whichever is open."""
    file = workspace.environment.root / STATE
    if not file.exists():
        return None
    state = State(f"sqlite:///{file}")
    try:
        with unless_unreadable():
            return state.identity(workspace.environment.name)
    finally:
        state.close()
    return None


def _tracking(environment: Environment) -> Tracking:
    from headrace.tracking.tracking import Tracking

    return Tracking(environment.tracking_url, environment.artifacts_root, declared=environment.artifacts_declared)


def _unmark(workspace: Workspace) -> None:
    """The stores are nobody's: the state database that is made next may open those that stay."""
    environment = workspace.environment
    with unless_unreadable():
        stores.forget(workspace.state)
        workspace.state.close()
    _lakehouse(environment).unmark()
    unmark(environment.root)
    if isinstance(environment.online, Secret) or "://" in environment.online:
        with suppress(HeadraceError):
            store = open_store(environment.online_address, workspace.config.folder)
            store.disclaim()
            store.close()
    if isinstance(environment.tracking, Secret) or _sqlite_file(environment.tracking) is None:
        with suppress(HeadraceError):
            _tracking(environment).mark(_owner(workspace)).disclaim()


def _lakehouse(environment: Environment) -> Place:
    return Place.at(environment.lakehouse_root, environment.storage_options)


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


def _left(workspace: Workspace) -> Iterator[RemainingStore]:
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
            where = f"the secret {value.variable}" if isinstance(value, Secret) else credentials.shown(value)
            yield RemainingStore(
                what=what, where=where, reason="it is not on this machine; whoever runs it removes it there"
            )
    others = [each for each in workspace.config.environments if each.name != mine.name]
    shared = {place.resolve(): other.name for other in others for _, place in _places(other)}  # through links, too
    for what, place in local.items():
        if (found := Path(place).resolve()) in shared:
            yield RemainingStore(what=what, where=place, reason=f"{shared[found]!r} keeps its own there too")
        elif what in DATABASES and not found.is_relative_to(mine.root.resolve()) and not _is_database(found):
            yield RemainingStore(what=what, where=place, reason="it is no database, so Headrace did not make it")
        elif what == "artifacts" and not Path(place).is_relative_to(mine.root):
            yield RemainingStore(
                what=what, where=place, reason="it lies outside of the environment's folder and may hold other files"
            )


def _is_database(file: Path) -> bool:
    """Whether it is a file of SQLite; one that is not there, or is empty yet, may have been one."""
    try:
        with file.open("rb") as opened:
            return opened.read(len(SQLITE)) in (SQLITE, b"")
    except OSError:
        return not file.exists()


def _sqlite_file(url: str) -> Path | None:
    if not url.startswith("sqlite"):
        return None
    path = url.partition(":///")[2].partition("?")[0]
    return Path(unquote(path)) if path else None


def _remove(what: str, place: Path) -> bool:
    """Takes one thing away; gives whether there was something. Links are removed, and what they lead to stays."""
    if what == "tables":
        return _remove_tables(place)
    if what in DATABASES:
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
    from headrace.lakehouse.offline import ASIDE, LOCK
    from headrace.lakehouse.storage import DROPPED

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
