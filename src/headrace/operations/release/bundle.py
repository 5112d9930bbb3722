"""A release as one folder that can be carried to where it runs: written, and checked."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError, DataError, NotFoundError, RefusedError
from headrace.environments import code
from headrace.environments.checkout import checkout
from headrace.environments.lock_file import NAME as LOCK
from headrace.environments.lock_file import read_lock
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.release.evidence import ReleaseReport, verify_release
from headrace.operations.signing import find_signer, private_key
from headrace.releases import attestation_notes, bundle, image_file, wheelhouse
from headrace.releases.attestation import verify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.environments.lock_file import LockedVersion
    from headrace.releases.bundle import Manifest
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class BundleReport(Record):
    """A bundle of a release.

    Attributes:
        folder: where it is.
        release: the tag; None where its manifest cannot be read.
        commit: git's id of the commit; None where its manifest cannot be read.
        python: the version of Python that its wheels are for; None where its manifest cannot be read.
        wheels: how many wheels it has.
        files: how many files it has beside the manifest and its signature.
        size: of all of these, in bytes.
        signed_by: the key that signed its manifest; None where nobody did.
        wheels_checked_by: what its wheels are checked against: the hashes of the `lock` file, the `signature`, or its own
            `manifest` alone, which says that nothing was damaged, and not who put it there.
        problems: what is wrong, a line each; empty where it is whole.
    """

    folder: Path
    release: str | None
    commit: str | None
    python: str | None
    wheels: int
    files: int
    size: int
    signed_by: str | None
    wheels_checked_by: str
    problems: tuple[str, ...]


@operation("release bundle", of="version")
def bundle_release(
    workspace: Workspace,
    version: str,
    *,
    output: Path,
    wheels: Sequence[Path] = (),
    no_index: bool = False,
    base: str | None = None,
    key: str | None = None,
) -> BundleReport:
    """Writes a release that may run into a folder: its code, its lock file, the wheels of it, an image file, and a manifest.

    The code of the release is not run. Wheels are those for the Python and the machine of this process.

    Args:
        workspace: the environment that runs releases.
        version: the tag, or its number.
        output: a folder that is made here; one that is there has to be empty.
        wheels: folders in which wheels are looked for before they are downloaded.
        no_index: whether nothing is downloaded.
        base: the image that the image file is built on, with a tag or a digest; None: Python's own of this version.
        key: the name of the key that signs the manifest; None: the only one whose private part is here, or none.

    Raises:
        NotFoundError: there is no such release.
        RefusedError: it may not run, has no lock file that pins everything, a link is in it, or a wheel is missing.
        ConfigError: the folder is not empty, one with wheels is not there, or the base is not pinned.
        UnavailableError: wheels cannot be downloaded.
    """
    signer = find_signer(workspace.config, key)
    python = ".".join(platform.python_version_tuple()[:2])
    base = base or _usual(python)
    if not image_file.is_pinned(base):
        raise ConfigError(
            f"the base {base!r} has neither a tag other than latest nor a digest.",
            hint=f"--base docker.io/library/python:{python}-slim@sha256:…",
        )
    if gone := [str(folder) for folder in wheels if not folder.is_dir()]:
        raise ConfigError(
            f"there is no folder {gone[0]!r} with wheels.", hint="pip wheel --wheel-dir FOLDER makes one."
        )
    if output.is_symlink() or (output.exists() and (not output.is_dir() or any(output.iterdir()))):
        raise ConfigError(f"{str(output)!r} is there, and is no empty folder.", hint="--output takes a new folder.")
    release = _release(workspace, version)
    if not release.may_run:
        raise RefusedError(f"{release.tag} is not bundled, because it may not run: {release.reason}.")
    tree = code.tree_of(workspace.config.folder, release.commit, release.tag)
    source = checkout(workspace.config.folder, tree, workspace.config.folder / code.CACHE)
    locked = _locked(source, release.tag)
    output.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".headrace-bundle-", dir=output.absolute().parent) as temporary:
        made = Path(temporary) / "bundle"
        _copy(source, made / bundle.PROJECT, release.tag)
        shutil.copyfile(source / LOCK, made / LOCK)
        (made / bundle.WHEELS).mkdir()
        wheelhouse.gather(locked, made / bundle.WHEELS, folders=wheels, index=not no_index)
        _attestation(workspace, release, made)
        manifest = bundle.complete(
            made,
            bundle.Manifest(
                project=workspace.config.name,
                release=release.tag,
                environment=workspace.environment.name,
                commit=release.commit,
                tree=tree,
                lock=wheelhouse.sha256(made / LOCK),
                python=python,
                platform=_platform(),
                base=base,
                attested_by=release.attested_by,
                files={},
            ),
        )
        if signer is not None:
            bundle.sign(made, signer.name, private_key(signer))
        if wrong := image_file.problems((made / image_file.DOCKERFILE).read_text(encoding="utf-8"), manifest.files):
            raise DataError(f"the image file breaks a rule: {wrong[0]}", findings=wrong[1:])
        for folder, _, names in os.walk(made):
            Path(folder).chmod(0o755)
            for name in names:
                file = Path(folder, name)
                file.chmod(0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644)
        if output.exists():
            output.rmdir()
        made.rename(output)
    return _report(output, manifest, signer.name if signer else None, locked, ())


@operation("release verify", of="tag")
def verify_bundle(
    workspace: Workspace, folder: Path, *, tag: str | None = None, base: str | None = None
) -> BundleReport:
    """Checks a bundle: every hash, no file more or less, and that it is of a release of this repository that may run.

    Args:
        workspace: the environment whose policy and trusted keys count.
        folder: the bundle.
        tag: the release that it has to be of; None: the one that it says.
        base: the image that its image file has to be built on; None: Python's own or, of a bundle with a trusted signature, the
            one that it says.
    """
    trusted = workspace.environment.attested_by or tuple(key.public for key in workspace.config.keys.values())
    python = ".".join(platform.python_version_tuple()[:2])
    found = bundle.check(folder, trusted, python=python, platform=_platform())
    wrong = [*found.problems]
    manifest = found.manifest
    if manifest is not None:
        wrong += _of_repository(workspace, manifest, folder, tag) if not wrong else []
        if base != manifest.base and (
            base is not None or (found.signed_by is None and manifest.base != _usual(python))
        ):
            wrong.append(
                f"its image is built on {manifest.base}, which {'is not ' + base if base else 'nobody signed'}"
            )
    locked: list[LockedVersion] = []
    if manifest is not None and not wrong:
        locked = list(read_lock((folder / LOCK).read_text(encoding="utf-8")))
    return _report(folder, manifest, found.signed_by, locked, tuple(wrong))


def _release(workspace: Workspace, version: str) -> ReleaseReport:
    known = code.releases(workspace.config.folder, workspace.environment.releases)
    before, _, after = workspace.environment.releases.partition("*")
    tag = version if version in known else f"{before}{version}{after}"
    return verify_release(workspace, tag if tag in known else version)


def _locked(source: Path, tag: str) -> list[LockedVersion]:
    file = source / LOCK
    lock_them = f"pip freeze --exclude-editable > {LOCK}, commit it, and cut a release of that commit."
    if not file.is_file():
        raise RefusedError(f"{tag} has no {LOCK}, so nobody knows what it runs with.", hint=lock_them)
    try:
        locked = list(read_lock(file.read_text(encoding="utf-8")))
    except ValueError as error:
        raise RefusedError(f"{LOCK} of {tag} cannot be read: {error}", hint=lock_them) from None
    loose = [each.name for each in locked if each.version is None]
    if loose or not locked:
        what = f"pins no version of {', '.join(loose[:5])}" if loose else "is empty"
        raise RefusedError(f"{LOCK} of {tag} {what}.", hint=lock_them)
    return locked


def _copy(source: Path, target: Path, tag: str) -> None:
    """The files of the release; a link is refused, because a bundle has none."""
    for here, folders, names in os.walk(source):
        for name in (*folders, *names):
            if Path(here, name).is_symlink():
                inside = Path(here, name).relative_to(source)
                raise RefusedError(
                    f"{tag} has the link {inside.as_posix()!r}, and a bundle has plain files alone.",
                    hint="Commit the file itself in its place.",
                )
    shutil.copytree(source, target)
    for here, _, names in os.walk(target):
        for name in names:
            file = Path(here, name)
            file.chmod(file.stat().st_mode | stat.S_IWUSR)


def _attestation(workspace: Workspace, release: ReleaseReport, made: Path) -> None:
    """The envelope that speaks for the release, as it stands beside the commit."""
    if release.attested_by is None:
        return
    trusted = workspace.environment.attested_by
    wanted = workspace.attested.evidence(release.commit, trusted).attestation
    for envelope in attestation_notes.envelopes(workspace.config.folder, release.commit):
        try:
            found = verify(envelope, trusted)
        except DataError:
            continue
        if found == (wanted, release.attested_by):
            (made / bundle.ATTESTATION).write_text(f"{envelope}\n", encoding="utf-8")
            return


def _of_repository(workspace: Workspace, manifest: Manifest, folder: Path, tag: str | None) -> list[str]:
    """Whether a bundle is of a release of this repository, with its very code, and may run."""
    if manifest.project != workspace.config.name:
        return [f"it is of the project {manifest.project!r}, here is {workspace.config.name!r}"]
    if tag is not None and tag != manifest.release:
        return [f"it is of {manifest.release}, not of {tag}"]
    try:
        release = verify_release(workspace, manifest.release)
        tree = code.tree_of(workspace.config.folder, release.commit, release.tag)
    except (NotFoundError, RefusedError) as error:
        return [error.what.rstrip(".")]
    wrong: list[str] = []
    if manifest.environment != workspace.config.environments[-1].name:
        wrong.append(f"its image serves {manifest.environment!r}, which is not the highest environment")
    if (release.commit, tree) != (manifest.commit, manifest.tree):
        wrong.append(f"{manifest.release} is {release.commit[:8]} here, not {manifest.commit[:8]}")
    elif not _is_code(workspace, tree, folder / bundle.PROJECT):
        wrong.append(f"{bundle.PROJECT}/ is not the code of {manifest.release}")
    if not release.may_run:
        wrong.append(f"{manifest.release} may not run in {workspace.environment.name}: {release.reason}")
    return wrong


def _is_code(workspace: Workspace, tree: str, there: Path) -> bool:
    """Whether a folder has the files of a tree, and no other."""
    source = checkout(workspace.config.folder, tree, workspace.config.folder / code.CACHE)

    def digests(folder: Path) -> dict[str, str]:
        files = (Path(here, name) for here, _, names in os.walk(folder) for name in names)
        return {file.relative_to(folder).as_posix(): wheelhouse.sha256(file) for file in files}

    return digests(source) == digests(there)


def _usual(python: str) -> str:
    """Python's own image of a version."""
    return f"docker.io/library/python:{python}-slim"


def _platform() -> str:
    return f"{platform.system()} {platform.machine()}"


def _report(
    folder: Path,
    manifest: Manifest | None,
    signed_by: str | None,
    locked: Sequence[LockedVersion],
    wrong: tuple[str, ...],
) -> BundleReport:
    files = manifest.files if manifest is not None else {}
    by = "lock" if locked and all(each.hashes for each in locked) else "signature" if signed_by else "manifest"
    return BundleReport(
        folder=folder,
        release=manifest.release if manifest else None,
        commit=manifest.commit if manifest else None,
        python=manifest.python if manifest else None,
        wheels=sum(path.startswith(f"{bundle.WHEELS}/") for path in files),
        files=len(files),
        size=0 if wrong else sum((folder / path).stat().st_size for path in files),
        signed_by=signed_by,
        wheels_checked_by=by,
        problems=wrong,
    )
