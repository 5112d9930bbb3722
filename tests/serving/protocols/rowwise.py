"""A serving protocol from outside, by public names: `POST /rows/{model}` takes rows, and streams one event a row."""

import orjson

import headrace as hr

Answer, Event, Route = hr.protocols.Answer, hr.protocols.Event, hr.protocols.Route
RefusedRequestError, RequestPart = hr.protocols.RefusedRequestError, hr.protocols.RequestPart
assigned = hr.protocols.assigned


class Rows(hr.protocols.ServingProtocol):
    name = "rows"
    routes = (Route(pattern="/rows/{model}", predicts=True),)
    kind = "text/event-stream"
    error, error_fields = "RowsError", ("problem",)

    def check(self, traffic, match):
        if match.values["model"] != traffic.manifest.model:
            raise RefusedRequestError(404, "no such model")

    def read(self, traffic, request, number):
        try:
            rows = orjson.loads(request.body)
            assert isinstance(rows, list)
        except (ValueError, AssertionError):
            raise RefusedRequestError(400, "the body is a list of rows") from None
        serving, divided = assigned(traffic, request, number)
        return [RequestPart(serving, serving.codec.check(rows), divided=divided, context=request.query)]

    def write(self, traffic, parts, number):
        return Answer(200, b"", events=self._events(parts[0]))

    async def _events(self, part):
        for place, answer in enumerate(part.answers):
            if part.context == f"fail={place}":
                raise ValueError("no more")
            yield Event(orjson.dumps(answer))

    def refusal(self, status, message):
        return orjson.dumps({"problem": message})


ROWS = Rows()


class Thief(Rows):
    name = "thief"
    routes = (Route(pattern="/v2/models/late/infer", predicts=True),)


THIEF = Thief()
