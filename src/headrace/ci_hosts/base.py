"""The contract of a host of merge requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class HostComment:
    """A comment on a merge request.

    Attributes:
        id: its number at the host.
        text: what it says.
    """

    id: int
    text: str


class CiHost(Protocol):
    """One merge request of one host, and the right to comment on it.

    Every method raises a HeadraceError that says what the host answered: RefusedError where the token may not,
    NotFoundError where there is no such merge request, RateLimitedError where the host asks to wait for longer than is
    waited here, UnavailableError where it cannot be reached or does not answer. No message shows the token. What is
    called again after an error may find that the call before was done.
    """

    @property
    def name(self) -> str:
        """The host, for people: `GitHub`."""
        ...

    @property
    def request(self) -> str:
        """The merge request, for people: `pull request 12 of shop/shop`."""
        ...

    @property
    def limit(self) -> int:
        """How long a comment may be, as `comment.length` counts."""
        ...

    def comments(self) -> Iterator[HostComment]:
        """The comments that whoever the token belongs to wrote on the merge request, the oldest first."""
        ...

    def create(self, text: str) -> None:
        """Adds a comment."""
        ...

    def update(self, comment: int, text: str) -> bool:
        """Replaces the text of a comment; False where it is no longer there."""
        ...
