"""The hits of a search in the catalog, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from headrace.cli.output import put, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

SHOWN = 20  # hits for people; --json has all
NO_CATALOG = (
    "searched in this environment only: the project has no catalog. Write the folder or object store that the projects share "
    'into headrace.toml, [project] catalog = "/shared/catalog".'
)


def show_hits(hits: Sequence[T], show: Callable[[T], None], *, catalog: str | None, empty: str) -> None:
    """Shows the first hits; below them, how many are not shown, and where it was searched.

    Args:
        hits: the best match first.
        show: prints one.
        catalog: where it was searched; None: in this environment only.
        empty: what is said where there is none.
    """
    for number, hit in enumerate(hits[:SHOWN]):
        if number:
            put()
        show(hit)
    if not hits:
        say(empty)
    if len(hits) > SHOWN:
        say(f"{len(hits) - SHOWN:,} more are not shown: add words, or --json for all.")
    if catalog is None:
        say(NO_CATALOG)
