"""The wheels of a lock file: one for each locked version, from folders or from the package index that pip is set to."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core import processes
from headrace.core.errors import RefusedError, UnavailableError
from headrace.environments.lock_file import same_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from headrace.environments.lock_file import LockedVersion

PIP = ("pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--no-input")
REACHING = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "NETRC")


def gather(locked: Sequence[LockedVersion], into: Path, *, folders: Sequence[Path], index: bool) -> None:
    """Copies the wheel of each locked version into a folder.

    Args:
        locked: the versions, each with the hashes that its wheel may have; without hashes any wheel of the version counts.
        into: an empty folder.
        folders: where wheels are looked for first.
        index: whether those that are not there are downloaded by pip, with its own settings and its own cache.

    Raises:
        RefusedError: a version has no wheel for this Python and this machine, or none with a hash of the lock file.
        UnavailableError: pip could not download; its words are in the message.
    """
    there = [wheel for folder in folders for wheel in sorted(folder.glob("*.whl")) if wheel.is_file()]
    missing: list[LockedVersion] = []
    for each in locked:
        found = _best(each, there)
        if found is None:
            missing.append(each)
        else:
            shutil.copyfile(found, into / found.name)
    if not missing:
        return
    if not index:
        raise RefusedError(
            f"{len(missing)} of {len(locked)} locked versions have no wheel for this Python in {_named(folders)}.",
            findings=[f"{each.name}=={each.version}" for each in missing],
            hint="pip wheel --wheel-dir FOLDER -r requirements.lock makes them; without --no-index they are downloaded.",
        )
    _download(missing, into)
    arrived = sorted(into.glob("*.whl"))
    for each in missing:
        if _best(each, arrived) is None:
            raise RefusedError(f"what the index gives for {each.name}=={each.version} has no hash of the lock file.")


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def requirements(locked: Iterable[LockedVersion], wheels: Mapping[str, str]) -> str:
    """The locked versions with the hashes of their wheels, as `pip install --require-hashes` reads them.

    Args:
        locked: the versions.
        wheels: name of a wheel → its SHA-256.

    Raises:
        ValueError: a version has no wheel, or a wheel belongs to none; the message names it.
    """
    from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

    of: dict[str, tuple[str, str, str]] = {}
    for wheel, digest in sorted(wheels.items()):
        try:
            name, version, *_ = parse_wheel_filename(wheel)
        except InvalidWheelFilename:
            raise ValueError(f"{wheel} is no name of a wheel") from None
        if name in of:
            raise ValueError(f"{wheel} is a second wheel of {name}")
        of[name] = (wheel, str(version), digest)
    lines: list[str] = []
    for each in sorted(locked, key=lambda each: canonicalize_name(each.name)):
        name = canonicalize_name(each.name)
        wheel, version, digest = of.pop(name, ("", "", ""))
        if not wheel or not same_version(version, each.version or ""):
            raise ValueError(f"there is no wheel of {name}=={each.version}")
        if each.hashes and digest not in each.hashes:
            raise ValueError(f"{wheel} has none of the hashes that the lock file names")
        lines.append(f"{name}=={each.version} --hash=sha256:{digest}\n")
    if of:
        raise ValueError(f"{next(iter(of.values()))[0]} is not locked")
    return "".join(lines)


def _best(locked: LockedVersion, wheels: Sequence[Path]) -> Path | None:
    """The wheel of a version that fits this machine best, with a hash of the lock file where that names some."""
    from packaging.tags import sys_tags
    from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

    order = {tag: rank for rank, tag in enumerate(sys_tags())}
    fitting: list[tuple[int, str, Path]] = []
    for wheel in wheels:
        if not wheel.name.lower().startswith(locked.name[0].lower()):
            continue
        try:
            name, version, _, tags = parse_wheel_filename(wheel.name)
        except InvalidWheelFilename:
            continue
        ranks = [order[tag] for tag in tags if tag in order]
        if name != canonicalize_name(locked.name) or not same_version(str(version), locked.version or "") or not ranks:
            continue
        if not locked.hashes or sha256(wheel) in locked.hashes:
            fitting.append((min(ranks), wheel.name, wheel))
    return min(fitting)[2] if fitting else None


def _download(missing: Sequence[LockedVersion], into: Path) -> None:
    hashed = all(each.hashes for each in missing)  # pip takes hashes for all or for none
    with tempfile.TemporaryDirectory(prefix="headrace-wheels-") as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(
            "".join(
                " ".join(
                    (f"{each.name}=={each.version}", *(f"--hash=sha256:{digest}" for digest in each.hashes if hashed))
                )
                + "\n"
                for each in missing
            ),
            encoding="utf-8",
        )
        means = {name: os.environ[name] for name in os.environ if name in REACHING or name.startswith("PIP_")}
        words = (*PIP[1:], "--dest", str(into), "--requirement", str(wanted))
        done = processes.run(
            processes.module(PIP[0], *words), folder=Path(folder), env={**processes.environment(), **means}
        )
    if done.returncode:
        from headrace.core import credentials

        said = [credentials.hidden(line) for line in done.stderr.decode(errors="replace").strip().splitlines()]
        raise UnavailableError(
            f"pip could not download the wheels of {len(missing)} locked versions.",
            findings=[line for line in said if not line.startswith("WARNING")] or said,
            hint="What has no wheel: pip wheel --wheel-dir FOLDER -r requirements.lock, then --wheels FOLDER.",
        )


def _named(folders: Sequence[Path]) -> str:
    return ", ".join(str(folder) for folder in folders) or "any folder: --wheels names one"
