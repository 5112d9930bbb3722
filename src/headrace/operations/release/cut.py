"""Cuts a release: a tag on a tested commit, made by somebody who may."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from sqlalchemy import select

from headrace.access.audit import AUDIT, record
from headrace.core.errors import ConfigError, RefusedError, UnavailableError
from headrace.environments import code, git
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.releases import attestation_notes

if TYPE_CHECKING:
    from headrace.workspace.workspace import Workspace

VERSION = re.compile(r"[0-9][0-9A-Za-z]*([.+-][0-9A-Za-z]+)*")


@dataclass(frozen=True, kw_only=True)
class CutReport(Record):
    """A release that was cut.

    Attributes:
        tag: the tag.
        commit: git's id of the commit that it is of.
        attested_by: the key that signed the attestation of its test; None where the environment asks for none.
        pushed_to: the remote that has it; None where it is in this repository alone.
        new: whether it was made now; False where the same release was there.
    """

    tag: str
    commit: str
    attested_by: str | None
    pushed_to: str | None
    new: bool


@operation("release cut", of="version")
def cut_release(workspace: Workspace, version: str, *, commit: str = "HEAD", remote: str | None = None) -> CutReport:
    """Tags a commit as a release, if it was tested.

    Args:
        workspace: the environment that runs releases: its pattern of tags and its trusted keys count.
        version: of the release, `1.2.0`, or the whole tag.
        commit: that is released; whatever git takes for one.
        remote: the remote that tag and attestations are pushed to; None: none.

    Raises:
        ConfigError: this is no version, or no commit.
        RefusedError: the commit has no attestation that counts, the version is not after the others, or the tag is another
            commit's.
        UnavailableError: the remote does not take it; the tag is here, and the same command tries again.
    """
    folder, environment = workspace.config.folder, workspace.environment
    if remote is not None:
        attestation_notes.fetch(folder, remote)
    tag = _tag(version, environment.releases)
    wanted = _commit(workspace, commit)
    tree = code.tree_of(folder, wanted)
    evidence = workspace.attested.evidence(wanted, environment.attested_by) if environment.attested_by else None
    if evidence is not None and evidence.attestation is None:
        raise RefusedError(
            f"{wanted[:8]} is not cut as {tag}: {'; '.join(evidence.reasons[:3])}.",
            hint="Test it where the signing key is: headrace test integration. Its notes may be at the remote: --push origin.",
        )
    new = _check_free(workspace, tag, wanted)
    if new or not _is_recorded(workspace, tag):
        tested = (
            f"Tested: attested by {evidence.key} at {evidence.attestation.at:%Y-%m-%d %H:%M} UTC."
            if evidence and evidence.attestation
            else "Tested: no attestation is asked for."
        )
        _make(workspace, tag, wanted, tree, tested, evidence.key if evidence else None, new=new)
    if remote is not None:
        _push(workspace, tag, remote)
    return CutReport(tag=tag, commit=wanted, attested_by=evidence.key if evidence else None, pushed_to=remote, new=new)


def _tag(version: str, pattern: str) -> str:
    """The tag of a version: what the pattern has in place of its star."""
    if pattern.count("*") == 1 and not set("?[") & set(pattern):
        before, _, after = pattern.partition("*")
        number = version.removeprefix(before).removesuffix(after)
        tag = f"{before}{number}{after}"
    else:
        tag, number = version, version.lstrip("v")
    if not VERSION.fullmatch(number) or not fnmatchcase(tag, pattern):
        raise ConfigError(
            f"{version!r} is no version; tags of releases are {pattern!r}.",
            hint="Write its number: headrace release cut 1.2.0.",
        )
    return tag


def _commit(workspace: Workspace, name: str) -> str:
    if name.startswith("-"):
        raise ConfigError(f"{name!r} is no commit.")
    found = git.revision(workspace.config.folder, f"{name}^{{commit}}")
    if found is None:
        raise ConfigError(
            f"{name!r} is no commit here.", hint="A shallow clone has few: git fetch --unshallow. git log lists them."
        )
    return found


def _check_free(workspace: Workspace, tag: str, commit: str) -> bool:
    """Whether the tag is to be made; False where it is there, of this commit.

    Raises:
        RefusedError: it is another commit's, or not after the highest release.
    """
    folder = workspace.config.folder
    there = git.revision(folder, f"refs/tags/{tag}^{{commit}}")
    if there == commit:
        return False
    if there is not None:
        raise RefusedError(
            f"{tag} is already a release, of {there[:8]}; a release is never moved.", hint="Cut the next version."
        )
    known = code.releases(folder, workspace.environment.releases)
    highest = next((each for each, commit_of in known.items() if not workspace.unproven(commit_of)), None)
    if highest is not None and code.version(tag) < code.version(highest):
        raise RefusedError(
            f"{tag} is not after {highest}, the highest release that may run, so it would not run.",
            hint="Cut a higher version; headrace release list shows them.",
        )
    return True


def _make(workspace: Workspace, tag: str, commit: str, tree: str, tested: str, key: str | None, *, new: bool) -> None:
    """Records the cut, and makes the tag unless a cut that was killed before its end has made it."""
    folder, by = workspace.config.folder, workspace.access.me().name
    message = f"{tag}\n\nCut by {by}. {tested}\n".encode()
    made = (*_identity(workspace), "tag", "--annotate", "--file=-", "--end-of-options", tag, commit)
    with workspace.state.begin() as connection:  # the entry first: nothing is done that is not recorded
        record(connection, by, "release.cut", tag, {"commit": commit, "tree": tree, "attested_by": key})
        if new:
            git.ask(folder, *made, given=message)


def _is_recorded(workspace: Workspace, tag: str) -> bool:
    """Whether the audit record has the cut: a tag that somebody made by hand has none, nor has one whose cut was killed."""
    entry = select(AUDIT.c.id).where(AUDIT.c.action == "release.cut", AUDIT.c.object == tag).limit(1)
    return workspace.state.one(entry, AUDIT) is not None


def _identity(workspace: Workspace) -> tuple[str, ...]:
    """Git's own name and address of the user; Headrace's where there is none, as on a build machine."""
    for key in ("user.name", "user.email"):
        if not git.ask(workspace.config.folder, "config", "--get", key, fine=(0, 1)).strip():
            return attestation_notes.AUTHOR
    return ()


def _push(workspace: Workspace, tag: str, remote: str) -> None:
    folder = workspace.config.folder
    attestation_notes.push(folder, remote)
    try:
        git.talk(folder, "push", "--quiet", remote, f"refs/tags/{tag}:refs/tags/{tag}")
    except RefusedError as error:
        raise UnavailableError(
            f"{remote} does not take {tag}.",
            hint="The tag is in this repository; the same command tries again.",
            findings=error.findings,
        ) from None
