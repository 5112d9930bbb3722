"""The gateway that chains call language models through, said by whoever has opened an environment.

What one thread opens is not used by another one that has opened its own: two environments can be at work in one process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.llm.gateway.gateway import Gateway

ROUTES = "HEADRACE_LLM_ROUTES"  # names a TOML file with [routes.NAME], for models that run outside of a project
Opens = Callable[[], "Gateway | None"]
_lock = Lock()
# The last one counts, as an environment that is opened inside of another one is closed first.
_of_context: ContextVar[tuple[Opens, ...]] = ContextVar("gateways", default=())
_of_process: list[Opens] = []  # for threads that have opened none
_of_files: dict[str, Gateway] = {}  # by what the variable says: a notebook may set it after the first try


def use(opens: Opens) -> None:
    """Says how chains reach language models, until `forget`: those of this thread, and of threads that have opened nothing.

    Args:
        opens: returns the gateway, the same at each call, or None where no routes are configured.
    """
    _of_context.set((*_of_context.get(), opens))
    with _lock:
        _of_process.append(opens)


def forget(opens: Opens) -> None:
    """Takes back what was said to `use`; whoever opened the gateway closes it."""
    _of_context.set(tuple(each for each in _of_context.get() if each != opens))
    with _lock:
        if opens in _of_process:
            _of_process.remove(opens)


def current() -> Gateway | None:
    """The gateway of the environment that is open here; None where no routes are configured.

    Raises:
        ConfigError: the file that `HEADRACE_LLM_ROUTES` names cannot be read.
    """
    with _lock:
        own = [each for each in _of_context.get() if each in _of_process]  # what another thread closed is open no more
        opens = next(reversed([*_of_process, *own]), None)
        if opens is None:
            file = os.environ.get(ROUTES)
            if file and file not in _of_files:
                from headrace.llm.gateway.opening import open_file

                _of_files[file] = open_file(file)
            return _of_files[file] if file else None
    return opens()
