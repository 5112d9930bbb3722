"""`requirements.lock`: the versions that a project is locked to, a requirement a line, with or without hashes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "requirements.lock"
LARGEST = 8 * 2**20  # bytes
COMMENT = re.compile(r"(^|\s)#.*$")
OPTIONS = re.compile(r"\s--[a-z].*$")  # hashes, at the end of a requirement
ELSEWHERE = re.compile(r"-r|--requirement|-c|--constraint|-e|--editable")  # of another file, or of a folder
HASH = re.compile(r"\s--hash[= ]sha256:([0-9a-f]{64})(?=\s|$)")


@dataclass(frozen=True, kw_only=True)
class LockedVersion:
    """A requirement of a lock file.

    Attributes:
        name: the distribution, as the file writes it.
        version: that it is pinned to; None where it pins none.
        hashes: the SHA-256 of the files that may be installed; empty where the file names none.
    """

    name: str
    version: str | None
    hashes: tuple[str, ...] = ()


def pinned(text: str) -> dict[str, str]:
    """The requirements of a lock file that are for this machine, by the names that PyPI compares → version, `unpinned` without one.

    Raises:
        ValueError: a line is no requirement; the message has its number.
    """
    from packaging.utils import canonicalize_name

    return {canonicalize_name(each.name): each.version or "unpinned" for each in read_lock(text)}


def same_version(one: str, other: str) -> bool:
    """Whether two versions are the same one: `1.0` is `1.0.0`."""
    from packaging.version import InvalidVersion, Version

    if one == other:
        return True
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return False


def read_lock(text: str) -> Iterator[LockedVersion]:
    """The requirements that are for this machine.

    Raises:
        ValueError: a line is none; the message has its number.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    for number, line in _lines(text):
        if ELSEWHERE.match(line):
            raise ValueError(f"line {number} is about versions that are elsewhere: {line[:60]!r}")
        if line.startswith("-"):  # an option: an index, hashes
            continue
        try:
            requirement = Requirement(OPTIONS.sub("", line))
        except InvalidRequirement:
            raise ValueError(f"line {number} is no requirement: {line[:60]!r}") from None
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        pins = [each.version for each in requirement.specifier if each.operator in ("==", "===")]
        pinned = pins[0] if len(pins) == 1 and "*" not in pins[0] and requirement.url is None else None
        yield LockedVersion(name=requirement.name, version=pinned, hashes=tuple(HASH.findall(line)))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Each requirement on one line, with the number of its first line; without comments."""
    begun, parts = 0, list[str]()
    for number, raw in enumerate(text.splitlines(), start=1):
        line = COMMENT.sub("", raw).strip()
        begun = begun or number
        parts.append(line.removesuffix("\\").strip())
        if line.endswith("\\"):
            continue
        if joined := " ".join(part for part in parts if part):
            yield begun, joined
        begun, parts = 0, []
    if joined := " ".join(part for part in parts if part):
        yield begun, joined
