"""GitHub, and GitHub Enterprise: comments of a pull request, which are those of its issue."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from headrace.ci_hosts.base import HostComment
from headrace.ci_hosts.client import Client
from headrace.ci_hosts.pages import field_of, pages
from headrace.core import vault
from headrace.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME, LIMIT = "GitHub", 65_536
TOKEN = "GITHUB_TOKEN"  # noqa: S105  # the name of the variable
API = "https://api.github.com"
REPOSITORY = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
MERGE = re.compile(r"refs/pull/(\d+)/(?:merge|head)")
RIGHTS = (
    "The job needs `permissions: pull-requests: write`, and `env: GITHUB_TOKEN: ${{ github.token }}`. The token of a pull "
    "request from a fork only reads."
)


@dataclass(frozen=True, kw_only=True)
class GitHub:
    """One pull request; the contract is `CiHost`."""

    client: Client
    repository: str
    number: int
    name: str = NAME
    limit: int = LIMIT

    @property
    def request(self) -> str:
        """The pull request, for people."""
        return f"pull request {self.number} of {self.repository}"

    def comments(self) -> Iterator[HostComment]:
        """The own ones, the oldest first."""
        me = self._me()
        for each in pages(self.client, f"/repos/{self.repository}/issues/{self.number}/comments"):
            user = each.get("user")
            author = cast("Mapping[str, object]", user) if isinstance(user, dict) else {}
            if author.get("type") == "Bot" if me is None else author.get("login") == me:
                yield HostComment(id=field_of(each, "id", int, NAME), text=str(each.get("body") or ""))

    def create(self, text: str) -> None:
        """Adds a comment."""
        self.client.ask("POST", f"/repos/{self.repository}/issues/{self.number}/comments", {"body": text})

    def update(self, comment: int, text: str) -> bool:
        """Replaces the text of a comment."""
        path = f"/repos/{self.repository}/issues/comments/{comment}"
        return self.client.ask("PATCH", path, {"body": text}, accepted=(404,)).status != 404

    def _me(self) -> str | None:
        """Whose token it is; None for the token of a job, which has no user and writes as a bot."""
        answer = self.client.ask("GET", "/user", accepted=(403, 404))
        return field_of(answer.body, "login", str, NAME) if answer.status < 300 else None


def open_github(variables: Mapping[str, str]) -> GitHub | None:
    """The pull request of a job of GitHub Actions; None where the job is not about one.

    Raises:
        ConfigError: a variable of the job is missing or impossible.
    """
    number = _number(variables)
    if number is None:
        return None
    repository = variables.get("GITHUB_REPOSITORY", "")
    if not REPOSITORY.fullmatch(repository):
        raise ConfigError(f"GITHUB_REPOSITORY is {repository!r}.", hint="GitHub Actions sets it to owner/name.")
    token = (vault.read(TOKEN) or "").strip()
    if not token:
        raise ConfigError(f"there is no token for GitHub: {TOKEN} is not set.", hint=RIGHTS)
    client = Client(
        name=NAME,
        url=variables.get("GITHUB_API_URL") or API,
        token=("Authorization", f"Bearer {token}"),
        secret=token,
        headers={"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"},
        rights=RIGHTS,
    )
    return GitHub(client=client, repository=repository, number=number)


def _number(variables: Mapping[str, str]) -> int | None:
    """The number of the pull request: of the event, or of the reference that is checked out."""
    place = variables.get("GITHUB_EVENT_PATH")
    if place:
        try:
            event: object = json.loads(Path(place).read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(
                f"the event of the job, GITHUB_EVENT_PATH={place!r}, cannot be read: {type(error).__name__}."
            ) from None
        request = cast("Mapping[str, object]", event).get("pull_request") if isinstance(event, dict) else None
        number = cast("Mapping[str, object]", request).get("number") if isinstance(request, dict) else None
        if isinstance(number, int) and not isinstance(number, bool):
            return number
    found = MERGE.fullmatch(variables.get("GITHUB_REF", ""))
    return int(found[1]) if found else None
