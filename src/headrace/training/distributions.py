"""Installed distributions: their modules, their files, and their requirements."""

from __future__ import annotations

import csv
import json
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from inspect import getmodulename
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@cache
def owners(project: Path | None = None) -> dict[str, list[str]]:
    """Top-level module → the distributions that hold it; not those that are installed from the project's own folder."""
    if project is not None:
        own = {name for name, folder in _folders().items() if folder == project.resolve()} - {"headrace"}
        return {module: [name for name in names if name not in own] for module, names in owners().items()}
    found: dict[str, set[str]] = {}
    for each in metadata.distributions():
        for module in _modules(each):
            found.setdefault(module, set()).add(each.metadata["Name"])
    return {**{module: sorted(names) for module, names in found.items()}, "headrace": ["headrace"]}


def _modules(distribution: metadata.Distribution) -> set[str]:
    """The top-level modules of a distribution: as it declares them, else by the paths of its files.

    As `importlib.metadata.packages_distributions` finds them, which also looks whether each file is there, and so takes
    seconds where much is installed.
    """
    declared = (distribution.read_text("top_level.txt") or "").split()
    if declared:
        return set(declared)
    listed = distribution.read_text("RECORD")
    paths = (
        map(str, distribution.files or ()) if listed is None else (row[0] for row in csv.reader(listed.splitlines()))
    )
    found: set[str | None] = set()
    for path in paths:
        first, _, rest = path.partition("/")
        found.add(first if rest else getmodulename(first))
    return {name for name in found if name and name.isidentifier() and name != "__pycache__"}


@cache
def infos() -> dict[str, str]:
    """Distribution → the folder of its metadata."""
    return {each.metadata["Name"]: str(getattr(each, "_path", "")) for each in reversed(list(metadata.distributions()))}


@cache
def _folders() -> dict[str, Path]:
    """The distributions that are installed from a folder, editable, and that folder."""
    found: dict[str, Path] = {}
    for name, info in infos().items():
        try:
            said = json.loads((Path(info) / "direct_url.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if said.get("dir_info", {}).get("editable"):
            found[name] = Path(said["url"].removeprefix("file://")).resolve()
    return found


@cache
def editable() -> tuple[str, ...]:
    """Where editable distributions lie that an import hook finds, and no entry of `sys.path`."""
    places: list[str] = []
    for module, names in owners().items():
        if not set(names) <= set(_folders()):
            continue
        try:
            spec = find_spec(module)
        except (ImportError, ValueError):
            continue
        if spec is not None and spec.origin:
            file = Path(spec.origin)
            places.append(str(file.parent.parent if file.name == "__init__.py" else file.parent))
    return tuple(places)


def closure(names: Iterable[str]) -> set[str]:
    """The distributions, and all that they require here."""
    found: dict[str, str] = {}  # normalised → as its metadata name it
    waiting: list[tuple[str, frozenset[str]]] = [(name, frozenset()) for name in names]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (_normal(name), extras) in seen:
            continue
        seen.add((_normal(name), extras))
        for required, more in _required(name, extras):
            waiting.append((required, more))
        try:
            found[_normal(name)] = metadata.distribution(name).metadata["Name"]
        except metadata.PackageNotFoundError:
            continue
    return set(found.values())


@cache
def _required(name: str, extras: frozenset[str]) -> Sequence[tuple[str, frozenset[str]]]:
    from packaging.requirements import InvalidRequirement, Requirement

    found: list[tuple[str, frozenset[str]]] = []
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return ()
    for line in lines:
        try:
            each = Requirement(line)
        except InvalidRequirement:
            continue
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in (extras or {""})):
            found.append((each.name, frozenset(each.extras)))
    return tuple(found)


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
