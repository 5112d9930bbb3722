"""Saved queries in the state database. Each change is in the audit record, in the same transaction."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from headrace.access.audit import AUDIT, record
from headrace.core.clock import now
from headrace.core.errors import ConflictError, NotFoundError
from headrace.queries.records import Chart, Parameter, SavedQuery
from headrace.queries.tables import QUERIES, QUERY_ALERTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, RowMapping

    from headrace.core.state import State

KEPT = 500  # characters of a SELECT in the audit record


class Queries:
    """The saved queries of one environment."""

    def __init__(self, state: State) -> None:
        self.state = state
        state.create(QUERIES, QUERY_ALERTS, AUDIT)

    def list(self) -> list[SavedQuery]:
        """All, by name."""
        with self.state.read() as connection:
            return [_query(row) for row in connection.execute(select(QUERIES).order_by(QUERIES.c.name)).mappings()]

    def get(self, name: str) -> SavedQuery:
        """One.

        Raises:
            NotFoundError: there is none of this name.
        """
        with self.state.read() as connection:
            return required(connection, name)

    def save(
        self, name: str, sql: str, *, parameters: Sequence[Parameter], chart: Chart, by: str, replaces: int | None
    ) -> SavedQuery:
        """Keeps a query.

        Args:
            name: of it.
            sql: its SELECT.
            parameters: of it.
            chart: of its answer.
            by: who saves it.
            replaces: the version that is replaced; None: there is none of this name.

        Raises:
            ConflictError: somebody else has saved or deleted one of this name meanwhile.
        """
        values: dict[str, Any] = {
            "sql": sql,
            "parameters": [asdict(each) for each in parameters],
            "chart": {**asdict(chart), "y": list(chart.y)},
            "saved": now(),
            "saved_by": by,
        }
        with self.state.begin() as connection:
            there = _found(connection, name)
            _check_replaced(name, there, replaces)
            values["version"] = version = 1 if there is None else there.version + 1
            if there is None:
                connection.execute(insert(QUERIES).values(name=name, **values))
            else:
                connection.execute(update(QUERIES).where(QUERIES.c.name == name).values(**values))
            record(connection, by, "query.saved", name, {"version": version, "sql": sql[:KEPT]})
            return required(connection, name)

    def delete(self, name: str, *, by: str, version: int | None) -> None:
        """Removes a query, with the rules on it.

        Args:
            name: of it.
            by: who removes it.
            version: that is removed; None: whichever there is.

        Raises:
            NotFoundError: there is none of this name.
            ConflictError: somebody else has saved it meanwhile.
        """
        with self.state.begin() as connection:
            there = required(connection, name)
            if version is not None:
                _check_replaced(name, there, version)
            connection.execute(delete(QUERY_ALERTS).where(QUERY_ALERTS.c.query == name))
            connection.execute(delete(QUERIES).where(QUERIES.c.name == name))
            record(connection, by, "query.deleted", name, {"version": there.version, "sql": there.sql[:KEPT]})


def _check_replaced(name: str, there: SavedQuery | None, replaces: int | None) -> None:
    if replaces == (None if there is None else there.version):
        return
    if there is None:
        raise ConflictError(
            f"the saved query {name!r} is not there any more: somebody has deleted it.", hint="Save it as a new one."
        )
    at = f"{there.saved:%Y-%m-%d %H:%M:%S}Z"
    if replaces is None:
        raise ConflictError(
            f"there is a saved query {name!r} already, of {there.saved_by}, at {at}.",
            hint=f"Choose another name, or replace it: headrace query save --replace {there.version}",
        )
    raise ConflictError(
        f"{there.saved_by} has saved {name!r} at {at}: it is version {there.version} now, not {replaces}.",
        hint="Nothing was changed. Look at it, then save yours under another name or over it.",
    )


def required(connection: Connection, name: str) -> SavedQuery:
    """The query of a name, in the transaction at hand.

    Raises:
        NotFoundError: there is none.
    """
    found = _found(connection, name)
    if found is None:
        known = connection.execute(select(QUERIES.c.name)).scalars().all()
        raise NotFoundError("saved query", name, known)
    return found


def _found(connection: Connection, name: str) -> SavedQuery | None:
    row = connection.execute(select(QUERIES).where(QUERIES.c.name == name)).mappings().first()
    return None if row is None else _query(row)


def _query(row: RowMapping) -> SavedQuery:
    stored: dict[str, Any] = dict(row)
    chart: dict[str, Any] = {**stored["chart"], "y": tuple(stored["chart"]["y"])}
    stored["parameters"] = tuple(Parameter(**each) for each in stored["parameters"])
    stored["chart"] = Chart(**chart)
    return SavedQuery(**stored)
