"""Taking away what was made, in dev: one table, or all that an environment keeps.

Both may be killed at any moment and run again: they take away what is still there.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from headrace.core.errors import BusyError, HeadraceError, RefusedError
from headrace.core.failpoints import reach
from headrace.core.locks import hold
from headrace.environments.config import Secret
from headrace.workspace.serving import lock_file

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from headrace.environments.config import Environment
    from headrace.workspace.workspace import Workspace

PARTS = ("serving", "rehearsal", "spool", "streams", "tokens.json")  # of an environment's folder, beside its stores
BESIDE = ("", "-wal", "-shm", "-journal")  # the files of an SQLite database
DROPPED = ".dropped-"


@dataclass(frozen=True, kw_only=True)
class Left:
    """A store that a reset does not take away, and why."""

    what: str
    where: str
    why: str


def check_dev(environment: Environment, what: str) -> None:
    """Refuses where released or committed code runs: what is there was made to be kept.

    Raises:
        RefusedError: the environment is not for development.
    """
    if environment.code != "any":
        raise RefusedError(
            f"{what} is for environments in which the working tree may run; in {environment.name!r} only "
            f"{'a release' if environment.code == 'release' else 'committed code'} does. Nothing was removed.",
            hint="What is there was made to be kept: others read it, and versions in the registry cite it.",
        )


# ---------------------------------------------------------------------------------------------- one table


def dependents(workspace: Workspace, name: str) -> list[str]:
    """What depends on a table, a line each: tables, models, their versions, the online store."""
    found = [
        f"version {number} ({stage}) of model {model} cites it" for model, number, stage in _citing(workspace, name)
    ]
    with suppress(HeadraceError, SQLAlchemyError):
        published = workspace.online.table(name)
        if published is not None:
            found.append("the online store answers with its rows until the next `headrace run publish`")
    try:
        return [*_declared(workspace, name), *found]
    except HeadraceError as error:
        return [*found, f"which tables and models read it is not known: {error.what}"]


def _declared(workspace: Workspace, name: str) -> Iterator[str]:
    from headrace.lakehouse import graph
    from headrace.lakehouse.declarations import Source, Table
    from headrace.pipelines.model_inputs import tables
    from headrace.training.declarations import Model

    declared = [*workspace.project.all(Source), *workspace.project.all(Table)]
    known = {*(each.name for each in workspace.lakehouse.names()), *(each.name for each in declared)}
    if name not in {each.name for each in declared}:
        yield "no source or table of this project is declared by its name, so `headrace run refresh` does not make it anew"
    for each in declared:
        if name in graph.inputs(each, known):
            yield f"table {each.name} reads it"
    for model in workspace.project.all(Model):
        if name in tables(model):
            yield f"model {model.name} is trained and scored on it"


def _citing(workspace: Workspace, name: str) -> list[tuple[str, int, str]]:
    """Model, number and stage of each version that was made from the table."""
    return [
        (version.model, version.version, version.stage)
        for version in workspace.registry.versions()
        if name in version.inputs or name == f"training.{version.model.lower()}"
    ]


def drop(workspace: Workspace, name: str) -> list[str]:
    """Takes a table away, and what its expectations set apart; gives their names.

    Raises:
        RefusedError: the environment is not for development, or the table is another environment's; whoever runs this may not.
        BusyError: something runs that may write it.
        NotFoundError: there is no such table.
    """
    from headrace.access.audit import record
    from headrace.access.identity import ADMIN, ENGINEER
    from headrace.lakehouse.declarations import quarantine_name

    environment = workspace.environment
    check_dev(environment, "`headrace table drop`")
    me = workspace.access.me()
    me.require(ENGINEER, ADMIN, to=f"drop {name}")
    found = workspace.lakehouse.snapshot(name)
    if found.env != environment.name:
        raise RefusedError(
            f"{name!r} is a table of {found.env!r} that {environment.name!r} only reads. Nothing was removed."
        )
    names = [each for each in (name, quarantine_name(name)) if workspace.lakehouse.exists(each, own=True)]
    with _alone(workspace, "drop a table"):
        for each in names:
            there = workspace.lakehouse.snapshot(each)
            with workspace.state.begin() as connection:
                record(connection, me.name, "table.dropped", each, {"version": there.version, "id": there.id})
            workspace.lakehouse.drop(each)
            reach(f"table.dropped:{each}")
    return names


# ---------------------------------------------------------------------------------------------- all of it


def reset(workspace: Workspace) -> tuple[list[str], list[Left]]:
    """Takes away all that an environment keeps in folders of its own; gives what went, and what is left.

    Taken away are tables, the online store, what servers and streams keep, artifacts, MLflow's database and, last, the
    state database with registry, runs and roles. Files that Headrace did not put there stay.

    Raises:
        RefusedError: the environment is not for development, or whoever runs this may not.
        BusyError: a run, a scheduler, a server or a stream is at work.
    """
    from headrace.access.identity import ADMIN

    environment = workspace.environment
    check_dev(environment, "`headrace env reset`")
    gone: list[str] = []
    left = list(_left(workspace))
    with _unless_unreadable():
        workspace.access.me().require(ADMIN, to=f"reset {environment.name}")
    with _alone(workspace, "reset the environment"), _without_servers(workspace):
        workspace.close()
        kept = {each.where for each in left}
        for what, place in _places(environment):
            if str(place) not in kept and _remove(what, place):
                gone.append(f"{what}: {place}")
            reach(f"reset.removed:{what}")
    return gone, left


@contextmanager
def _unless_unreadable() -> Generator[None]:
    """A state database that cannot be read is one more reason to begin anew; a refusal stays one."""
    try:
        yield
    except RefusedError:
        raise
    except (HeadraceError, SQLAlchemyError):
        pass


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


# ---------------------------------------------------------------------------------------------- who is at work


@contextmanager
def _alone(workspace: Workspace, what: str) -> Generator[None]:
    """Nothing else writes the environment: no run, no scheduler, no stream.

    Raises:
        BusyError: says who does.
    """
    from headrace.inference.streaming.telling import told

    environment = workspace.environment
    for each in told(environment.root):
        if not each["gone"]:
            raise BusyError(
                f"a stream of {each['model']} is at work (pid {each['pid']} on {each['host']}); it would go on writing. "
                "Nothing was removed.",
                hint=f"Stop it first: kill {each['pid']}",
            )
    environment.root.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(hold(workspace.up_lock))
        except BlockingIOError:
            raise BusyError(
                f"`headrace up` runs in {environment.name!r}. Nothing was removed.", hint=f"Stop it first, to {what}."
            ) from None
        with _unless_unreadable():
            running = workspace.ledger.alive()
            if running:
                raise BusyError(
                    f"{running[0].job} is being run by {running[0].owner}, since "
                    f"{running[0].started:%Y-%m-%d %H:%M:%S} UTC (run {running[0].id}). Nothing was removed.",
                    hint=f"Wait for it, or stop it, to {what}.",
                )
        yield


@contextmanager
def _without_servers(workspace: Workspace) -> Generator[None]:
    """No server of the environment runs on this machine.

    Raises:
        BusyError: one does.
    """
    with ExitStack() as held:
        try:
            held.enter_context(hold(lock_file(workspace.environment)))
        except BlockingIOError:
            raise BusyError(
                f"`headrace serve` runs in {workspace.environment.name!r}. Nothing was removed.",
                hint="Stop it first: its models and its log would go.",
            ) from None
        yield
