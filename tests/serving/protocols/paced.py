"""A serving protocol from outside, `POST /paced?pauses=0.2,60`: an event a row, each after so many seconds."""

import asyncio
from urllib.parse import parse_qs

import orjson

import headrace as hr


class Paced(hr.protocols.ServingProtocol):
    name = "paced"
    routes = (hr.protocols.Route(pattern="/paced", predicts=True),)
    kind = "text/event-stream"

    def read(self, traffic, request, number):
        rows = traffic.primary.codec.check(orjson.loads(request.body))
        return [hr.protocols.RequestPart(traffic.primary, rows, context=parse_qs(request.query)["pauses"][0])]

    def write(self, traffic, parts, number):
        return hr.protocols.Answer(200, b"", events=self._events(parts[0]))

    async def _events(self, part):
        for pause, answer in zip(map(float, part.context.split(",")), part.answers, strict=True):
            await asyncio.sleep(pause)
            yield hr.protocols.Event(orjson.dumps(answer))


PACED = Paced()
