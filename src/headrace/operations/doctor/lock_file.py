"""The lock file of a project, against what is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from headrace.environments.lock_file import LARGEST, NAME, read_lock, same_version
from headrace.operations.doctor.finding import bounded, failed, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from headrace.environments.lock_file import LockedVersion
    from headrace.operations.doctor.finding import CheckFinding

CHECK = "locked versions"
WAY = f"pip install -r {NAME} installs what is locked; pip freeze --exclude-editable > {NAME} locks what is installed."


def lock_file(folder: Path) -> Iterator[CheckFinding]:
    """Whether the lock file is there, pins every distribution, and is what is installed."""
    file = folder / NAME
    if not file.is_file():
        yield warning(
            CHECK,
            f"there is no {NAME}: another machine gets other versions",
            f"pip freeze --exclude-editable > {NAME}, and commit it.",
        )
        return
    if file.stat().st_size > LARGEST:
        yield failed(CHECK, f"{NAME} has more than {LARGEST >> 20} MiB", "It is a text, one requirement a line.")
        return
    try:
        locked = [*read_lock(file.read_text(encoding="utf-8"))]
    except ValueError as error:
        yield failed(CHECK, f"{NAME}: {error}", "Write it anew: one requirement a line, name==version.")
        return
    yield _compared(locked)


def _compared(locked: list[LockedVersion]) -> CheckFinding:
    loose = [each.name for each in locked if each.version is None]
    other = [told for each in locked if each.version is not None and (told := _difference(each, each.version))]
    parts = [f"{len(other):,} differ: {bounded(other)}"] if other else []
    parts += [f"without a version: {bounded(loose)}"] if loose else []
    if parts:
        return warning(CHECK, "; ".join(parts), WAY)
    return ok(CHECK, f"the {len(locked):,} of {NAME} are installed")


def _difference(locked: LockedVersion, pinned: str) -> str:
    """What is installed in place of a locked version; empty where it is that one."""
    try:
        installed = version(locked.name)
    except PackageNotFoundError:
        return f"{locked.name} {pinned} is not installed"
    return "" if same_version(installed, pinned) else f"{locked.name} {installed}, locked {pinned}"
