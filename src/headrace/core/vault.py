"""Secrets of this process: kept in its memory, and in no environment variable that model code can read.

A command, a server and a worker call `close` before they import code of a project or a model. From then on the caller's
token, the configuration variables, and each variable that the configuration names as a secret are only here: not in
`os.environ`, not in what the system shows of the process (`/proc/<pid>/environ`), not in the environment of its
children. A child that needs some of them gets them through a pipe (`core.processes`). A program that uses Headrace as a
library is not closed: its environment is its own.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

HANDED = "HEADRACE_HANDED"  # the descriptor of the pipe in which a parent left secrets
TOKEN = "HEADRACE_TOKEN"  # noqa: S105  # the name of the variable
OURS = "HEADRACE_"
OF_S3 = ("MLFLOW_S3_", "MLFLOW_BOTO_", "MLFLOW_EXPERIMENTAL_S3_")  # of MLflow's client
CONFIGURATION = "HEADRACE_ENV__"  # the rest of such a name says of what
# What libraries read by themselves: credentials, and where they go with them.
LIBRARIES = ("MLFLOW_TRACKING_", *OF_S3, "AWS_", "AZURE_", "GOOGLE_", "DATABRICKS_", "HF_")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")  # a URL that may have a password


class _Vault:
    def __init__(self) -> None:
        self.closed = False
        self.held: dict[str, str] = {}
        self.lendable: set[str] = set()


_vault = _Vault()
# The token of whoever is acted for in this thread or task; None: the operating system's user; empty: whoever started it.
_bearer: ContextVar[str | None] = ContextVar("bearer", default="")


def close() -> None:
    """Takes in what the parent handed over, the token, and configuration; from now on secrets leave the environment."""
    _vault.closed = True
    hold(TOKEN, *(name for name in os.environ if name.startswith(CONFIGURATION)))
    descriptor = os.environ.pop(HANDED, "")
    if descriptor.isdecimal():
        with suppress(OSError, ValueError), os.fdopen(int(descriptor), "rb") as pipe:
            _vault.held |= json.loads(pipe.read())  # says more than what a child inherits


def hold(*names: str) -> None:
    """Takes variables out of the environment, as far as they are there. Does nothing in a process that was not closed."""
    if not _vault.closed:
        return
    there = [name for name in names if name in os.environ]
    for name in there:
        _vault.held[name] = os.environ[name]
        del os.environ[name]
    if there:
        _wipe(there)


def read(name: str) -> str | None:
    """The value of a variable, wherever it is; None where it was not given. It is taken out of the environment."""
    hold(name)
    if name == TOKEN and _is_borne():
        return _bearer.get()
    return _vault.held.get(name, os.environ.get(name))


def starting(prefix: str) -> dict[str, str]:
    """Every variable whose name starts so, with its value."""
    hold(*(name for name in os.environ if name.startswith(prefix)))
    return {name: value for name, value in {**os.environ, **_vault.held}.items() if name.startswith(prefix)}


def hold_credentials() -> None:
    """Takes out, too, what libraries read by themselves: for a process that lends it to them while it has no model yet."""
    hold(*filter(_is_of_a_library, os.environ))


def credentials() -> dict[str, str]:
    """The same, for a child that downloads."""
    known = {**os.environ, **_vault.held}
    return {name: known[name] for name in known if _is_of_a_library(name)}


def _is_of_a_library(name: str) -> bool:
    return name.startswith(LIBRARIES) or name.upper() in PROXIES


def held() -> Mapping[str, str]:
    """What is kept here: what a child is handed that goes on with the same command."""
    token = read(TOKEN)
    others = {name: value for name, value in _vault.held.items() if name != TOKEN}
    return others if token is None or (not _vault.closed and not _is_borne()) else {**others, TOKEN: token}


def _is_borne() -> bool:
    return _bearer.get() != ""


@contextmanager
def bearing(token: str | None) -> Generator[None]:
    """Acts as whoever a token belongs to meanwhile, in this thread or task; None: as the operating system's user."""
    before = _bearer.set(token)
    try:
        yield
    finally:
        _bearer.reset(before)


def lend(*names: str) -> None:
    """Lets `lent` lend these, too: a store that MLflow reaches takes them."""
    _vault.lendable.update(names)


@contextmanager
def lent() -> Generator[None]:
    """What libraries read of it by themselves, and what `lend` named, is in the environment meanwhile.

    For while they reach a store, and no code of a model runs.
    """
    put = {
        name: value
        for name, value in _vault.held.items()
        if name not in os.environ and not name.startswith(OURS) and (_is_of_a_library(name) or name in _vault.lendable)
    }
    os.environ.update(put)
    try:
        yield
    finally:
        for name in put:
            os.environ.pop(name, None)


def _wipe(names: list[str]) -> None:
    """Overwrites variables where the system shows what the process was started with: taking them out leaves that as it is."""
    if sys.platform != "linux":
        return
    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        start, end = int(fields[47]), int(fields[48])  # env_start and env_end; proc(5) counts two fields more before
    except (OSError, IndexError, ValueError):
        return
    if start and end > start:
        block = ctypes.string_at(start, end - start)
        for place, entry in _entries(block):
            if entry.partition(b"=")[0] in {os.fsencode(name) for name in names}:
                ctypes.memset(start + place, 0, len(entry))


def _entries(block: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    for entry in block.split(b"\0"):
        yield place, entry
        place += len(entry) + 1
