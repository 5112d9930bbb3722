"""The releases that have run in an environment, kept in its state database: one history, whose newest release determines the gates.

Tags are local to a checkout: a stale clone does not know the newest one, and another repository may have tags of the
same names. So the state database stores each release that ran, and its code.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, MetaData, String, Table, insert, select
from sqlalchemy.exc import IntegrityError

from headrace.access.audit import record
from headrace.access.rights import ADMIN
from headrace.core.clock import now
from headrace.core.errors import RefusedError
from headrace.core.state import Instant
from headrace.environments import git
from headrace.environments.code import newest_release, version
from headrace.releases import applied

if TYPE_CHECKING:
    from headrace.workspace.workspace import Workspace

RELEASES = Table(
    "environment_releases",
    MetaData(),
    Column("tag", String(200), primary_key=True),
    Column("commit", String(64), nullable=False),
    Column("tree", String(64), nullable=False),
    Column("by", String(200), nullable=False),
    Column("at", Instant, nullable=False),
)


def check(workspace: Workspace) -> None:
    """Refuses a release that is not of the history of those that ran here, and remembers one that is.

    Raises:
        RefusedError: it ran here before with other code, or shares no commit with those that did, and no admin runs it.
    """
    code = workspace.code
    if workspace.environment.code != "release" or code.release is None or code.commit is None:
        return
    known = _known(workspace)
    _check_no_step_back(workspace, code.release, known)
    if code.release in known:
        if known[code.release]["tree"] != code.tree:
            raise RefusedError(
                f"release {code.release} ran here before with other code: its tag was moved, or it is another repository's.",
                hint="Tag what is to run as a new release.",
            )
        return
    me = workspace.access.me()
    related = any(_is_related(workspace, each["commit"], code.commit) for each in known.values())
    if known and not related and not me.holds(ADMIN):
        raise RefusedError(
            f"release {code.release} shares no history with {_highest(known)}, which ran here: it is of another "
            "repository, or the history is not all here.",
            hint="git fetch --unshallow --tags, or let an admin run it first.",
        )
    try:
        with workspace.state.begin() as connection:
            values = {"tag": code.release, "commit": code.commit, "tree": code.tree}
            connection.execute(insert(RELEASES).values(**values, by=me.name, at=now()))
            record(connection, me.name, "release.started", code.release, {"commit": code.commit, "tree": code.tree})
    except IntegrityError:  # another process remembered it between our look and our insert
        check(workspace)


def _check_no_step_back(workspace: Workspace, release: str, known: dict[str, Any]) -> None:
    """Refuses an older release than the newest one that ran here, where nobody named or applied it.

    Evidence that is gone must not bring older code back unseen.

    Raises:
        RefusedError: it is an older one.
    """
    if workspace.release is not None or not known or not workspace.environment.attested_by:
        return
    if applied.current(workspace.state) is None and version(release) < version(newest := _highest(known)):
        reason = workspace.unproven(known[newest]["commit"]) or "its tag is not here"
        raise RefusedError(
            f"{newest} ran here, and may not run now: {reason}. Nothing older runs in its place by itself.",
            hint=f"headrace release fetch, or run the older one by name: --release {release}.",
        )


def check_newest(workspace: Workspace, *, to: str) -> None:
    """Refuses the gates of an older release than the newest one that ran here, or that is tagged, to all but an admin.

    Raises:
        RefusedError: it is an older one; see also `check`.
    """
    check(workspace)
    newest = newer_than_ours(workspace)
    if newest is not None and not workspace.access.me().holds(ADMIN):
        raise RefusedError(
            f"{workspace.code.release} is not the newest release, which is {newest}: to {to} by the gates of an older one "
            "takes an admin.",
            hint="Leave --release out, fetch the tags (git fetch --tags), or tag what is to run as a new release.",
        )


def newer_than_ours(workspace: Workspace) -> str | None:
    """A release after the one that runs here, tagged or known to the state database; None where there is none."""
    code, environment = workspace.code, workspace.environment
    if environment.code != "release" or code.release is None:
        return None
    chosen = applied.current(workspace.state)
    if chosen is not None and chosen.release is not None:  # what is applied determines the gates, also after a rollback
        return (
            None
            if chosen.release == code.release or version(chosen.release) < version(code.release)
            else chosen.release
        )
    # tags of another pattern, before an admin took this one over, were releases of another numbering
    known = [tag for tag in _known(workspace) if fnmatchcase(tag, environment.releases)]
    newest = max((*known, newest_release(workspace.config, environment, unproven=workspace.unproven)), key=version)
    return None if newest == code.release else newest


def first_run(workspace: Workspace, tag: str) -> dict[str, Any] | None:
    """When a release first ran here, and by whom: `at` and `by`; None before."""
    return _known(workspace).get(tag)


def _known(workspace: Workspace) -> dict[str, Any]:
    workspace.state.create(RELEASES)
    with workspace.state.read() as connection:
        return {row["tag"]: dict(row) for row in connection.execute(select(RELEASES)).mappings()}


def _highest(known: dict[str, Any]) -> str:
    return max(known, key=version)


def _is_related(workspace: Workspace, one: str, other: str) -> bool:
    """Whether two commits have one before both of them, in the repository that is here."""
    try:
        return bool(git.ask(workspace.config.folder, "merge-base", one, other).strip())
    except RefusedError:
        return False
