"""Whether the endpoints of routes answer: their lists of models are requested, which costs nothing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError
from headrace.llm.gateway.connection import Outgoing, aiohttp, broken, new_session
from headrace.llm.gateway.protocols.known import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import ClientSession

    from headrace.environments.llm import LlmRoute

SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class EndpointCheck:
    """What an endpoint answered to a request for its models.

    Attributes:
        answers: whether it answered and let the key in. An endpoint without such a list, which answers 404, does answer.
        reason: why it does not; empty where it does.
        seconds: that it took; None where nothing came.
    """

    answers: bool
    reason: str
    seconds: float | None


def check_endpoints(routes: Sequence[LlmRoute]) -> list[EndpointCheck]:
    """Asks the endpoints of routes, all at the same time, for at most five seconds.

    Args:
        routes: whose endpoints are asked, each with its key.

    Returns:
        A result for each route, in their order.
    """
    return asyncio.run(_check_all(routes))


async def _check_all(routes: Sequence[LlmRoute]) -> list[EndpointCheck]:
    async with new_session() as session:
        return list(await asyncio.gather(*(_check(session, each) for each in routes)))


async def _check(session: ClientSession, route: LlmRoute) -> EndpointCheck:
    where = f"route {route.name!r}"
    try:
        key = None if route.key is None else route.key.read(f"the key of {where}").strip()
    except ConfigError as error:
        return EndpointCheck(answers=False, reason=error.what, seconds=None)
    headers = PROTOCOLS[route.protocol].headers(key)
    outgoing = Outgoing(url=f"{route.url}/models", headers=headers, body=b"", key=key, where=where)
    began = time.perf_counter()
    try:
        async with asyncio.timeout(SECONDS):
            response = await session.get(outgoing.url, headers=outgoing.headers, allow_redirects=False)
            status = response.status
            response.close()
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return EndpointCheck(answers=False, reason=broken(error, outgoing, SECONDS).error.what, seconds=None)
    reason = "" if status in (200, 404, 405) else f"it answered with status {status}."
    return EndpointCheck(answers=not reason, reason=reason, seconds=time.perf_counter() - began)
