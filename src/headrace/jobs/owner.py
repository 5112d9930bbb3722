"""Who runs something: a process, told apart from another one that has the same number after a reboot or much later."""

from __future__ import annotations

import getpass
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core import processes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any, Self

PROC = Path("/proc")
HIDDEN = "hidden"
DEAD = "ZXx"  # states of a process that has ended and waits to be fetched by its parent


@dataclass(frozen=True, kw_only=True)
class ProcessOwner:
    """A process.

    Attributes:
        user: who started it.
        host: the machine's name.
        boot: changes when the machine starts again; empty where the system does not tell.
        namespace: in which process numbers mean something: a container has its own.
        pid: its number.
        started: when it started, in the system's own words; catches a number that was given again.
    """

    user: str
    host: str
    boot: str
    namespace: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> Self:
        """This process."""
        pid = os.getpid()
        return cls(
            user=_user(),
            host=socket.gethostname(),
            boot=_boot(),
            namespace=_namespace(),
            pid=pid,
            started=_started(pid),
        )

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> Self:
        """From what `dump` gave."""
        return cls(**stored)

    def dump(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.user}@{self.host}, pid {self.pid}"

    def near(self, other: ProcessOwner) -> bool:
        """Whether one can see the other: the same machine since the same start, the same process numbers."""
        machine = self.boot == other.boot if self.boot else self.host == other.host  # a laptop's name may change
        return machine and self.namespace == other.namespace

    def sees(self, other: ProcessOwner, *, heartbeat: datetime, at: datetime, lease: timedelta) -> bool:
        """Whether the other is alive, as far as this process, which must be the current one, can tell.

        At once for a process of this machine, and for one of before this machine's last start; elsewhere a process
        counts as alive until its last heartbeat is older than the lease.

        Args:
            other: a process.
            heartbeat: its last one.
            at: the present, by the clock that the heartbeat was taken from.
            lease: how long a process that cannot be looked at counts as alive after its last heartbeat.
        """
        if self.near(other):
            found = _started(other.pid)
            if found != HIDDEN:
                return found == other.started
        elif self.host == other.host and self.boot != other.boot and heartbeat < at - _uptime():
            return False  # a later heartbeat would be that of another machine with the same name
        return at - heartbeat < lease


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return str(os.getuid())


@cache
def _boot() -> str:
    file = PROC / "sys/kernel/random/boot_id"
    return file.read_text().strip() if file.exists() else ""


@cache
def _namespace() -> str:
    link = PROC / "self/ns/pid"
    return str(link.readlink()) if link.is_symlink() else ""


def _uptime() -> timedelta:
    """Since when this machine runs; where the system does not tell, for longer than any heartbeat."""
    if sys.platform == "linux":
        return timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME))
    return timedelta(days=365_000)


def _started(pid: int) -> str:
    """When the process of that number started: empty when there is none or only its remains, or HIDDEN."""
    if not (PROC / "self/stat").exists():
        return _asked(pid)
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return HIDDEN if _exists(pid) else ""
    fields = text.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return "" if fields[0] in DEAD else fields[19]


def _exists(pid: int) -> bool:
    """Whether there is a process of that number that /proc does not show to this user (mounted with `hidepid`)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _asked(pid: int) -> str:
    """The same, without /proc, as on macOS."""
    same = processes.environment(LC_ALL="C", TZ="UTC")  # whoever asks, whenever, gets the same words
    answer = processes.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], env=same)
    state, _, started = answer.stdout.decode(errors="replace").strip().partition(" ")
    return "" if not state or state[0] in DEAD else started.strip()
