"""A dashboard: tiles on a grid of twelve columns, each a saved query or a SELECT of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from headrace.core.clock import duration
from headrace.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from headrace.queries.records import Chart, Parameter

COLUMNS = 12
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}")
TILES = 24
LONGEST = {"title": 200, "description": 2_000, "owner": 200}  # characters
LONGEST_SQL = 100_000
SHORTEST_REFRESH, LONGEST_REFRESH = "1m", "365d"


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A question with its place on a dashboard.

    Attributes:
        title: above its answer; no two of a dashboard are the same.
        query: the saved query that it stands on, or that its SELECT was taken from; None: it has its own SELECT.
        sql: its own SELECT, which is then the one that is asked; None: that of the saved query.
        parameters: one for each placeholder of its own SELECT.
        chart: how the answer is drawn; None: as the saved query says, or as a table.
        values: name of a parameter → the value that is fixed here; what is left open is a field of the dashboard.
        width: in columns, of 12.
    """

    title: str
    query: str | None = None
    sql: str | None = None
    parameters: tuple[Parameter, ...] = ()
    chart: Chart | None = None
    values: Mapping[str, str] = field(default_factory=dict[str, str])
    width: int = COLUMNS

    def __post_init__(self) -> None:
        """Refuses what no tile can be.

        Raises:
            ConfigError: says what it can be.
        """
        check_text("title", self.title, needed=True)
        if self.query is None and self.sql is None:
            raise ConfigError(
                f"the tile {self.title!r} asks nothing.", hint="Give it the name of a saved query, or a SELECT."
            )
        if self.sql is not None and not 0 < len(self.sql) <= LONGEST_SQL:
            raise ConfigError(
                f"the SELECT of the tile {self.title!r} has {len(self.sql):,} characters.",
                hint=f"It has 1 to {LONGEST_SQL:,}.",
            )
        if isinstance(self.width, bool) or not 1 <= self.width <= COLUMNS:
            raise ConfigError(
                f"the tile {self.title!r} is {self.width} columns wide.", hint=f"A width is from 1 to {COLUMNS}."
            )


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """Tiles, one after the other from left to right; a tile that does not fit begins the next row.

    Attributes:
        name: of the dashboard, as its file is named.
        title: of its page.
        description: what it is for.
        owner: whom to ask about it.
        refresh: how often its answers are renewed by a scheduler, as `1h`; None: when somebody asks for it.
        tiles: in their order.
    """

    name: str
    title: str
    description: str = ""
    owner: str = ""
    refresh: str | None = None
    tiles: tuple[Tile, ...] = ()

    def __post_init__(self) -> None:
        """Refuses what no dashboard can be.

        Raises:
            ConfigError: says what it can be.
        """
        if not NAME.fullmatch(self.name):
            raise ConfigError(
                f"{self.name[:100]!r} cannot be the name of a dashboard.",
                hint="It has 1 to 80 small letters, digits, - and _, as its file is named after it: data-quality",
            )
        check_text("title", self.title, needed=True)
        check_text("description", self.description, lines=True)
        check_text("owner", self.owner)
        if self.refresh is not None and not (
            duration(SHORTEST_REFRESH) <= duration(self.refresh) <= duration(LONGEST_REFRESH)
        ):
            raise ConfigError(
                f"refresh = {self.refresh!r} is not possible.",
                hint=f"It is from {SHORTEST_REFRESH} to {LONGEST_REFRESH}.",
            )
        if len(self.tiles) > TILES:
            raise ConfigError(f"the dashboard has {len(self.tiles)} tiles.", hint=f"It may have {TILES}.")
        for one, other in pairwise(sorted(each.title for each in self.tiles)):
            if one == other:
                raise ConfigError(f"two tiles are called {one!r}.", hint="Give each a title of its own.")

    @property
    def every(self) -> timedelta | None:
        """How often a scheduler renews its answers."""
        return None if self.refresh is None else duration(self.refresh)

    def without(self, place: int) -> Dashboard:
        """The same without one tile."""
        return replace(self, tiles=(*self.tiles[:place], *self.tiles[place + 1 :]))

    def moved(self, place: int, by: int) -> Dashboard:
        """The same with one tile further up or down; at an end, it stays."""
        tiles, to = list(self.tiles), place + by
        if 0 <= to < len(tiles):
            tiles[place], tiles[to] = tiles[to], tiles[place]
        return replace(self, tiles=tuple(tiles))


def check_text(what: str, text: str, *, needed: bool = False, lines: bool = False) -> None:
    """Refuses a text of a dashboard that is too long, or that cannot be seen.

    Raises:
        ConfigError: says what it can be.
    """
    if needed and not text.strip():
        raise ConfigError(f"the {what} is empty.", hint=f"Give it a {what}.")
    if len(text) > LONGEST[what]:
        raise ConfigError(f"the {what} has {len(text):,} characters.", hint=f"It has at most {LONGEST[what]:,}.")
    if not (text.replace("\n", "") if lines else text).isprintable():
        raise ConfigError(f"the {what} {text[:50]!r} has characters that cannot be seen.", hint="Leave them out.")


def differences(draft: Dashboard, project: Dashboard) -> tuple[str, ...]:
    """What a draft has changed of the project's dashboard, a clause each; empty: nothing.

    Args:
        draft: with the SELECT of each tile in it.
        project: the same.
    """
    found = [
        f"another {what}"
        for what in ("title", "description", "owner", "refresh")
        if getattr(draft, what) != getattr(project, what)
    ]
    before = {each.title: each for each in project.tiles}
    after = {each.title: each for each in draft.tiles}
    found += [f"a new tile {title!r}" for title in after if title not in before]
    found += [f"no tile {title!r}" for title in before if title not in after]
    for title, tile in after.items():
        if title in before and (changed := _changed(tile, before[title])):
            found.append(f"{title!r} with another {' and '.join(changed)}")
    both = [title for title in after if title in before]
    if both != [title for title in before if title in after]:
        found.append("another order")
    return tuple(found)


def _changed(one: Tile, other: Tile) -> Sequence[str]:
    names = {"sql": "SELECT", "parameters": "set of parameters"} | {each: each for each in ("chart", "values", "width")}
    return [said for name, said in names.items() if getattr(one, name) != getattr(other, name)]
