"""What is installed, against the lock file of the code that is to run: `[env.prod] runtime = "locked"`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, cast

from headrace.core.errors import RefusedError
from headrace.environments.lock_file import LARGEST, NAME, read_lock, same_version
from headrace.workspace import runtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SHOWN = 5
PYTHON_VERSION = ".python-version"  # as pyenv and uv read it
PYPROJECT = "pyproject.toml"
NUMBER = re.compile(r"(?:cpython-|python-)?([0-9]+(?:\.[0-9]+){0,2})")


@dataclass(frozen=True, kw_only=True)
class LockComparison:
    """The runtime of this process, against a lock file.

    Attributes:
        locked: how many distributions the lock file pins for this machine.
        different: what is not as it says, a line each: `numpy 2.1.0, locked 2.0.0`. Python comes first.
        extra: distributions that are installed and not locked.
        unusable: why nothing can be compared; empty where it can.
    """

    locked: int = 0
    different: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    unusable: str = ""

    def check(self, env: str, code: str) -> None:
        """Refuses to run code with another runtime than the locked one.

        Args:
            env: the name of the environment that asks for it.
            code: that was to run, for the message.

        Raises:
            RefusedError: something differs, or there is nothing to compare with.
        """
        if self.unusable:
            raise RefusedError(
                f"{env} runs with locked versions only, and {self.unusable} in {code}. Nothing was done.",
                hint=f"pip freeze --exclude-editable > {NAME}, commit it, and cut a release of that commit.",
            )
        if not self.different:
            return
        rest = len(self.different) - SHOWN
        raise RefusedError(
            f"{env} runs with locked versions only, and {len(self.different)} of what is installed "
            f"{'is' if len(self.different) == 1 else 'are'} not as {NAME} of {code} says. Nothing was done.",
            findings=(*self.different[:SHOWN], *([f"and {rest} more"] if rest > 0 else [])),
            hint=f"pip install --no-index --find-links wheels -r {NAME}, with the wheels of: headrace release bundle",
        )


def compare(folder: Path) -> LockComparison:
    """Compares what this process can import with the lock file in a folder, and Python with what the project asks for.

    It reads the names of the installed distributions alone, not their files.

    Args:
        folder: the project's, in the version that is to run.
    """
    file = folder / NAME
    if not file.is_file():
        return LockComparison(unusable=f"there is no {NAME}")
    if file.stat().st_size > LARGEST:
        return LockComparison(unusable=f"{NAME} has more than {LARGEST >> 20} MiB")
    try:
        locked = [*read_lock(file.read_text(encoding="utf-8"))]
    except ValueError as error:
        return LockComparison(unusable=f"{NAME} cannot be read ({error})")
    loose = [each.name for each in locked if each.version is None]
    if loose or not locked:
        return LockComparison(unusable=f"{NAME} pins no version of {loose[0]}" if loose else f"{NAME} is empty")
    now = runtime.current()
    pins = {_canonical(each.name): each.version or "" for each in locked}
    if "headrace" not in pins:  # it runs every line of a project: a file without it is no list of what runs
        return LockComparison(unusable=f"{NAME} does not pin headrace, so it is not all that runs")
    return LockComparison(
        locked=len(pins),
        different=(*_python(folder, now.python), *_different(pins, now.installed)),
        extra=tuple(name for name in now.installed if name not in pins),
    )


def python_asked(folder: Path) -> tuple[str | None, str | None]:
    """The Python that a project asks for: what `.python-version` says, and `requires-python` of its `pyproject.toml`."""
    exact = bounds = None
    if (folder / PYTHON_VERSION).is_file():
        lines = (folder / PYTHON_VERSION).read_text(encoding="utf-8", errors="replace").split()
        exact = lines[0] if lines else None
    if (folder / PYPROJECT).is_file():
        try:
            said = tomllib.loads((folder / PYPROJECT).read_text(encoding="utf-8", errors="replace"))
        except tomllib.TOMLDecodeError:
            return exact, None
        table = said.get("project")
        value = cast("Mapping[str, object]", table).get("requires-python") if isinstance(table, dict) else None
        bounds = value if isinstance(value, str) else None
    return exact, bounds


def _python(folder: Path, here: str) -> Iterator[str]:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    exact, bounds = python_asked(folder)
    if exact is not None:
        number = NUMBER.fullmatch(exact)
        if number is None or here.split(".")[: number[1].count(".") + 1] != number[1].split("."):
            yield f"python {here}, {PYTHON_VERSION} says {exact}"
    if bounds is not None:
        try:
            fits = SpecifierSet(bounds).contains(here, prereleases=True)
        except InvalidSpecifier:
            fits = False
        if not fits:
            yield f"python {here}, {PYPROJECT} requires {bounds}"


def _different(pins: Mapping[str, str], installed: Mapping[str, str]) -> Iterator[str]:
    for name, pinned in sorted(pins.items()):
        found = installed.get(name) or _otherwise_installed(name)
        if found is None:
            yield f"{name} is not installed, locked {pinned}"
        elif not same_version(found, pinned):
            yield f"{name} {found}, locked {pinned}"


def _otherwise_installed(name: str) -> str | None:
    """The version of a distribution without a `.dist-info` folder, as those of some Linux distributions."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _canonical(name: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)
