"""The contract of a serving protocol: its paths, reading requests, writing answers and refusals, its part of OpenAPI.

Each protocol has one file and one line in `known`; an external protocol is named by
`hr.Serve(protocols=["package.module:NAME"])`. A protocol is one object for all requests of a process and keeps nothing
between them. `read`, `write`, `refusal` and `info` are called on the event loop, where nothing may wait.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.serving.messages import JSON, plain_refusal
from headrace.serving.openapi_parts import asks, gets, object_of

if TYPE_CHECKING:
    from headrace.serving.messages import Answer, Request
    from headrace.serving.protocols.prediction_request import RequestPart
    from headrace.serving.route import Match, Route
    from headrace.serving.server import Server
    from headrace.serving.traffic import ServedTraffic


class ServingProtocol(ABC):
    """How requests at some paths are read, and how their answers are written. Subclass it for a protocol of your own.

    Attributes:
        name: small letters; unique in a server.
        routes: its paths. None of them may match a path of another protocol or of the server itself.
        prefix: refusals of paths below it that no route has are in this protocol's shape as well; none where it is empty.
        whole: it also hands whole bodies to models of MLflow's whose inputs are no rows of named values.
        error: the name of the refusal's schema in the OpenAPI document; another shape needs another name.
        error_fields: the fields of a refusal, which are texts.
        kind: the content type of its answers, `application/json` or `text/event-stream`, as the OpenAPI document says it.
        consumes: the content types of the bodies that it reads; the server refuses others with 415 before `read`. A body
            whose request does not say what it is, is JSON. Defaults to `application/json` alone.

    Example:
        `traffic` are the versions at work, and `request` is a POST of two flights:

        >>> import json
        >>> class Rows(hr.protocols.ServingProtocol):
        ...     name, routes = "rows", (hr.protocols.Route(pattern="/rows", predicts=True),)
        ...     def read(self, traffic, request, number):
        ...         serving, divided = hr.protocols.assigned(traffic, request, number)
        ...         rows = serving.codec.check(json.loads(request.body))
        ...         return [hr.protocols.RequestPart(serving, rows, divided=divided)]
        ...     def write(self, traffic, parts, number):
        ...         return hr.protocols.Answer(200, json.dumps(parts[0].answers).encode())
        >>> Rows().read(traffic, request, "r-1")[0].rows
        [[1400.0, 'AA'], [230.0, 'UA']]
    """

    name: ClassVar[str]
    routes: ClassVar[tuple[Route, ...]]
    prefix: ClassVar[str] = ""
    whole: ClassVar[bool] = False
    error: ClassVar[str] = "Error"
    error_fields: ClassVar[tuple[str, ...]] = ("error_code", "message")
    kind: ClassVar[str] = JSON.decode()
    consumes: ClassVar[tuple[str, ...]] = (JSON.decode(),)

    @abstractmethod
    def read(self, traffic: ServedTraffic, request: Request, number: str) -> list[RequestPart]:
        """The rows of a request, by the version that answers them.

        Args:
            traffic: the versions at work; it says which of them answers an entity.
            request: with its whole body, inflated, of a content type that the protocol consumes.
            number: the id of the request, which divides what names no entity.

        Returns:
            At least one part. What `write` has to know of the request is kept in `part.context`.

        Raises:
            BadRequestError: says what is wrong, with the row and the column; it is answered with 400. A body that is empty
                or has no rows is wrong.
            RefusedRequestError: with a status of its own.
        """

    @abstractmethod
    def write(self, traffic: ServedTraffic, parts: list[RequestPart], number: str) -> Answer:
        """The answer, from `part.answers`: one tuple a row, in the order of `part.serving.columns`.

        It has one prediction for each row of the request, in the order of the rows.

        Args:
            traffic: as `read` had it.
            parts: as `read` returned them, answered.
            number: the id of the request.

        Returns:
            The answer; lines for version and request ids are added to its headers. `Answer(200, b"", events=…)` streams.
            An exception that its generator raises becomes an `event: error`, with which the stream ends, and so does an
            event that takes longer than `hr.Serve(timeout=…)`.
        """

    def check(self, traffic: ServedTraffic, match: Match) -> None:  # noqa: B027  # most paths name no model
        """Looks at the head of a request, before its body comes.

        Args:
            traffic: the versions at work.
            match: the route, with the values of its names.

        Raises:
            RefusedRequestError: the path names what is not served here.
        """

    def refusal(self, status: int, message: str) -> bytes:
        """The body, in JSON, of an answer that is none.

        Args:
            status: of HTTP, 400 or above.
            message: for people.
        """
        return plain_refusal(status, message)

    def error_schema(self) -> dict[str, Any]:
        """The schema of refusals in the OpenAPI document; it defaults to an object of texts, `error_fields`."""
        return object_of({name: {"type": "string"} for name in self.error_fields})

    def info(self, server: Server, match: Match) -> Answer:
        """The answer at a route that does not predict. `check` was called before, if something is in Production.

        Args:
            server: what is served and counted.
            match: the route, with the values of its names.

        Raises:
            RefusedRequestError: there is nothing to tell yet.
        """
        del server
        raise NotImplementedError(f"{type(self).__name__} has the route {match.route.pattern}, and no info().")

    def openapi(self, traffic: ServedTraffic) -> dict[str, Any]:
        """Its paths in the OpenAPI document, each with one operation; the default says little of the bodies.

        Schemas of refusals and what is said of API keys are added by the document. A name in braces that is left in a path
        needs a `parameters` entry; `{model}` and `{version}` are best replaced.

        Args:
            traffic: the versions at work.
        """
        paths: dict[str, Any] = {}
        for route in self.routes:
            path = route.pattern.replace("{model}", traffic.manifest.model)
            path = path.replace("{version}", traffic.primary.number)
            names = [each[1:-1] for each in path.split("/") if each.startswith("{")]
            if route.predicts:
                answer = {"description": f"An answer of {self.name}.", "content": {self.kind: {}}}
                method, operation = (
                    "post",
                    asks(
                        f"Predictions by {self.name}.", {each: {} for each in self.consumes}, answer, error=self.error
                    ),
                )
            else:
                method, operation = "get", gets(f"What {self.name} tells of the server.")
            if names:
                operation["parameters"] = [
                    {"name": each, "in": "path", "required": True, "schema": {"type": "string"}} for each in names
                ]
            paths[path] = {method: operation}
        return paths
