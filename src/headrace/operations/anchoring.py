"""Heads of the audit record, stored outside of the state database, so that emptying or cutting the record is detected.

`audit = {git_note = true, file = "…", webhook = "https://…"}` of an environment names the places. Each new head is
stored once in each place, after its entry; a place that does not accept it is tried again later and delays nothing.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Integer, MetaData, String, Table, Text, delete, insert, select

from headrace.core.channels.webhook import Webhook
from headrace.core.clock import now
from headrace.core.errors import HeadraceError
from headrace.core.events import Event
from headrace.core.state import Instant
from headrace.environments import git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.access.audit import Head
    from headrace.lakehouse.storage import Place
    from headrace.workspace.workspace import Workspace

metadata = MetaData()
REF = "refs/notes/headrace-audit"
AUTHOR = ("-c", "user.name=Headrace", "-c", "user.email=headrace@localhost")
NOTED = 100  # heads in the note of a commit; older ones are in the history of the notes
OBJECT = re.compile(r"(\d+)-([0-9a-f]{32})\.json")
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(hours=1)
TIME_OUT = 3.0  # seconds that a command may wait for a webhook

ANCHORS = Table(
    "audit_anchors",
    metadata,
    Column("anchor", String(50), primary_key=True),
    Column("hash", String(32)),  # the last head that it took
    Column("attempts", Integer, nullable=False),
    Column("again", Instant),
    Column("error", Text),
)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A head that is kept somewhere.

    Attributes:
        anchor: where: `git note`, `file`.
        count: how many entries there were.
    """

    anchor: str
    count: int
    hash: str


@dataclass(frozen=True, kw_only=True)
class AnchorReport:
    """What the anchors say of the record.

    Attributes:
        missing: heads that are kept, and that the record does not have.
        gone: anchors that could be read and have not the head that they took, in words.
        unread: what could not be read, in words.
        read: how many heads were read.
    """

    missing: tuple[Kept, ...]
    gone: tuple[str, ...]
    unread: tuple[str, ...]
    read: int


def anchor(workspace: Workspace) -> list[str]:
    """Keeps the head of the record wherever it is not kept yet; gives what did not work, in words."""
    if not workspace.configured.audit.any:
        return []
    head = workspace.audit.head()
    if not head.count:
        return []
    workspace.state.create(ANCHORS)
    troubles: list[str] = []
    for name, keep in _keepers(workspace).items():
        known = _known(workspace, name)
        if known.get("hash") == head.hash or (known.get("again") or now()) > now():
            continue
        try:
            keep(head)
        except Exception as error:  # noqa: BLE001  # whatever an anchor's far side does, the operation was done
            said = error.what if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
            attempts = known.get("attempts", 0) + 1
            again = now() + min(FIRST_WAIT * 2 ** min(attempts - 1, 20), LONGEST_WAIT)
            _note(workspace, name, hash=known.get("hash"), attempts=attempts, again=again, error=said[:2000])
            troubles.append(f"{name} ({said.rstrip('.')})")
        else:
            _note(workspace, name, hash=head.hash, attempts=0, again=None, error=None)
    return troubles


def compare(workspace: Workspace) -> AnchorReport:
    """Holds the record against every anchor that can be read; a webhook is for writing only."""
    kept: list[Kept] = []
    unread: list[str] = []
    emptied: list[str] = []
    workspace.state.create(ANCHORS)
    for name, read in _readers(workspace).items():
        try:
            found = [Kept(anchor=name, count=count, hash=hash_) for count, hash_ in read()]
        except Exception as error:  # noqa: BLE001  # an anchor that cannot be read says nothing of the record
            said = error.what if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
            unread.append(f"{name} cannot be read: {said.rstrip('.')}")
            continue
        last = _known(workspace, name).get("hash")
        if last is not None and last not in {each.hash for each in found}:
            emptied.append(f"{name} has not the head {last} that it took")
        kept += found
    gone = set(workspace.audit.missing(each.hash for each in kept))
    lost = {(each.anchor, each.hash): each for each in kept if each.hash in gone}
    missing = sorted(lost.values(), key=lambda each: (each.anchor, each.count))
    return AnchorReport(
        missing=tuple(missing), gone=tuple(emptied), unread=tuple(unread), read=len({each.hash for each in kept})
    )


def _keepers(workspace: Workspace) -> dict[str, Callable[[Head], None]]:
    declared = workspace.configured.audit
    found: dict[str, Callable[[Head], None]] = {}
    if declared.git_note:
        found["git note"] = lambda head: _add_note(workspace.config.folder, _line(workspace, head))
    if declared.file is not None:
        found["file"] = lambda head: _add_file(workspace, head)
    if declared.webhook is not None:
        found["webhook"] = lambda head: _post(workspace, head)
    return found


def _readers(workspace: Workspace) -> dict[str, Callable[[], list[tuple[int, str]]]]:
    declared, env = workspace.configured.audit, workspace.configured.name
    found: dict[str, Callable[[], list[tuple[int, str]]]] = {}
    if declared.git_note:
        found["git note"] = lambda: list(_heads(_notes(workspace.config.folder), env))
    if declared.file is not None:
        found["file"] = lambda: _read_file(workspace)
    return found


def _line(workspace: Workspace, head: Head) -> str:
    told = {"env": workspace.configured.name, "count": head.count, "hash": head.hash, "at": now().isoformat()}
    return json.dumps(told)


def _heads(lines: list[str], env: str) -> Iterator[tuple[int, str]]:
    for line in lines:
        try:
            told: Any = json.loads(line)
            if told["env"] == env:
                yield int(told["count"]), str(told["hash"])
        except (ValueError, TypeError, KeyError):  # somebody's own line
            continue


def _add_note(folder: Path, line: str) -> None:
    """Appends to the note of the commit that is checked out."""
    commit = git.revision(folder, "HEAD^{commit}")
    if commit is None:
        raise HeadraceError("the project has no commit that could carry a note")
    try:
        before = git.ask(folder, "notes", f"--ref={REF}", "show", commit).decode(errors="replace").splitlines()
    except HeadraceError:  # there is none yet
        before = []
    text = "\n".join([*before[1 - NOTED :], line])
    git.ask(folder, *AUTHOR, "notes", f"--ref={REF}", "add", "--force", "--file=-", commit, given=text.encode())


def _notes(folder: Path) -> list[str]:
    """The lines of every note, and of every earlier version of it."""
    if git.revision(folder, REF) is None:
        return []
    ids = {line.split(" ")[0] for line in git.ask(folder, "rev-list", "--objects", REF).decode().splitlines()}
    told = git.ask(folder, "cat-file", "--batch", given="\n".join(sorted(ids)).encode())
    return [line for line in told.decode(errors="replace").splitlines() if line.startswith("{")]


def _add_file(workspace: Workspace, head: Head) -> None:
    where = workspace.configured.audit.file
    assert where is not None
    if "://" not in where:
        file = Path(where)
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as opened:
            opened.write(f"{_line(workspace, head)}\n")
            opened.flush()
            os.fsync(opened.fileno())
        return
    from pyarrow.fs import FileType

    place, name = _objects(workspace, where), f"{head.count:012d}-{head.hash}.json"
    if place.folder is not None:
        place.folder.mkdir(parents=True, exist_ok=True)
    files = place.files()
    if files.get_file_info(name).type == FileType.NotFound:  # never overwritten
        place.write(name, _line(workspace, head).encode())


def _read_file(workspace: Workspace) -> list[tuple[int, str]]:
    where = workspace.configured.audit.file
    assert where is not None
    if "://" not in where:
        try:
            lines = Path(where).read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        return list(_heads(lines, workspace.configured.name))
    from pyarrow.fs import FileSelector

    found = _objects(workspace, where).files().get_file_info(FileSelector("", allow_not_found=True))
    names = [OBJECT.fullmatch(each.base_name) for each in found]
    return [(int(name[1]), name[2]) for name in names if name]


def _objects(workspace: Workspace, where: str) -> Place:
    """One folder an environment: an object for each head, whose name says all."""
    from headrace.lakehouse.storage import Place

    return Place.at(where, workspace.configured.storage_options).below(workspace.configured.name)


def _post(workspace: Workspace, head: Head) -> None:
    url = workspace.configured.audit_webhook
    assert url is not None
    told = {"env": workspace.configured.name, "count": head.count, "hash": head.hash}
    Webhook(url=url, time_out=TIME_OUT).send(
        Event(id=head.count, name="audit.head", subject=workspace.configured.name, payload=told, at=now())
    )


def _known(workspace: Workspace, name: str) -> dict[str, Any]:
    with workspace.state.read() as connection:
        row = connection.execute(select(ANCHORS).where(ANCHORS.c.anchor == name)).mappings().first()
    return dict(row) if row else {}


def _note(workspace: Workspace, name: str, **values: object) -> None:
    with workspace.state.begin() as connection:
        connection.execute(delete(ANCHORS).where(ANCHORS.c.anchor == name))
        connection.execute(insert(ANCHORS).values(anchor=name, **values))
