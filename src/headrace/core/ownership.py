"""Whose a store is. Each carries the id of the state database that it belongs to; another one's is refused.

Versions, decisions and roles are in the state database: a second one, in which somebody else is an admin, must not write
what servers follow. A store that carries nothing is taken by the first one that opens it.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import RefusedError
from headrace.core.ids import new_id

if TYPE_CHECKING:
    from pathlib import Path

FILE = "headrace-state.json"  # beside what belongs to it, where that is a folder


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A state database, as its stores name it.

    Attributes:
        state: its id.
        project: of the program.
        environment: that it is the state of.
    """

    state: str
    project: str
    environment: str

    @classmethod
    def read(cls, carried: str) -> Owner | None:
        """What a store carries; None where it cannot be read."""
        try:
            return cls(**json.loads(carried))
        except (ValueError, TypeError):
            return None

    def text(self) -> str:
        """As a store carries it: the same each time."""
        return json.dumps(asdict(self), sort_keys=True)

    def check(self, carried: str, what: str) -> None:
        """Compares with what a store carries.

        Args:
            carried: by the store.
            what: the store and where it is, the beginning of a sentence.

        Raises:
            RefusedError: it is another state's.
        """
        found = Owner.read(carried)
        if found is not None and found.state == self.state:
            return
        if found is None:
            raise RefusedError(f"{what} carries a mark of its state database that cannot be read: {carried[:80]!r}.")
        raise RefusedError(
            f"{what} belongs to another state database. Nothing was done.",
            findings=[
                f"it belongs to state {found.state}, of {found.environment!r} in project {found.project!r}",
                f"open is state {self.state}, of {self.environment!r} in project {self.project!r}",
            ],
            hint="Restore the state database that it belongs to, or set `state` back. Where the working tree may run, "
            f"`headrace env reset --env {self.environment}` begins anew.",
        )


def claim(folder: Path, owner: Owner) -> str:
    """Marks a folder, which is made if need be, unless it is marked; gives the mark. Any number of processes may at once.

    Where it cannot be written nothing else can be, and it stays without.
    """
    file = folder / FILE
    with suppress(FileNotFoundError):
        return file.read_text(encoding="utf-8")
    making = folder / f".{FILE}-{new_id()}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        making.write_text(owner.text(), encoding="utf-8")
    except OSError:
        return owner.text()
    try:
        os.link(making, file)
    except FileExistsError:  # somebody was faster
        return file.read_text(encoding="utf-8")
    except OSError:  # a file system without links
        making.replace(file)
    finally:
        making.unlink(missing_ok=True)
    return owner.text()


def mark_of(folder: Path) -> str | None:
    """The mark of a folder; None where there is none."""
    try:
        return (folder / FILE).read_text(encoding="utf-8")
    except OSError:
        return None


def unmark(folder: Path) -> None:
    """Takes the mark away."""
    (folder / FILE).unlink(missing_ok=True)
