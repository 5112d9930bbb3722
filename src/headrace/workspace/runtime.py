"""The runtime that an environment ran with: Python, the platform, and every installed distribution, as of the latest run on each
machine. Kept in the state database, so that another environment can be compared with it.
"""

from __future__ import annotations

import platform
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from sqlalchemy import JSON, Column, MetaData, String, Table, delete, insert, select
from sqlalchemy.exc import IntegrityError

from headrace.core.clock import now
from headrace.core.state import Instant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from headrace.core.state import State

INFO = ".dist-info"
RUNTIMES = Table(
    "environment_runtimes",
    MetaData(),
    Column("host", String(255), primary_key=True),
    Column("python", String(40), nullable=False),
    Column("platform", String(100), nullable=False),
    Column("installed", JSON, nullable=False),
    Column("at", Instant, nullable=False),
)


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What code runs with.

    Attributes:
        host: the name of the machine.
        python: the version of Python.
        platform: the system and the processor: `Linux x86_64`.
        installed: distribution → version; names as PyPI compares them.
        at: when it ran.
    """

    host: str
    python: str
    platform: str
    installed: Mapping[str, str]
    at: datetime


def current() -> Runtime:
    """The runtime of this process."""
    return Runtime(
        host=platform.node()[:255],
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        installed=_installed(),
        at=now(),
    )


def _installed() -> dict[str, str]:
    """By the names of `.dist-info` folders: reading what is in each of them takes a hundred times as long."""
    found: dict[str, str] = {}
    for folder in map(Path, sys.path):
        names = sorted(each.name for each in folder.glob(f"*{INFO}")) if folder.is_dir() else []
        for name in names:
            distribution, _, version = name.removesuffix(INFO).rpartition("-")
            if distribution:  # of two, the first on the path is imported
                found.setdefault(canonicalize_name(distribution), version)
    return dict(sorted(found.items()))


def remember(state: State) -> None:
    """Stores the runtime of this process as the latest one of this machine."""
    runtime = current()
    state.create(RUNTIMES)
    with suppress(IntegrityError), state.begin() as connection:  # another run of this machine has just stored its own
        connection.execute(delete(RUNTIMES).where(RUNTIMES.c.host == runtime.host))
        connection.execute(insert(RUNTIMES).values(**vars(runtime)))


def latest(state: State) -> Runtime | None:
    """The runtime of the latest run, on whatever machine; None before the first one."""
    row = state.one(select(RUNTIMES).order_by(RUNTIMES.c.at.desc()).limit(1), RUNTIMES)
    if row is None:
        return None
    return Runtime(host=row.host, python=row.python, platform=row.platform, installed=row.installed, at=row.at)
