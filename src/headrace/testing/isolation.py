"""What a temporary environment sees of this process: no token, and no connection that a variable sets for a real environment."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.core import vault

if TYPE_CHECKING:
    from collections.abc import Generator

_aside: dict[str, str] = {}
_open: list[object] = []


@contextmanager
def variables_aside() -> Generator[None]:
    """Puts `HEADRACE_TOKEN` and `HEADRACE_ENV__…` aside until the last one that asked for it has ended."""
    mine = object()
    _open.append(mine)
    for name in [each for each in os.environ if each == vault.TOKEN or each.startswith(vault.CONFIGURATION)]:
        if len(_open) == 1:  # later ones were set for a test
            _aside[name] = os.environ.pop(name)
    try:
        yield
    finally:
        _open.remove(mine)
        if not _open:
            for name, value in _aside.items():
                os.environ.setdefault(name, value)
            _aside.clear()
