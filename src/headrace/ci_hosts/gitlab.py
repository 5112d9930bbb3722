"""GitLab: notes of a merge request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from headrace.ci_hosts.base import HostComment
from headrace.ci_hosts.client import Client
from headrace.ci_hosts.pages import field_of, pages
from headrace.core import vault
from headrace.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME, LIMIT = "GitLab", 1_000_000
TOKENS = ("HEADRACE_GITLAB_TOKEN", "GITLAB_TOKEN")
RIGHTS = (
    "Make a project access token with the scope `api` and the role Reporter, and a masked variable HEADRACE_GITLAB_TOKEN "
    "of it; a protected variable is not there on branches that are not protected. The token of the job, CI_JOB_TOKEN, "
    "cannot comment."
)


@dataclass(frozen=True, kw_only=True)
class GitLab:
    """One merge request; the contract is `CiHost`."""

    client: Client
    project: str
    number: int
    name: str = NAME
    limit: int = LIMIT

    @property
    def request(self) -> str:
        """The merge request, for people."""
        return f"merge request {self.number} of project {self.project}"

    @property
    def _notes(self) -> str:
        return f"/projects/{quote(self.project, safe='')}/merge_requests/{self.number}/notes"

    def comments(self) -> Iterator[HostComment]:
        """The own ones, the oldest first."""
        me = field_of(self.client.ask("GET", "/user").body, "id", int, NAME)
        for each in pages(self.client, self._notes, "sort=asc&order_by=created_at&"):
            author = each.get("author")
            if isinstance(author, dict) and cast("Mapping[str, object]", author).get("id") == me:
                yield HostComment(id=field_of(each, "id", int, NAME), text=str(each.get("body") or ""))

    def create(self, text: str) -> None:
        """Adds a note."""
        self.client.ask("POST", self._notes, {"body": text})

    def update(self, comment: int, text: str) -> bool:
        """Replaces the text of a note."""
        return self.client.ask("PUT", f"{self._notes}/{comment}", {"body": text}, accepted=(404,)).status != 404


def open_gitlab(variables: Mapping[str, str]) -> GitLab | None:
    """The merge request of a job of GitLab CI; None where its pipeline is not one of a merge request.

    Raises:
        ConfigError: a variable of the job is missing or impossible.
    """
    number = variables.get("CI_MERGE_REQUEST_IID", "")
    if not number:
        return None
    if not re.fullmatch(r"[0-9]{1,12}", number):
        raise ConfigError(f"CI_MERGE_REQUEST_IID is {number!r}.", hint="GitLab CI sets it to a number.")
    for name in ("CI_API_V4_URL", "CI_PROJECT_ID"):
        if not variables.get(name):
            raise ConfigError(f"{name} is not set.", hint="GitLab CI sets it in every job.")
    token = next((found.strip() for name in TOKENS if (found := vault.read(name)) and found.strip()), None)
    if token is None:
        raise ConfigError(f"there is no token for GitLab: {' and '.join(TOKENS)} are not set.", hint=RIGHTS)
    client = Client(
        name=NAME, url=variables["CI_API_V4_URL"], token=("PRIVATE-TOKEN", token), secret=token, rights=RIGHTS
    )
    return GitLab(client=client, project=variables["CI_PROJECT_ID"], number=int(number))
