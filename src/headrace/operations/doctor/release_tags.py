"""Tags of releases that ran here, and that point elsewhere now."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sqlalchemy import inspect, select

from headrace.environments import git
from headrace.operations.doctor.finding import bounded, failed, ok
from headrace.operations.release_history import RELEASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.operations.doctor.finding import CheckFinding
    from headrace.workspace.workspace import Workspace

CHECK = "release tags"
MOST = 200  # releases that are looked at, the latest first


def release_tags(workspace: Workspace) -> Iterator[CheckFinding]:
    """Compares the tags of this checkout with the commits that the state database remembers of them."""
    with workspace.state.read() as connection:
        if not inspect(connection).has_table(RELEASES.name):
            return
        statement = select(RELEASES.c.tag, RELEASES.c.commit).order_by(RELEASES.c.at.desc()).limit(MOST)
        known = [cast("tuple[str, str]", tuple(row)) for row in connection.execute(statement)]
    if not known:
        return
    folder = workspace.config.folder
    if not git.inside(folder):
        return
    now = {tag: git.revision(folder, f"refs/tags/{tag}^{{commit}}") for tag, _ in known}
    moved = [f"{tag} was {was[:8]}, is {here[:8]}" for tag, was in known if (here := now[tag]) and here != was]
    if moved:
        yield failed(
            CHECK,
            f"moved since they ran in {workspace.configured.name}: {bounded(moved)}",
            "Put each back (git tag -f TAG COMMIT, with the commit that it was) and tag what is to run as a new release.",
        )
        return
    there = sum(here is not None for here in now.values())
    yield ok(CHECK, f"{there:,} of the {len(known):,} releases that ran here are tagged here, as they were")
