"""The folders of an environment: whether they can be written, who else could write them, and how much room there is."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.operations.doctor.finding import failed, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.environments.config import Config, Environment
    from headrace.operations.doctor.finding import CheckFinding

LITTLE = 2**30  # bytes


def folders(config: Config, environment: Environment) -> Iterator[CheckFinding]:
    """Of the embedded stores; an object store is none of this machine."""
    places = {"lakehouse folder": environment.lakehouse_root, "state folder": str(environment.root)}
    places |= {"artifacts folder": environment.artifacts_root} if environment.artifacts_declared else {}
    local = {check: Path(place) for check, place in places.items() if "://" not in place}
    for check, folder in local.items():
        yield _written(check, folder)
    yield _room({config.folder, *local.values()})
    yield from _above(config, environment)


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that is seen, in which it would be made.

    What is inside of a folder that may not be entered is not seen; `Path.exists` would raise.
    """
    return next(each for each in (folder, *folder.parents) if os.path.exists(each))  # noqa: PTH110


def _written(check: str, folder: Path) -> CheckFinding:
    """Writes a file that has no name, and is gone at once."""
    nearest = _nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"headrace doctor")
            file.flush()
    except OSError as error:
        who = f"user {os.geteuid()}"
        return failed(
            check, f"{nearest} cannot be written by {who}: {error.strerror}", f"Make {nearest} writable for {who}."
        )
    return ok(check, str(folder))


def _room(places: set[Path]) -> CheckFinding:
    """Of the file system that has the least."""
    least, where = min((shutil.disk_usage(_nearest(folder)).free, str(folder)) for folder in places)
    told = f"{least / 2**30:.1f} GiB free"
    if least > LITTLE:
        return ok("disk", told)
    return warning("disk", f"{told} at {where}", "Make room: what cannot be written is refused as a whole.")


def _above(config: Config, environment: Environment) -> Iterator[CheckFinding]:
    """Whether whoever works here could write the folders of a higher environment, as far as this machine shows it."""
    names = [each.name for each in config.environments]
    for higher in config.environments[names.index(environment.name) + 1 :]:
        local = [higher.root, *([] if "://" in higher.lakehouse_root else [Path(higher.lakehouse_root)])]
        there = [folder for folder in dict.fromkeys(local) if os.path.isdir(folder)]  # noqa: PTH112  # see _nearest
        others = [folder for folder in there if folder.stat().st_uid != os.geteuid()]
        check = f"write to {higher.name}"
        if os.geteuid() == 0 or not there:
            continue  # root may write everything, which says nothing of people
        if writable := [folder for folder in others if os.access(folder, os.W_OK, effective_ids=_can_ask())]:
            yield warning(
                check,
                f"user {os.geteuid()} works in {environment.name} and may write {writable[0]}",
                f"chmod go-w {writable[0]}: only whoever runs {higher.name} writes there.",
            )
        elif others:
            yield ok(check, f"user {os.geteuid()} may not")
        else:
            yield ok(check, f"one user of this machine runs {environment.name} and {higher.name}")


def _can_ask() -> bool:
    return os.access in os.supports_effective_ids
