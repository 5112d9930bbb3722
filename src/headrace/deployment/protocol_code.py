"""The project's code of the serving protocols that a deployment declares: gathered, and loaded once as a server will load it.

    <copy>/protocols/code/               of the project's code, what the protocols need
    <copy>/protocols/requirements.txt    the distributions that it imports, or that hold the protocols, as they are here

It is the code that runs when a version is deployed, as `hr.Serve` itself is, and no part of what was registered.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from headrace.core import processes
from headrace.core.errors import DataError, DeclarationError
from headrace.environments.importing import own_names, roots
from headrace.serving.protocol_check import ProtocolRefusal
from headrace.serving.protocols.from_outside import CODE, is_module
from headrace.training import code, code_slice

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from headrace.training.code_slice import Needed
    from headrace.training.package import Origin

REQUIREMENTS = "requirements.txt"
LIMIT = 600.0  # seconds that loading may take


@contextmanager
def protocol_code(names: Sequence[str], origin: Origin, *, model: str) -> Generator[Path | None]:
    """A folder with what servers need of the project for these protocols, which were loaded from it. It goes at the end.

    Args:
        names: as `hr.Serve(protocols=…)` declares them.
        origin: the project.
        model: that is to be served, for what is raised.

    Yields:
        The folder; None where there are no protocols, or they need nothing.

    Raises:
        DeclarationError: a server could not start with them; it names the model, the protocol, the reason and what to do.
        DataError: the code is too large.
    """
    if not names:
        yield None
        return
    with TemporaryDirectory(prefix="headrace-protocols-") as scratch:
        place = Path(scratch).resolve()
        folder, refusal = _gathered(place, names, origin)
        if refusal is not None:
            raise DeclarationError(
                f"model {model!r}: {refusal.reason}",
                findings=refusal.findings,
                hint=refusal.hint or _way(refusal, origin),
            )
        yield folder if any(folder.iterdir()) else None


def _gathered(scratch: Path, names: Sequence[str], origin: Origin) -> tuple[Path, ProtocolRefusal | None]:
    """What the protocols need; all of the project's code where they do not load with what can be told from their text."""
    part = _part(names, origin)
    folder = scratch / "needed"
    left_out = _write(folder, names, origin, part)
    refusal = _load(folder, names, origin, left_out)
    if refusal is None or not refusal.raised or part is None:
        return folder, refusal
    whole = scratch / "whole"
    try:
        left_out = _write(whole, names, origin, None)
    except DataError:  # what is wrong with the part is nearer to the reason than the size of the whole
        return folder, refusal
    return whole, _load(whole, names, origin, left_out)


def _part(names: Sequence[str], origin: Origin) -> Needed | None:
    """Their modules, and what these import; of the project's own module, which declares everything else, what they need."""
    places = [(module, name) for module, _, name in (each.partition(":") for each in _own(names, origin))]
    return code_slice.needed(
        origin.folder,
        [(module, name) for module, name in places if module == origin.module],
        modules=[module for module, _ in places if module != origin.module],
    )


def _own(names: Sequence[str], origin: Origin) -> list[str]:
    """Those that are in a module of the project."""
    return [name for name in names if is_module(origin.folder, _module(name))]


def _module(name: str) -> str:
    return name.partition(":")[0]


def _write(folder: Path, names: Sequence[str], origin: Origin, part: Needed | None) -> tuple[str, ...]:
    """Writes the folder, with the part of the project's code or all of it; gives the files that did not come along."""
    folder.mkdir()
    own = _own(names, origin)
    imported = {_module(name).partition(".")[0] for name in names if name not in own}
    left_out = tuple[str, ...]()
    if own:
        left_out = code.copy(
            origin.folder,
            folder / CODE,
            module=origin.module,
            leave_out=origin.leave_out,
            needed=part,
            names=origin.names,
        )
        imported |= part.imports if part else _imports(folder / CODE, own)
    needed = code.distributions(imported - set(sys.stdlib_module_names)) - {"headrace"}
    if needed:
        _, *pinned = code.pinned(needed)
        (folder / REQUIREMENTS).write_text("\n".join(pinned) + "\n", encoding="utf-8")
    return left_out


def _imports(copied: Path, own: Sequence[str]) -> set[str]:
    """The top-level modules from outside that the packages of the protocols import."""
    return {
        name
        for root in roots(copied)
        for each in own
        if is_module(root, _module(each))
        for name in code.imports(root, _module(each))
    } - own_names(copied)


def _load(folder: Path, names: Sequence[str], origin: Origin, left_out: Sequence[str]) -> ProtocolRefusal | None:
    """Loads them as a server does: in a process of its own, away from the project's folder."""
    with TemporaryDirectory(prefix="headrace-protocols-") as scratch:
        answer = Path(scratch).resolve() / "answer"
        started = processes.start(
            processes.module("headrace.serving.protocol_check", str(folder / CODE), str(answer), *names),
            cwd=scratch,
            stdin=processes.NOTHING,
            stdout=processes.NOTHING,
            stderr=processes.PIPE,
        )
        try:
            said = started.communicate(timeout=LIMIT)[1].decode(errors="replace").strip().splitlines()
        except processes.LateError:
            started.kill()
            started.communicate()
            said = [f"it did not end within {LIMIT:.0f} s"]
        try:
            found = cast("dict[str, Any] | None", json.loads(answer.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            last = f": {said[-1]}" if said else ""
            return ProtocolRefusal(
                reason=f"Serve(protocols={list(names)!r}): loading ended the process with {started.returncode}{last}.",
                raised=True,
            )
    if found is None:
        return None
    refusal = replace(ProtocolRefusal(**found), findings=tuple(found["findings"]))
    return _with_left_out(_at_home(refusal, folder / CODE, origin), left_out)


def _at_home(refusal: ProtocolRefusal, copied: Path, origin: Origin) -> ProtocolRefusal:
    """The same, with the files where their author has them."""

    def told(text: str) -> str:
        return text.replace(f"{copied}/", f"{origin.folder}/")

    return replace(refusal, reason=told(refusal.reason), findings=tuple(told(each) for each in refusal.findings))


def _with_left_out(refusal: ProtocolRefusal, left_out: Sequence[str]) -> ProtocolRefusal:
    """The same; where a module is missing that git does not count, that is said to be the reason."""
    for name in left_out:
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".").removeprefix("src.")
        if name.endswith(".py") and f"'{module}'" in refusal.reason:
            return replace(
                refusal,
                reason=f"{refusal.reason} {name!r} does not travel: it is not among the files that git counts, or is called "
                "as a secret is.",
                hint=f"If {name!r} holds no secret: git add --force {name}. Outside of git, give it another name.",
            )
    return refusal


def _way(refusal: ProtocolRefusal, origin: Origin) -> str:
    """What to do where a module raised."""
    if refusal.missing and refusal.missing.partition(".")[0] not in own_names(origin.folder):
        return (
            f"Install the package that has {refusal.missing!r} here and where servers run: pip install … "
            "Then: headrace run deploy"
        )
    return "Correct the module, or take the protocol out of hr.Serve(protocols=…). Then: headrace run deploy"
