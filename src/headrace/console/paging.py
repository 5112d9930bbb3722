"""Long lists in pages: `?page=2`, with links to the one before and the one after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

T = TypeVar("T")
SIZE = 50  # rows of a page
FIELD = "page"


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of a list.

    Attributes:
        number: 1 is the first one.
        size: rows of a full page.
        query: what else is in the address.
        more: whether another page follows; known once its rows were cut.
    """

    number: int
    size: int = SIZE
    query: tuple[tuple[str, str], ...] = ()
    more: bool = False

    @property
    def offset(self) -> int:
        """How many rows are before it."""
        return (self.number - 1) * self.size

    @property
    def limit(self) -> int:
        """How many rows are asked for: one more than are shown, which says whether another page follows."""
        return self.size + 1

    def address(self, number: int) -> str:
        """The query of another page of the list."""
        return f"?{urlencode((*self.query, (FIELD, str(number))))}"


def wanted(request: Request, *, size: int = SIZE) -> Page:
    """The page that a request asks for; the first one where it names none.

    Raises:
        HTTPException: 404, there can be no such page.
    """
    text = request.query_params.get(FIELD, "1")
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < 1:
        raise HTTPException(404, f"{text[:50]!r} is no page of a list: ?{FIELD}=1 is the first one.")
    query = tuple((name, value) for name, value in request.query_params.items() if name != FIELD)
    return Page(number=int(text), size=size, query=query)


def cut(rows: Sequence[T], page: Page) -> tuple[Sequence[T], Page]:
    """The rows to show of those that were asked for, and the page, which knows now whether another one follows.

    Raises:
        HTTPException: 404, the list ends before this page.
    """
    if not rows and page.number > 1:
        raise HTTPException(404, f"The list ends before page {page.number}: ?{FIELD}=1 is the first one.")
    more = len(rows) > page.size
    return rows[: page.size], Page(number=page.number, size=page.size, query=page.query, more=more)
