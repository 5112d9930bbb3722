"""Drafts of dashboards, and the answers of tiles as of their last refresh, in the state database."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Column, Integer, LargeBinary, MetaData, String, Table, Text, delete, insert, select, update

from headrace.access.audit import AUDIT, record
from headrace.core.clock import now
from headrace.core.errors import ConflictError, NotFoundError
from headrace.core.state import Instant
from headrace.queries.dashboards import Dashboard, Tile
from headrace.queries.records import Chart, Parameter

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

    from headrace.core.ids import Json
    from headrace.core.state import State

LARGEST = 256 << 10  # bytes of a stored answer
METADATA = MetaData()
DRAFTS = Table(
    "dashboard_drafts",
    METADATA,
    Column("name", String(100), primary_key=True),
    Column("content", JSON, nullable=False),
    Column("version", Integer, nullable=False),
    Column("saved", Instant, nullable=False),
    Column("saved_by", String(200), nullable=False),
)
ANSWERS = Table(
    "dashboard_answers",
    METADATA,
    Column("dashboard", String(100), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("refreshed", Instant, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("answer", LargeBinary, nullable=True),
    Column("error", Text, nullable=True),
)


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A dashboard that is not in the project, or not as it is here.

    Attributes:
        dashboard: as it was saved last.
        version: 1, and one more each time that it is saved.
        saved: when, last.
        saved_by: who.
    """

    dashboard: Dashboard
    version: int
    saved: datetime
    saved_by: str


@dataclass(frozen=True, kw_only=True)
class StoredAnswer:
    """What a tile was answered.

    Attributes:
        digest: of what was asked: the SELECT, and the values.
        refreshed: when.
        rows: the number of rows that the answer had.
        answer: its first rows, as bytes of whoever stored them; None: there was none.
        error: why there was none.
    """

    digest: str
    refreshed: datetime
    rows: int
    answer: bytes | None
    error: str | None


class Dashboards:
    """The drafts of one environment."""

    def __init__(self, state: State) -> None:
        self.state = state
        state.create(DRAFTS, ANSWERS, AUDIT)

    def list(self) -> list[Draft]:
        """All, by name."""
        with self.state.read() as connection:
            return [_draft(row) for row in connection.execute(select(DRAFTS).order_by(DRAFTS.c.name)).mappings()]

    def find(self, name: str) -> Draft | None:
        """One; None: there is no draft of this name."""
        with self.state.read() as connection:
            return _found(connection, name)

    def save(self, dashboard: Dashboard, *, by: str, replaces: int | None) -> Draft:
        """Keeps a draft.

        Args:
            dashboard: to keep.
            by: who saves it.
            replaces: the version that is replaced; None: there is none of this name.

        Raises:
            ConflictError: somebody else has saved or deleted one of this name meanwhile.
        """
        name = dashboard.name
        values: dict[str, Any] = {"content": _content(dashboard), "saved": now(), "saved_by": by}
        with self.state.begin() as connection:
            there = _found(connection, name)
            _check_replaced(name, there, replaces)
            values["version"] = version = 1 if there is None else there.version + 1
            if there is None:
                connection.execute(insert(DRAFTS).values(name=name, **values))
            else:
                connection.execute(update(DRAFTS).where(DRAFTS.c.name == name).values(**values))
            titles: list[Json] = [each.title for each in dashboard.tiles]
            record(connection, by, "dashboard.saved", name, {"version": version, "tiles": titles})
            found = _found(connection, name)
            assert found is not None
            return found

    def delete(self, name: str, *, by: str, version: int | None) -> None:
        """Removes a draft.

        Args:
            name: of it.
            by: who removes it.
            version: that is removed; None: whichever there is.

        Raises:
            NotFoundError: there is none of this name.
            ConflictError: somebody else has saved it meanwhile.
        """
        with self.state.begin() as connection:
            there = _found(connection, name)
            if there is None:
                known = connection.execute(select(DRAFTS.c.name)).scalars().all()
                raise NotFoundError("draft of a dashboard", name, known)
            if version is not None:
                _check_replaced(name, there, version)
            connection.execute(delete(DRAFTS).where(DRAFTS.c.name == name))
            titles: list[Json] = [each.title for each in there.dashboard.tiles]
            record(connection, by, "dashboard.deleted", name, {"version": there.version, "tiles": titles})

    def answers(self, name: str) -> dict[str, StoredAnswer]:
        """The stored answers of a dashboard, by what was asked."""
        with self.state.read() as connection:
            rows = connection.execute(select(ANSWERS).where(ANSWERS.c.dashboard == name)).mappings()
            return {row["digest"]: _answer(row) for row in rows}

    def times(self) -> dict[str, dict[str, datetime]]:
        """When each tile was answered last: dashboard → digest → moment."""
        found: dict[str, dict[str, datetime]] = {}
        columns = (ANSWERS.c.dashboard, ANSWERS.c.digest, ANSWERS.c.refreshed)
        with self.state.read() as connection:
            for name, digest, refreshed in connection.execute(select(*columns)):
                found.setdefault(name, {})[digest] = refreshed
        return found

    def store(self, name: str, answer: StoredAnswer) -> None:
        """Keeps the answer of a tile, instead of an earlier one."""
        with self.state.begin() as connection:
            connection.execute(_one(name, answer.digest))
            connection.execute(insert(ANSWERS).values(dashboard=name, **vars(answer)))

    def forget(self, name: str, kept: Collection[str]) -> None:
        """Removes the answers of a dashboard that none of its tiles asks for any more."""
        with self.state.begin() as connection:
            gone = delete(ANSWERS).where(ANSWERS.c.dashboard == name, ANSWERS.c.digest.not_in(list(kept)))
            connection.execute(gone)


def _answer(row: RowMapping) -> StoredAnswer:
    stored: dict[str, Any] = dict(row)
    del stored["dashboard"]
    return StoredAnswer(**stored)


def _one(name: str, digest: str) -> Any:
    return delete(ANSWERS).where(ANSWERS.c.dashboard == name, ANSWERS.c.digest == digest)


def _check_replaced(name: str, there: Draft | None, replaces: int | None) -> None:
    if replaces == (None if there is None else there.version):
        return
    if there is None:
        raise ConflictError(
            f"the draft {name!r} is not there any more: somebody has deleted it.", hint="Save it as a new one."
        )
    at = f"{there.saved:%Y-%m-%d %H:%M:%S}Z"
    if replaces is None:
        raise ConflictError(
            f"there is a draft {name!r} already, of {there.saved_by}, at {at}.",
            hint=f"Choose another name, or replace version {there.version} of it.",
        )
    raise ConflictError(
        f"{there.saved_by} has saved {name!r} at {at}: it is version {there.version} now, not {replaces}.",
        hint="Nothing was changed. Look at it, then make your change again.",
    )


def _found(connection: Connection, name: str) -> Draft | None:
    row = connection.execute(select(DRAFTS).where(DRAFTS.c.name == name)).mappings().first()
    return None if row is None else _draft(row)


def _content(dashboard: Dashboard) -> dict[str, Any]:
    content = asdict(dashboard)
    del content["name"]
    return content


def _draft(row: RowMapping) -> Draft:
    content: dict[str, Any] = dict(row["content"])
    tiles: list[dict[str, Any]] = content.pop("tiles")
    return Draft(
        dashboard=Dashboard(name=row["name"], tiles=tuple(_tile(each) for each in tiles), **content),
        version=row["version"],
        saved=row["saved"],
        saved_by=row["saved_by"],
    )


def _tile(stored: dict[str, Any]) -> Tile:
    fields = dict(stored)
    chart: dict[str, Any] | None = fields.pop("chart")
    parameters: list[dict[str, Any]] = fields.pop("parameters")
    if chart is not None:
        chart["y"] = tuple(chart["y"])
    drawn = None if chart is None else Chart(**chart)
    return Tile(**fields, parameters=tuple(Parameter(**each) for each in parameters), chart=drawn)
