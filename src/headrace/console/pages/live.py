"""What tells an open page that something has changed: server-sent events, one every time, and a comment in between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from headrace.console.requests import place
from headrace.console.sessions import SignedOutError, acting
from headrace.core.errors import HeadraceError
from headrace.operations.latest_change import latest_change

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

EVERY = 2.0  # seconds
STREAMS = 50  # open pages; more of them are loaded again by hand


async def live(request: Request) -> Response:
    """`changed` each time, as long as the page is open and may be seen; at once where it is not what the page shows."""
    place(request)
    state = request.app.state
    if state.streams >= STREAMS:
        raise HTTPException(503, f"{STREAMS} pages are open. This one is not told of changes: load it again.")
    try:
        mark = await run_in_threadpool(_mark, request)
    except SignedOutError:
        return Response(status_code=204)  # which ends it: the browser does not ask again
    return StreamingResponse(_changes(request, mark), media_type="text/event-stream")


async def _changes(request: Request, mark: str) -> AsyncGenerator[str]:
    request.app.state.streams += 1
    try:
        before = request.query_params.get("since", "")
        while True:
            yield "event: changed\ndata: \n\n" if mark != before else ": \n\n"
            before = mark
            await asyncio.sleep(EVERY)
            mark = await run_in_threadpool(_mark, request)
    except SignedOutError:
        return
    finally:
        request.app.state.streams -= 1


def _mark(request: Request) -> str:
    """What the environment has come to; why that cannot be told, else: the page says it better.

    Raises:
        SignedOutError: who looked has signed out. A page that is only open keeps nobody signed in.
    """
    try:
        with acting(request, renew=False):
            return latest_change(place(request)).mark
    except HeadraceError as error:
        return error.what
    except SQLAlchemyError as error:
        return type(error).__name__


ROUTES = [Route("/{env}/live", live)]
