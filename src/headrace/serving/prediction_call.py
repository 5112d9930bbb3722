"""One request for predictions: which rows it asks of which versions, its answer, and its records in the log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from headrace.serving.answer_pieces import AnswerPieces
from headrace.serving.caller import said
from headrace.serving.chain_answers import fill
from headrace.serving.content_type import content_type
from headrace.serving.inflate import CODED, inflated
from headrace.serving.messages import Answer, RefusedRequestError

if TYPE_CHECKING:
    from headrace.serving.log import Log
    from headrace.serving.messages import Request
    from headrace.serving.observation import Observation
    from headrace.serving.predictors.chain import ChainPredictor, TimedAnswer
    from headrace.serving.protocols.base import ServingProtocol
    from headrace.serving.protocols.prediction_request import RequestPart
    from headrace.serving.routes import RouteTable
    from headrace.serving.shadow import Shadows
    from headrace.serving.traffic import ServedTraffic


class Answering(Protocol):
    """What answers: it numbers requests, and has the log and the paths.

    Attributes:
        log: of inferences.
        routes: the paths of the protocols at work.
        shadows: asked beside; None while there are none.
    """

    log: Log
    routes: RouteTable
    shadows: Shadows | None

    def number(self, *, secret: bool = False) -> str:
        """The id of a request; a secret one tells nothing of others."""
        ...


class PredictionCall:
    """A request for predictions, from its body to its answer.

    Args:
        app: what answers.
        traffic: the versions at work.
        request: with its body.
        protocol: of its path.
        pattern: of its path.
        began: by the performance counter.

    Raises:
        RefusedRequestError: the body is not one of the protocol, or has too many rows.
        BadRequestError: it cannot be read.
    """

    __slots__ = ("app", "began", "caller", "id", "parts", "pattern", "protocol", "request", "traffic")

    def __init__(
        self,
        app: Answering,
        traffic: ServedTraffic,
        request: Request,
        protocol: ServingProtocol,
        pattern: str,
        began: float,
    ) -> None:
        self.app, self.traffic, self.request, self.began = app, traffic, request, began
        self.protocol, self.pattern = protocol, pattern
        self.id = app.number(secret=traffic.manifest.feedback is not None)
        self.caller = said(request.headers)
        if request.api_key is not None:
            self.caller["api_key"] = request.api_key
        if CODED in request.headers:
            request = inflated(request, traffic.manifest.serve.max_body)
        if traffic.primary.shape == "whole" and not protocol.whole:
            places = [each.pattern for one in app.routes.protocols if one.whole for each in one.routes if each.predicts]
            raise RefusedRequestError(
                400, f"this model takes no rows that are known here: ask it at {', '.join(places)}."
            )
        if traffic.primary.shape != "whole":  # such a model reads the body itself
            content_type(request.headers, protocol.consumes)
        self.parts = protocol.read(traffic, request, self.id)
        most = traffic.manifest.serve.max_rows
        if (self.parts[0].count if len(self.parts) == 1 else sum([part.count for part in self.parts])) > most:
            raise RefusedRequestError(413, f"a request may have {most} rows.")

    def note(self, seen: Observation) -> None:
        """What is asked of which model, for those who watch."""
        seen.id, seen.model = self.id, self.traffic.manifest.model
        seen.versions = [part.serving.served.version for part in self.parts]
        seen.redacted = bool(self.traffic.manifest.serve.redact)

    def fill(self, part: RequestPart, predictor: ChainPredictor, answers: list[TimedAnswer]) -> None:
        """Gives a part the answers of a chain, and shows them to those who watch."""
        fill(part, predictor, answers)
        if self.request.seen is not None:
            self.request.seen.answers += answers

    def streams(self) -> bool:
        """Whether the answer is not there yet when its first event leaves: it is logged when it is."""
        return any(part.streams for part in self.parts)

    def cancel(self) -> None:
        """Nobody waits for the answers that still come."""
        for part in self.parts:
            if isinstance(part.pieces, AnswerPieces):
                part.pieces.cancel()

    def answered(self) -> Answer:
        """What the parts answer, as the protocol writes it."""
        if self.app.shadows is not None:
            self.app.shadows.ask(self.id, self.request)
        versions = (
            self.parts[0].serving.number
            if len(self.parts) == 1
            else ",".join([part.serving.number for part in self.parts])
        )
        headers = f"x-headrace-version: {versions}\r\nx-headrace-request: {self.id}\r\n"
        headers = (headers if "request" in self.caller else f"{headers}x-request-id: {self.id}\r\n").encode()
        status, body, kind, own, events = self.protocol.write(self.traffic, self.parts, self.id)
        return Answer(status, body, kind, headers + own if own else headers, events)

    def records(self) -> list[bytes]:
        """What the log says of the request, a record for each part; none where it is not logged."""
        if self.traffic.manifest.serve.log == "none":
            return []
        seconds = time.perf_counter() - self.began
        log, split = self.app.log, self.traffic.split
        match = self.request.match
        path = match.route.logged if match is not None and match.route.logged else self.pattern
        records: list[bytes] = []
        for part in self.parts:
            if part.work is not None:
                continue
            record = log.answered(
                part,
                split,
                request_id=self.id,
                path=path,
                ids=part.ids(self.id),
                seconds=seconds,
                caller=self.caller,
            )
            if record is not None:
                records.append(record)
        return records
