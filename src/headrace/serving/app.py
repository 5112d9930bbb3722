"""From requests to answers: admits requests, lets the protocol of their path read and write, and the loaded versions predict.

The paths are defined by the protocols (`protocols.known`) and by `routes`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from headrace.core.clock import duration
from headrace.core.errors import ConflictError, DataError, HeadraceError, UnavailableError
from headrace.core.ids import new_id
from headrace.serving.answer_errors import refused
from headrace.serving.answer_pieces import AnswerPieces
from headrace.serving.answer_threads import AnswerThreads
from headrace.serving.codec import BadRequestError
from headrace.serving.engine import MicroBatcher
from headrace.serving.feedback import check_feedback, take_feedback
from headrace.serving.info_routes import about
from headrace.serving.log import Log
from headrace.serving.log_writer import Writing
from headrace.serving.messages import Answer, RefusedRequestError
from headrace.serving.metrics import Counters
from headrace.serving.prediction_call import PredictionCall
from headrace.serving.predictors import ChainPredictor
from headrace.serving.routes import KNOWN, METHODS, OTHER
from headrace.serving.streaming import StreamedAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping
    from contextlib import AbstractContextManager

    from headrace.serving.api_keys import ApiKeys
    from headrace.serving.messages import Event, PendingResponse, Request
    from headrace.serving.observation import Observation
    from headrace.serving.predictors.chain import TimedAnswer
    from headrace.serving.protocols.base import ServingProtocol
    from headrace.serving.protocols.prediction_request import RequestPart
    from headrace.serving.routes import RouteTable
    from headrace.serving.shadow import Shadows
    from headrace.serving.traffic import ServedTraffic

LOG = logging.getLogger(__name__)

Status = Literal["ready", "waiting", "withdrawn", "stuck", "log full", "no features", "draining"]
NOTHING = "nothing is in Production yet. Next: headrace run deploy"
SECRET = 6  # random bytes
LOOKING_UP = 8  # requests at the same time, where the online store is not on this machine


class App:
    """Answers.

    Attributes:
        traffic: the versions at work; replaced in one assignment. None before something is in Production.
        routes: the paths of the protocols at work, replaced together with `traffic`.
        log: of inferences.
        shadows: asked beside; None while there are none.
        api_keys: who may call; None for everybody who can reach the address.
        published: what `/ready` says of features, where asking the store would hold the loop; a follower looks.
        trouble: why the latest `serving.json` is not followed; empty when it is.
        withdrawn: nothing is in Production any more; the version that was answers on, and readiness says no.
        draining: about to end; what still comes is answered, readiness says no.
        siblings: gives what the other processes at this port have counted.
    """

    def __init__(self, *, api_keys: ApiKeys | None = None) -> None:
        self.traffic: ServedTraffic | None = None
        self.trouble = NOTHING
        self.published: dict[str, str] | None = None
        self.routes: RouteTable = KNOWN
        self.withdrawn = False
        self.draining = False
        self.api_keys = api_keys
        self.shadows: Shadows | None = None
        self.counters = Counters()
        self.in_flight = 0
        self.name = new_id()
        self.log = Log(self.name)
        self.writing = Writing(self.log, self.counters)
        self._count = 0
        self._engine = MicroBatcher()
        self._answers = AnswerThreads()
        self._io = ThreadPoolExecutor(LOOKING_UP, thread_name_prefix="look-up")
        self._by_key: dict[str, int] = {}
        self.siblings: Callable[[], list[dict[str, Any]]] = list

    def ready(self) -> bool:
        """Whether requests are answered with predictions."""
        return self.status(self.features()) == "ready"

    def status(self, features: Mapping[str, str] | None) -> Status:
        """Whether requests are answered with predictions, and why not.

        Args:
            features: what `features` gives.
        """
        traffic = self.traffic
        if self.draining:
            return "draining"
        if traffic is None:
            return "waiting"
        if self.withdrawn:
            return "withdrawn"
        if self.stuck(traffic):
            return "stuck"
        if self.log.trouble and traffic.manifest.serve.log == "required":
            return "log full"
        return "ready" if features is not None and features.keys() >= traffic.primary.features.tables else "no features"

    def features(self) -> dict[str, str] | None:
        """Table → when it was published; None when the store cannot be read."""
        traffic = self.traffic
        if traffic is None:
            return {}
        return traffic.published() if traffic.primary.features.is_local else self.published

    def stuck(self, traffic: ServedTraffic) -> bool:
        """Whether the model has not come back from a call within the time that a request may take; all of its calls, for a chain."""
        seconds = duration(traffic.manifest.serve.timeout).total_seconds()
        return self._engine.lasts() > seconds or self._answers.are_stuck(seconds)

    def admit(self, request: Request) -> Answer | None:
        """See messages.Answering."""
        path, began = request.path, time.perf_counter()
        request.match = match = self.routes.find(path)
        try:
            request.predicts = match is not None and match.route.predicts
            request.receives = match is not None and match.route.receives
            if self.api_keys is not None:
                request.api_key = self.api_keys.check(request, predicts=request.predicts)
            if match is not None and request.receives:
                check_feedback(self, request, match)
        except RefusedRequestError as refused:
            return self._failed(refused, path)
        if match is None or not request.predicts:
            return None
        try:
            traffic = self._admit(request)
            self.routes.by_name[match.owner].check(traffic, match)
        except RefusedRequestError as refused:
            self._counted([], refused.status, began, match.route.pattern)
            return self._failed(refused, path)
        return None

    def answer(self, request: Request) -> Answer | PendingResponse:
        """See messages.Answering."""
        try:
            match = request.match
            if match is not None and request.receives:
                return take_feedback(self, request, match)
            protocol = self.routes.by_name.get(match.owner) if request.predicts and match is not None else None
            if protocol is None or match is None:
                return about(self, self.routes, request)
            return self._predict(request, protocol, match.route.pattern)
        except Exception as error:  # noqa: BLE001  # whatever happens, the server stays
            return self._failed(error, request.path)

    def answered(self, path: str, method: str, status: int) -> None:
        """See messages.Answering."""
        key = self.routes.pattern(path), method if method in METHODS else OTHER, status
        http = self.counters.http
        http[key] = http.get(key, 0) + 1

    def vital(self, path: str) -> bool:
        """See messages.Answering."""
        match = self.routes.find(path)
        return match is not None and match.route.open

    def refusal(self, path: str, status: int, message: str) -> Answer:
        """See messages.Answering."""
        return self.routes.refusal(path, status, message)

    # ------------------------------------------------------------------------------------------ predictions

    def _predict(self, request: Request, protocol: ServingProtocol, pattern: str) -> Answer | PendingResponse:
        """At once where all of it is quick, or when the log has it; otherwise later, in threads."""
        began = time.perf_counter()
        parts: list[RequestPart] = []
        try:
            traffic = self._admit(request)
            asked = PredictionCall(self, traffic, request, protocol, pattern, began)
            parts, seen = asked.parts, request.seen
            if seen is not None:
                asked.note(seen)
            for part in parts:
                if not part.at_once():
                    return asyncio.get_running_loop().create_task(self._later(asked, request.api_key))
            for part in parts:
                if part.asked is not None:
                    part.complete()
                if seen is None:
                    part.answers = part.serving.predict(part.rows)
                else:
                    with _call(seen, part):
                        part.answers = part.serving.predict(part.rows)
            answer = asked.answered()
            if answer.events is not None:
                return self._stream_at_once(asked, answer)
            records = asked.records()
            if records:
                if traffic.manifest.serve.log == "required":
                    return self.writing.before(
                        answer,
                        records,
                        lambda status: self._counted(parts, status, began, pattern),
                        partial(self.refusal, request.path),
                    )
                self.writing.behind(records)
        except Exception as error:  # noqa: BLE001  # whatever a model does, the server stays
            if isinstance(error, ValueError | TypeError):
                return asyncio.get_running_loop().create_task(self._explained(error, parts, request.path, began))
            answer = self._failed(error, request.path)
        self._counted(parts, answer.status, began, pattern)
        return answer

    async def _explained(self, error: Exception, parts: list[RequestPart], path: str, began: float) -> Answer:
        answer = self._failed(error, path, await self._without(error, parts))
        self._counted(parts, answer.status, began, self.routes.pattern(path))
        return answer

    async def _without(self, error: Exception, parts: list[RequestPart]) -> str:
        """Which row has missing values that its model does not take; empty where it fails without them, too."""
        if isinstance(error, ValueError | TypeError):
            for part in parts:
                if (place := part.incomplete()) is None:
                    continue
                names, filled = part.filled(place)
                with suppress(Exception):
                    await self._engine.run(part.serving, [filled])
                    row = place if part.places is None else part.places[place]
                    return f"row {row} has no value for {', '.join(map(repr, names))}"
        return ""

    async def _later(self, asked: PredictionCall, key: str | None) -> Answer:
        limits = asked.traffic.manifest.serve
        try:
            with self._under_way(key, limits.concurrency):
                async with asyncio.timeout(duration(limits.timeout).total_seconds()):
                    await asyncio.gather(*(self._run(asked, part) for part in asked.parts))
                    answer = asked.answered()
                    required = limits.log == "required"
                    if (required or answer.events is None) and not asked.streams() and (records := asked.records()):
                        (self.writing.now if required else self.writing.behind)(records)
            if answer.events is not None:
                return answer._replace(events=self._streamed(asked, answer.events))
        except asyncio.CancelledError:
            asked.cancel()
            raise
        except TimeoutError:
            asked.cancel()
            answer = self.refusal(asked.request.path, 503, f"there was no answer within {limits.timeout}.")
        except Exception as error:  # noqa: BLE001  # whatever a model does, the server stays
            answer = self._failed(error, asked.request.path, await self._without(error, asked.parts))
        self._counted(asked.parts, answer.status, asked.began, asked.pattern)
        return answer

    @contextmanager
    def _under_way(self, key: str | None, most: int) -> Generator[None]:
        """Counts a request for as long as it takes."""
        mine = 0 if key is None else self._by_key.get(key, 0)
        if mine >= most:
            raise RefusedRequestError(429, f"{most} requests of this API key are under way already.")
        self.in_flight += 1
        if key is not None:
            self._by_key[key] = mine + 1
        try:
            yield
        finally:
            self.in_flight -= 1
            if key is not None:
                self._by_key[key] -= 1

    async def _run(self, asked: PredictionCall, part: RequestPart) -> None:
        seen = asked.request.seen
        if part.asked is not None:
            if part.serving.features.is_local:
                part.complete()
            else:
                await asyncio.get_running_loop().run_in_executor(self._io, part.complete)
        with nullcontext() if seen is None else _call(seen, part):
            if part.at_once():
                part.answers = part.serving.predict(part.rows)
            elif isinstance(part.serving.predictor, ChainPredictor):
                await self._answer(asked, part, part.serving.predictor)
            elif self.stuck(asked.traffic):
                raise RefusedRequestError(503, f"the model has been at one call for {self._engine.lasts():.0f} s.")
            else:
                part.answers = await self._engine.run(part.serving, part.rows)

    async def _answer(self, asked: PredictionCall, part: RequestPart, predictor: ChainPredictor) -> None:
        """The answers of a chain; of a stream, until its first piece has come, so that what fails before has a status."""
        threads, user = self._answers, part.user or asked.request.api_key or ""
        threads.size = asked.traffic.manifest.serve.threads
        if self.stuck(asked.traffic):
            raise RefusedRequestError(503, f"{threads.size} answers that nobody waits for any more do not end.")
        try:
            if part.work is not None:
                part.result = await threads.call(part.work, user)
            elif part.streams:
                pieces = threads.stream(predictor, part.rows[0], user)
                required = asked.traffic.manifest.serve.log == "required"
                part.pieces = AnswerPieces(pieces, partial(self._keep, asked, part, predictor), required=required)
                await pieces.begin()
            else:
                asked.fill(part, predictor, await threads.many(predictor, part.rows, user))
        except HeadraceError as error:
            raise refused(error) from error

    def _keep(self, asked: PredictionCall, part: RequestPart, predictor: ChainPredictor, answer: TimedAnswer) -> None:
        """An answer that streamed, for its part and the log."""
        asked.fill(part, predictor, [answer])
        if records := asked.records():
            required = asked.traffic.manifest.serve.log == "required"
            (self.writing.now if required else self.writing.behind)(records)

    def _admit(self, request: Request) -> ServedTraffic:
        if request.method != "POST":
            raise RefusedRequestError(405, f"{request.path} takes POST.", b"allow: POST\r\n")
        traffic = self.traffic  # one for the whole request
        if traffic is None:
            raise RefusedRequestError(503, self.trouble)
        most = traffic.manifest.serve.queue
        if self.in_flight >= most:
            raise RefusedRequestError(503, f"{most} requests are waiting already.")
        return traffic

    def _failed(self, error: Exception, path: str, without: str = "") -> Answer:
        if isinstance(error, RefusedRequestError):
            return self.routes.refusal(path, error.status, str(error), error.headers)
        if isinstance(error, BadRequestError):
            return self.refusal(path, 400, str(error))
        if isinstance(error, UnavailableError | ConflictError):
            LOG.error("%s", error)
            return self.refusal(path, 503, "the online store cannot be read now; the server's log says more.")
        if isinstance(error, DataError):
            return self.refusal(path, 400, error.what)
        LOG.error("%s in the model", type(error).__name__, exc_info=error)
        if without:
            return self.refusal(path, 422, f"{type(error).__name__} in the model; {without}.")
        return self.refusal(path, 500, f"{type(error).__name__} in the model; the server's log says more.")

    # ------------------------------------------------------------------------------------------ answers that stream

    def _stream_at_once(self, asked: PredictionCall, answer: Answer) -> Answer | PendingResponse:
        """A log that is required has the answers before the first event leaves; another one after the last event."""
        limits, key = asked.traffic.manifest.serve, asked.request.api_key
        if key is not None and self._by_key.get(key, 0) >= limits.concurrency:
            raise RefusedRequestError(429, f"{limits.concurrency} requests of this API key are under way already.")
        assert answer.events is not None
        records = asked.records() if limits.log == "required" else []
        events = self._streamed(asked, answer.events)
        answer = answer._replace(events=events)
        if not records:
            return answer
        return self.writing.before(answer, records, events.settled, partial(self.refusal, asked.request.path))

    def _streamed(self, asked: PredictionCall, events: AsyncGenerator[Event, None]) -> StreamedAnswer:
        """The events of a protocol, which count as under way, the first in the time that is left, and are counted at their end."""
        limits, key = asked.traffic.manifest.serve, asked.request.api_key

        def ended(status: int) -> None:
            self.in_flight -= 1
            if key is not None:
                self._by_key[key] -= 1
            asked.cancel()
            self._counted(asked.parts, status, asked.began, asked.pattern)
            if limits.log != "required" and not asked.streams() and (records := asked.records()):
                self.writing.behind(records)

        self.in_flight += 1
        if key is not None:
            self._by_key[key] = self._by_key.get(key, 0) + 1
        timeout = duration(limits.timeout).total_seconds()
        left = timeout - (time.perf_counter() - asked.began)
        return StreamedAnswer(
            events,
            until=asyncio.get_running_loop().time() + left,
            timeout=timeout,
            failed=partial(self._failed_event, asked, limits.timeout),
            ended=ended,
        )

    def _failed_event(self, asked: PredictionCall, timeout: str, error: Exception) -> Answer:
        if isinstance(error, TimeoutError):
            return self.refusal(asked.request.path, 503, f"there was no event within {timeout}.")
        return self._failed(error, asked.request.path)

    def counted(self) -> Counters:
        """What all processes at this port have counted."""
        return self.counters.plus(self.siblings())

    def number(self, *, secret: bool = False) -> str:
        """The id of a request.

        Args:
            secret: whether nobody can tell it from the ids of other requests, as where whoever knows it may give feedback.
        """
        self._count += 1
        return f"{self.name}{self._count:x}{secrets.token_hex(SECRET) if secret else ''}"

    def _counted(self, parts: list[RequestPart], status: int, began: float, path: str) -> None:
        seconds = time.perf_counter() - began
        if not parts:
            primary = self.traffic.primary.served if self.traffic else None
            self.counters.answered(
                (primary.version, primary.role, status) if primary else (0, "", status), seconds, 0, path
            )
        for part in parts:
            served = part.serving.served
            rows = len(part.rows) if status == 200 else 0
            self.counters.answered((served.version, served.role, status), seconds, rows, path)
            path = ""  # one request, however many versions answered it


def _call(seen: Observation, part: RequestPart) -> AbstractContextManager[None]:
    return seen.call(part.serving.served.version, part.serving.predictor.tier, len(part.rows))
