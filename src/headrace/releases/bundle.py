"""A release as one folder: its code, its lock file, the wheels of the locked versions, an image file, and a manifest of all files.

The manifest is a function of the release and of the wheels: the same ones give the same bytes. A signature over it is an in-toto
statement with the predicate "release", https://github.com/in-toto/attestation/blob/main/spec/predicates/release.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from headrace.core.errors import DataError
from headrace.environments.lock_file import NAME as LOCK
from headrace.environments.lock_file import read_lock
from headrace.releases.attestation import STATEMENT, seal, unseal
from headrace.releases.attestation import verify as verify_attestation
from headrace.releases.image_file import DOCKERFILE, IGNORE, IGNORED, image_file, problems
from headrace.releases.wheelhouse import requirements, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from headrace.environments.signing_keys import PublicKey

FORMAT = 1
MANIFEST, SIGNATURE, ATTESTATION = "bundle.json", "bundle.sig.json", "attestation.json"
WHEELS, HASHED, PROJECT = "wheels", "wheels.lock", "project"
PREDICATE = "https://in-toto.io/attestation/release/v0.1"
LARGEST = 32 * 2**20  # bytes of a manifest, an envelope or a lock file that are read
MOST = 100_000  # files


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a bundle says that it is.

    Attributes:
        project: the name of the project.
        release: the tag.
        environment: the highest environment of the project, which the image serves.
        commit: git's id of the commit.
        tree: git's id of the project's tree in it.
        lock: the SHA-256 of the lock file.
        python: the version of Python that the wheels are for: `3.12`.
        platform: the system and the processor that they are for: `Linux x86_64`.
        base: the image that the image file is built on.
        attested_by: the key that attested the test of the commit; None where no attestation is asked for.
        files: path → SHA-256 of every other file but the signature.
    """

    project: str
    release: str
    environment: str
    commit: str
    tree: str
    lock: str
    python: str
    platform: str
    base: str
    attested_by: str | None
    files: Mapping[str, str]

    def text(self) -> str:
        """The manifest as JSON."""
        said = {"format": FORMAT, **asdict(self), "files": dict(sorted(self.files.items()))}
        return f"{json.dumps(said, indent=1, sort_keys=True)}\n"

    @staticmethod
    def of(text: str) -> Manifest:
        """Reads a manifest.

        Raises:
            DataError: it is none, or names a path that leads out of the bundle.
        """
        try:
            said: Any = json.loads(text, object_pairs_hook=_once)
            if said.pop("format") != FORMAT:
                raise ValueError("format")  # noqa: TRY301
            if set(said) != {each.name for each in fields(Manifest)}:
                raise ValueError("other keys")  # noqa: TRY301
            texts = [said[each.name] for each in fields(Manifest) if each.name not in ("files", "attested_by")]
            texts += [*said["files"].values(), said["attested_by"] or ""]
            if not all(isinstance(each, str) for each in texts):
                raise TypeError("a value is no text")  # noqa: TRY301
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{MANIFEST} is no manifest of a release: {type(error).__name__}: {error}") from error
        for path in cast("Mapping[str, str]", said["files"]):
            if not _is_plain(path) or path in (MANIFEST, SIGNATURE):
                raise DataError(f"{MANIFEST} names {path!r}, which is no path inside the bundle.")
        return Manifest(**said)


@dataclass(frozen=True, kw_only=True)
class CheckedBundle:
    """A bundle that was checked.

    Attributes:
        manifest: what it says that it is; None where that cannot be read.
        signed_by: the trusted key that signed the manifest; None where there is no signature.
        problems: what is wrong, a line each; empty where it is whole.
    """

    manifest: Manifest | None
    signed_by: str | None
    problems: tuple[str, ...]


def complete(folder: Path, manifest: Manifest) -> Manifest:
    """Adds what follows from the rest of a bundle: the hashed lock file, the image file, and the manifest.

    Args:
        folder: with `requirements.lock`, `wheels/`, `project/` and, where there is one, `attestation.json`.
        manifest: without `files`.

    Returns:
        The manifest with all files.

    Raises:
        DataError: a wheel is missing, or one is there that is not locked; or a file is none that a bundle can have.
    """
    lock = (folder / LOCK).read_text(encoding="utf-8")
    wheels = {file.name: sha256(file) for file in (folder / WHEELS).iterdir()}
    try:
        hashed = requirements(list(read_lock(lock)), wheels)
    except ValueError as error:
        raise DataError(f"the wheels are not those of {LOCK}: {error}.") from error
    (folder / HASHED).write_text(hashed, encoding="utf-8")
    (folder / DOCKERFILE).write_text(_image_file(manifest), encoding="utf-8")
    (folder / IGNORE).write_text(IGNORED, encoding="utf-8")
    found, strange = _files(folder)
    if strange:
        raise DataError(f"a bundle has plain files alone: {strange[0]}.", findings=strange[1:])
    files = {path: sha256(folder / path) for path in sorted(found)}
    done = replace(manifest, files=files)
    (folder / MANIFEST).write_text(done.text(), encoding="utf-8")
    return done


def sign(folder: Path, key: str, private: str) -> None:
    """Signs the manifest of a bundle.

    Args:
        folder: the bundle.
        key: the name of the key.
        private: the private key.

    Raises:
        ConfigError: this is no private key.
    """
    content = (folder / MANIFEST).read_bytes()
    manifest = Manifest.of(content.decode())
    (folder / SIGNATURE).write_text(f"{seal(_statement(content, manifest), key, private)}\n", encoding="utf-8")


def check(folder: Path, trusted: Sequence[PublicKey], *, python: str, platform: str) -> CheckedBundle:
    """Checks a bundle: that every file is there, none beside, each as the manifest says, and that they belong together.

    Args:
        folder: the bundle.
        trusted: the keys whose signatures count.
        python: the version of Python here, `3.12`.
        platform: the system and the processor here: `Linux x86_64`.
    """
    try:
        content = _read(folder / MANIFEST)
        manifest = Manifest.of(content.decode(errors="replace"))
    except DataError as error:
        return CheckedBundle(manifest=None, signed_by=None, problems=(error.what,))
    found, wrong = _files(folder)
    wrong += [f"{path} is not in the manifest" for path in sorted(found - manifest.files.keys())]
    wrong += [f"{path} is missing" for path in sorted(manifest.files.keys() - found)]
    wrong += [f"{path} is nothing of a bundle" for path in sorted(manifest.files) if not _belongs(path)]
    there = sorted(found & manifest.files.keys())
    wrong += [f"{path} was changed" for path in there if sha256(folder / path) != manifest.files[path]]
    if (manifest.python, manifest.platform) != (python, platform):
        wrong.append(
            f"its wheels are for Python {manifest.python} on {manifest.platform}, here is {python} on {platform}"
        )
    signed_by, unsigned = _signed(folder, content, manifest, trusted)
    wrong += unsigned
    if not wrong:  # what follows reads the files
        wrong += [*_lock(folder, manifest), *_image(folder, manifest), *_attested(folder, manifest, trusted)]
    return CheckedBundle(manifest=manifest, signed_by=signed_by, problems=tuple(wrong))


def _belongs(path: str) -> bool:
    """Whether a bundle has such a file: builders of images read others, too, such as a `Containerfile`."""
    inside = path.partition("/")
    if inside[0] == WHEELS:
        return path.count("/") == 1 and path.endswith(".whl")
    return inside[0] == PROJECT if inside[1] else path in (LOCK, HASHED, DOCKERFILE, IGNORE, ATTESTATION)


def _lock(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Whether the wheels are those of the lock file, and that is the release's."""
    paths = manifest.files
    if paths.get(LOCK) != manifest.lock or paths.get(f"{PROJECT}/{LOCK}") != manifest.lock:
        yield f"{LOCK} is not that of the release"
        return
    wheels = {
        path.removeprefix(f"{WHEELS}/"): digest for path, digest in paths.items() if path.startswith(f"{WHEELS}/")
    }
    try:
        locked = list(read_lock(_read(folder / LOCK).decode()))
        if _read(folder / HASHED).decode() != requirements(locked, wheels):
            yield f"{HASHED} does not have the hashes of the wheels"
    except (DataError, ValueError) as error:
        yield f"the wheels are not those of {LOCK}: {error}"


def _image(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Whether the image file is the one that the manifest gives, and keeps the rules."""
    try:
        text, ignored = _read(folder / DOCKERFILE).decode(errors="replace"), _read(folder / IGNORE).decode()
    except (DataError, ValueError) as error:
        yield str(error)
        return
    if text != _image_file(manifest):
        yield f"{DOCKERFILE} is not the one of this release"
    if ignored != IGNORED:
        yield f"{IGNORE} is not the one of this release"
    yield from (f"{DOCKERFILE}, {problem}" for problem in problems(text, manifest.files.keys()))


def _attested(folder: Path, manifest: Manifest, trusted: Sequence[PublicKey]) -> Iterator[str]:
    """Whether the attestation in it, where there is one, is of this very release."""
    if ATTESTATION not in manifest.files:
        if manifest.attested_by is not None:
            yield f"{ATTESTATION} is missing"
        return
    try:
        found = verify_attestation(_read(folder / ATTESTATION).decode(errors="replace"), trusted)
    except DataError as error:
        yield f"{ATTESTATION}: {error.what}"
        return
    if found is None:
        yield f"{ATTESTATION} is not signed by {_names(trusted)}"
        return
    attested, key = found
    of = (attested.project, attested.commit, attested.tree, attested.lock, key)
    if of != (manifest.project, manifest.commit, manifest.tree, manifest.lock, manifest.attested_by):
        yield f"{ATTESTATION} is of another release"
    if attested.failed or not attested.passed:
        yield f"{ATTESTATION} is of a test that did not pass"


def _signed(
    folder: Path, content: bytes, manifest: Manifest, trusted: Sequence[PublicKey]
) -> tuple[str | None, list[str]]:
    """The key that signed the manifest, and what is wrong with the signature."""
    if not os.path.lexists(folder / SIGNATURE):
        return None, []
    try:
        found = unseal(_read(folder / SIGNATURE).decode(errors="replace"), trusted)
    except DataError as error:
        return None, [error.what]
    if found is None:
        return None, [f"{SIGNATURE} is not signed by {_names(trusted)}"]
    if found[0] != _statement(content, manifest):
        return None, [f"{SIGNATURE} is of another manifest"]
    return found[1], []


def _statement(content: bytes, manifest: Manifest) -> bytes:
    subject = {"name": MANIFEST, "digest": {"sha256": hashlib.sha256(content).hexdigest()}}
    purl = f"pkg:generic/{manifest.project}@{manifest.release}"
    statement = {
        "_type": STATEMENT,
        "subject": [subject],
        "predicateType": PREDICATE,
        "predicate": {"purl": purl, "releaseId": manifest.commit},
    }
    return json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()


def _image_file(manifest: Manifest) -> str:
    return image_file(project=manifest.project, release=manifest.release, env=manifest.environment, base=manifest.base)


def _files(folder: Path) -> tuple[set[str], list[str]]:
    """The plain files of a bundle but the manifest and its signature, and what else is there. No link is followed."""
    found: set[str] = set()
    strange: list[str] = []
    for here, folders, names in os.walk(folder):
        for name in sorted((*folders, *names)):
            path = Path(here, name)
            inside = path.relative_to(folder).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                continue
            if not stat.S_ISREG(mode):
                strange.append(f"{inside} is a link" if stat.S_ISLNK(mode) else f"{inside} is no plain file")
            elif path.lstat().st_nlink > 1:
                strange.append(f"{inside} is also a file elsewhere")
            elif inside not in (MANIFEST, SIGNATURE):
                found.add(inside)
        if len(found) > MOST:
            return found, [f"there are more than {MOST:,} files"]
    return found, strange


def _read(file: Path) -> bytes:
    """A plain file that is not huge.

    Raises:
        DataError: it is not there, a link, or too large.
    """
    try:
        about = file.lstat()
    except OSError:
        raise DataError(f"{file.name} is missing") from None
    if not stat.S_ISREG(about.st_mode):
        raise DataError(f"{file.name} is no plain file")
    if about.st_size > LARGEST:
        raise DataError(f"{file.name} has more than {LARGEST >> 20} MiB")
    return file.read_bytes()


def _is_plain(path: str) -> bool:
    parts = PurePosixPath(path)
    return (
        bool(path) and not parts.is_absolute() and ".." not in parts.parts and str(parts) == path and "\0" not in path
    )


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose keys are there once each: of two, readers would take different ones."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _names(keys: Sequence[PublicKey]) -> str:
    return ", ".join(key.name for key in keys) or "any trusted key: there is none"
