"""Where attestations are: in git notes of their commits, `refs/notes/headrace-attestations`, an envelope a line.

Notes travel with `git push origin refs/notes/headrace-attestations` and are fetched by name. Two machines that add one at the same
time both keep theirs: lines are merged.
"""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core.errors import RefusedError, UnavailableError
from headrace.environments import git

if TYPE_CHECKING:
    from collections.abc import Generator

REF = "refs/notes/headrace-attestations"
THEIRS = "refs/notes/headrace-attestations-of-origin"
AUTHOR = ("-c", "user.name=Headrace", "-c", "user.email=headrace@localhost")
LARGEST = 2**20  # bytes of a note that is read: what is longer is no attestation
MOST = 50  # envelopes of a note that are looked at, the last ones
ATTEMPTS = 5  # of a push, each after a merge of what others pushed


def annotated(folder: Path) -> frozenset[str]:
    """The commits that have a note."""
    if git.revision(folder, f"{REF}^{{commit}}") is None:
        return frozenset()
    return frozenset(line.split()[1].decode() for line in git.ask(folder, "notes", f"--ref={REF}", "list").splitlines())


def envelopes(folder: Path, commit: str) -> list[str]:
    """The envelopes that the note of a commit has; they are not checked, and of a huge note there are none.

    Args:
        folder: of the repository.
        commit: its whole id.
    """
    if git.revision(folder, f"{REF}^{{commit}}") is None:
        return []
    try:
        blob = git.ask(folder, "notes", f"--ref={REF}", "list", commit).decode().strip()
        if int(git.ask(folder, "cat-file", "-s", blob)) > LARGEST:
            return []
        note = git.ask(folder, "cat-file", "blob", blob)
    except RefusedError:  # it has none
        return []
    lines = [line for line in note.decode(errors="replace").splitlines() if line.startswith("{")]
    return lines[-MOST:]


def add(folder: Path, commit: str, envelope: str) -> None:
    """Adds an envelope to the note of a commit; one that is there already is not added again.

    Processes that add to one repository at the same time wait for each other: git replaces the whole ref.
    """
    with _alone(folder):
        before = envelopes(folder, commit)
        if envelope not in before:
            _write(folder, commit, [*before, envelope])


def fetch(folder: Path, remote: str) -> None:
    """Takes in the notes of a remote, beside those that are here.

    Raises:
        UnavailableError: the remote cannot be asked; git's words are in the message.
    """
    if not _talk(folder, "ls-remote", remote, REF).strip():
        return
    _talk(folder, "fetch", "--quiet", "--no-tags", remote, f"+{REF}:{THEIRS}")
    with _alone(folder):
        if git.revision(folder, REF) is None:
            git.ask(folder, "update-ref", REF, THEIRS)
            return
        ours = {commit: envelopes(folder, commit) for commit in annotated(folder)}
        git.ask(folder, *AUTHOR, "notes", f"--ref={REF}", "merge", "--quiet", "--strategy=cat_sort_uniq", THEIRS)
        for commit, lines in ours.items():  # git would take over what somebody deleted there
            merged = envelopes(folder, commit)
            if lost := [line for line in lines if line not in merged]:
                _write(folder, commit, [*merged, *lost])


def push(folder: Path, remote: str) -> None:
    """Hands the notes to a remote, with what others pushed meanwhile.

    Raises:
        UnavailableError: the remote cannot be asked, or refuses them; git's words are in the message.
    """
    for attempt in range(ATTEMPTS):
        fetch(folder, remote)
        if git.revision(folder, REF) is None:  # there is none, here or there
            return
        try:
            _talk(folder, "push", "--quiet", remote, f"{REF}:{REF}")
        except UnavailableError as error:
            late = any(
                "fetch first" in line or "non-fast-forward" in line or "cannot lock" in line for line in error.findings
            )
            if not late or attempt == ATTEMPTS - 1:
                raise
        else:
            return


def _write(folder: Path, commit: str, lines: list[str]) -> None:
    text = "\n".join(lines).encode()
    git.ask(folder, *AUTHOR, "notes", f"--ref={REF}", "add", "--force", "--file=-", commit, given=text)


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """No other process of this machine writes notes of the repository meanwhile."""
    shared = Path(git.ask(folder, "rev-parse", "--path-format=absolute", "--git-common-dir").decode().strip())
    with (shared / "headrace-attestations.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _talk(folder: Path, *arguments: str) -> bytes:
    try:
        return git.talk(folder, *arguments)
    except RefusedError as error:
        raise UnavailableError(
            f"git {arguments[0]} of attestations failed.",
            hint="Check the remote, and the right to push.",
            findings=error.findings,
        ) from None
