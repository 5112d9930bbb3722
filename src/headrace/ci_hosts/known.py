"""The hosts that are known, and which of them this job runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from headrace.ci_hosts import github, gitlab

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.ci_hosts.base import CiHost


class KnownHost(NamedTuple):
    """A host.

    Attributes:
        name: for people.
        variable: of the environment, `true` in each of its jobs.
        limit: how long a comment may be, as `comment.length` counts.
        open: gives the merge request of this job, or None where there is none.
    """

    name: str
    variable: str
    limit: int
    open: Callable[[Mapping[str, str]], CiHost | None]


HOSTS = (
    KnownHost(github.NAME, "GITHUB_ACTIONS", github.LIMIT, github.open_github),
    KnownHost(gitlab.NAME, "GITLAB_CI", gitlab.LIMIT, gitlab.open_gitlab),
)


def host_of(variables: Mapping[str, str]) -> KnownHost | None:
    """The host whose job this is; None on any other machine."""
    return next((each for each in HOSTS if variables.get(each.variable, "").lower() == "true"), None)
