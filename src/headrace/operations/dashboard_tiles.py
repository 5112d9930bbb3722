"""The tiles of a dashboard: what each asks, what it was answered and when, and the answers of now."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from headrace.core.clock import now
from headrace.core.errors import CutShortError, HeadraceError, NotFoundError
from headrace.core.ids import digest
from headrace.operations.record import Record
from headrace.operations.sql import QueryResult
from headrace.queries.records import Chart, Parameter, values_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa

    from headrace.queries.dashboard_store import Dashboards, StoredAnswer
    from headrace.queries.dashboards import Dashboard
    from headrace.workspace.workspace import Workspace

SECONDS = 20.0  # of a tile
LEAST = 0.2  # seconds that are worth a question
ROWS = 10_000  # of an answer
STORED = 1_000  # of them, at most
LONGEST = 1_000  # characters of why there is no answer
STEP = 4  # by which the rows are divided that are too many bytes


@dataclass(frozen=True, kw_only=True)
class TileReport(Record):
    """A tile, and what it was answered.

    Attributes:
        title: above its answer.
        query: the saved query that it stands on, or that its SELECT was taken from; None: its SELECT is its own.
        own_sql: whether the SELECT is in the dashboard; else it is that of the saved query.
        own_chart: whether the chart is.
        sql: its SELECT; None: the saved query is not there.
        parameters: one for each placeholder.
        chart: how the answer is drawn.
        values: name of a parameter → the value that the dashboard fixes.
        width: in columns, of 12.
        refreshed: when it was answered; None: not yet.
        count: the number of rows of the answer.
        result: the answer, or its first rows where it is stored; None: there is none.
        error: why there is no answer.
    """

    title: str
    query: str | None
    own_sql: bool
    own_chart: bool
    sql: str | None
    parameters: tuple[Parameter, ...]
    chart: Chart
    values: Mapping[str, str]
    width: int
    refreshed: datetime | None = None
    count: int = 0
    result: QueryResult | None = field(default=None, repr=False)
    error: str | None = None

    @property
    def open(self) -> tuple[Parameter, ...]:
        """The parameters whose values the dashboard does not fix."""
        return tuple(each for each in self.parameters if each.name not in self.values)

    @property
    def digest(self) -> str:
        """Of what it asks where nothing else is said."""
        kinds = [[each.name, each.kind, each.default] for each in self.parameters]
        return digest({"sql": self.sql or "", "parameters": kinds, "values": dict(self.values)})


def read_tiles(workspace: Workspace, dashboard: Dashboard) -> tuple[TileReport, ...]:
    """What each tile asks, with the SELECT of its saved query where it has none of its own."""
    from headrace.queries.store import Queries

    saved = {each.name: each for each in Queries(workspace.state).list()}
    made: list[TileReport] = []
    for each in dashboard.tiles:
        found, own = saved.get(each.query or ""), each.sql is not None
        sql, parameters = (each.sql, each.parameters) if own or found is None else (found.sql, found.parameters)
        chart = each.chart or (found.chart if found is not None and not own else Chart())
        error = str(NotFoundError("saved query", each.query or "", saved)) if sql is None else None
        made.append(
            TileReport(
                title=each.title,
                query=each.query,
                own_sql=own,
                own_chart=each.chart is not None,
                sql=sql,
                parameters=parameters,
                chart=chart,
                values=each.values,
                width=each.width,
                error=error,
            )
        )
    return tuple(made)


def whole(workspace: Workspace, dashboard: Dashboard) -> Dashboard:
    """The same with the SELECT of each tile in it; a tile whose saved query is not there stays as it is."""
    read = read_tiles(workspace, dashboard)
    tiles = [
        one
        if tile.sql is None
        else replace(one, sql=tile.sql.strip(), parameters=tile.parameters, chart=tile.chart, query=tile.query)
        for one, tile in zip(dashboard.tiles, read, strict=True)
    ]
    return replace(dashboard, tiles=tuple(tiles))


def as_refreshed(tile: TileReport, stored: Mapping[str, StoredAnswer]) -> TileReport:
    """A tile with its stored answer, where there is one."""
    found = stored.get(tile.digest)
    if tile.sql is None or found is None:
        return tile
    return replace(
        tile,
        refreshed=found.refreshed,
        count=found.rows,
        result=None if found.answer is None else QueryResult(arrow=_rows(found.answer)),
        error=found.error,
    )


def ask_tile(
    workspace: Workspace,
    tile: TileReport,
    given: Mapping[str, str],
    *,
    seconds: float = SECONDS,
    cancelled: Callable[[], bool] | None = None,
) -> TileReport:
    """A tile with its answer of now, or with why there is none; as it is where it was ended before its own time was over.

    Args:
        workspace: the environment.
        tile: of a dashboard.
        given: name of a parameter → its value as text; what the tile does not ask for is left out.
        seconds: that it may take; fewer than a tile may: what is cut short keeps its answer, unless values are given.
        cancelled: asked several times a second whether it is to end now; None: nobody ends it.
    """
    from headrace.lakehouse.adhoc import QueryLimits, ask

    if tile.sql is None:
        return replace(tile, refreshed=now())
    names = {each.name for each in tile.open}
    try:
        for name in tile.values:
            if name not in {each.name for each in tile.parameters}:
                raise NotFoundError("parameter", name, [each.name for each in tile.parameters])
        texts = {**{name: text for name, text in given.items() if name in names}, **tile.values}
        values = values_of(tile.parameters, texts)
        limits = QueryLimits(seconds=seconds, rows=ROWS)
        rows = ask(workspace.lakehouse, tile.sql, limits, values=values, cancelled=cancelled)
    except HeadraceError as error:
        ended = seconds < SECONDS or (cancelled is not None and cancelled())
        if ended and not given and isinstance(error, CutShortError):  # which says nothing of the tile
            return tile if tile.refreshed is not None else replace(tile, error=_reason(error))
        return replace(tile, refreshed=now(), count=0, result=None, error=_reason(error))
    return replace(tile, refreshed=now(), count=rows.num_rows, result=QueryResult(arrow=rows), error=None)


def ask_tiles(
    workspace: Workspace,
    tiles: Sequence[TileReport],
    given: Mapping[str, str],
    *,
    seconds: float,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[TileReport, ...]:
    """Tiles with their answers of now, those first whose answers are oldest.

    Args:
        workspace: the environment.
        tiles: of a dashboard.
        given: name of a parameter → its value as text.
        seconds: that all may take; a tile for which nothing is left stays as it is, and says so where it has no answer.
        cancelled: asked several times a second whether it is to end now; None: nobody ends it.
    """
    made, until = list(tiles), time.monotonic() + seconds
    order = sorted(
        range(len(made)), key=lambda place: (at.timestamp() if (at := made[place].refreshed) else 0.0, place)
    )
    for place in order:
        left = until - time.monotonic()
        if left < LEAST or (cancelled is not None and cancelled()):
            if made[place].refreshed is None and made[place].error is None:
                made[place] = replace(made[place], error=f"not asked: the others took the {seconds:g} s that all may.")
            continue
        made[place] = ask_tile(workspace, made[place], given, seconds=min(SECONDS, left), cancelled=cancelled)
    return tuple(made)


def store_answer(store: Dashboards, name: str, tile: TileReport) -> None:
    """Keeps the first rows of an answer, as many as may be stored."""
    from headrace.queries.dashboard_store import StoredAnswer

    assert tile.refreshed is not None
    answer = None if tile.result is None else _bytes(tile.result)
    error = tile.error
    if tile.result is not None and answer is None:
        error = (
            "one row of the answer is too large to be stored. Select fewer columns, or cut long texts: left(text, 200)"
        )
    stored = StoredAnswer(digest=tile.digest, refreshed=tile.refreshed, rows=tile.count, answer=answer, error=error)
    store.store(name, stored)


def _bytes(result: QueryResult) -> bytes | None:
    import pyarrow as pa

    from headrace.queries.dashboard_store import LARGEST

    rows, kept = result.arrow.combine_chunks(), min(result.count, STORED)
    while True:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows.slice(0, kept))
        written = sink.getvalue().to_pybytes()
        if len(written) <= LARGEST:
            return written
        if kept <= 1:
            return None
        kept = max(kept // STEP, 1)


def _rows(content: bytes) -> pa.Table:
    import pyarrow as pa

    return pa.ipc.open_stream(content).read_all()


def _reason(error: HeadraceError) -> str:
    """What happened and the next step, without options of the command line, which a page has not."""
    hint = "" if "--" in error.hint else error.hint
    told = "\n".join(filter(None, (error.what, hint)))
    return told if len(told) <= LONGEST else f"{told[:LONGEST]}…"
