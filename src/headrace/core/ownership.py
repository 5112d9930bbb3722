"""Which state database a store belongs to. Each store is marked with its id; another state database is refused.

Versions, decisions and roles are in the state database: a second one, in which somebody else is an admin, must not
write what servers read. The first command that changes something in an unmarked store marks it. Each mark has an id of
its own, by which the state database recognises its stores (`headrace.workspace.stores`).
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Protocol

from headrace.core.errors import RefusedError
from headrace.core.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

FILE = "headrace-state.json"  # beside what belongs to it, where that is a folder


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A state database, as its stores name it.

    Attributes:
        state: its id.
        project: of the program.
        environment: that it is the state of.
        store: the id of the store, in its mark.
    """

    state: str
    project: str
    environment: str
    store: str = ""

    @classmethod
    def read(cls, carried: str) -> Owner | None:
        """What a store carries; None where it cannot be read."""
        try:
            return cls(**json.loads(carried))
        except (ValueError, TypeError):
            return None

    def mark(self) -> str:
        """What a store is to carry that carries nothing yet: with another id each time."""
        return json.dumps(asdict(replace(self, store=new_id())), sort_keys=True)

    def check(self, carried: str, what: str) -> Owner:
        """Compares with what a store carries; gives that.

        Args:
            carried: by the store.
            what: the store and where it is, the beginning of a sentence.

        Raises:
            RefusedError: it is another state's.
        """
        found = Owner.read(carried)
        if found is not None and found.state == self.state:
            return found
        if found is None:
            raise RefusedError(f"{what} carries a mark of its state database that cannot be read: {carried[:80]!r}.")
        raise RefusedError(
            f"{what} belongs to another state database. Nothing was done.",
            findings=[
                f"it belongs to state {found.state}, of {found.environment!r} in project {found.project!r}",
                f"open is state {self.state}, of {self.environment!r} in project {self.project!r}",
            ],
            hint="Restore the state database that it belongs to, or set `state` back. Where the working tree may run, "
            f"and if its state is really gone, `headrace env reset --env {self.environment} --lost-state {found.state}` "
            "begins anew.",
        )


class Marked(Protocol):
    """A store that can carry a mark."""

    def owner(self) -> str | None:
        """The mark; None where there is none. Writes nothing."""
        ...

    def claim(self, mark: str) -> str | None:
        """Marks it unless it is marked; gives the mark. None: it has none, and cannot be written."""
        ...


@contextmanager
def only_reading() -> Generator[None]:
    """Whoever only reads marks nothing meanwhile: what belongs to whom is not theirs to say."""
    before = _reading.set(True)
    try:
        yield
    finally:
        _reading.reset(before)


def reads_only() -> bool:
    """Whether nothing is to be marked just now."""
    return _reading.get()


_reading: ContextVar[bool] = ContextVar("reading", default=False)


def own(folder: Path, owner: Owner) -> None:
    """Makes sure that a folder belongs to a state: it is marked if it is nobody's.

    Raises:
        RefusedError: it is another one's.
    """
    mark = mark_of(folder) if reads_only() else claim(folder, owner.mark())
    if mark is not None:
        owner.check(mark, f"the folder {str(folder)!r}")


def claim(folder: Path, mark: str) -> str | None:
    """Marks a folder, which is made if need be, unless it is marked; gives the mark. Any number of processes may at once.

    Where it cannot be written nothing else can be, and it stays without: None.
    """
    file = folder / FILE
    with suppress(FileNotFoundError):
        return file.read_text(encoding="utf-8")
    making = folder / f".{FILE}-{new_id()}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        making.write_text(mark, encoding="utf-8")
    except OSError:
        return None
    try:
        os.link(making, file)
    except FileExistsError:  # somebody was faster
        return file.read_text(encoding="utf-8")
    except OSError:  # a file system without links
        making.replace(file)
    finally:
        making.unlink(missing_ok=True)
    return mark


def mark_of(folder: Path) -> str | None:
    """The mark of a folder; None where there is none."""
    try:
        return (folder / FILE).read_text(encoding="utf-8")
    except OSError:
        return None


def unmark(folder: Path) -> None:
    """Takes the mark away."""
    (folder / FILE).unlink(missing_ok=True)
