"""Which tables of another environment can be read: those whose name matches one of its patterns."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def is_readable(name: str, patterns: Iterable[str]) -> bool:
    """Whether a table `schema.table` matches a pattern; `*` matches any characters, also the dot."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
