"""Requests to answers: one object that the web server calls for each request. No routing framework: the path is the code.

POST /invocations   full rows, as MLflow's scoring server takes them
POST /predict       keys and request columns; features come from the online store
GET  /health  /ready  /version  /metrics
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, cast

import orjson

from headrace.core.errors import ConflictError, DataError, UnavailableError
from headrace.core.ids import new_id
from headrace.scoring.prediction_id import prediction_id
from headrace.scoring.spool import Spool, SpoolFullError
from headrace.serving.codec import BadRequestError, document
from headrace.serving.telling import Counters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.serving.predictors import Answer, Row
    from headrace.serving.version import Serving

    Waiting = tuple[Serving, list[Row], asyncio.Future[list[Answer]]]

JSON = ("content-type", "application/json")
TEXT = ("content-type", "text/plain; version=0.0.4")
AGAIN = ("retry-after", "1")
NOTHING = "nothing is in Production yet. Next: headrace run deploy"


class Scope(Protocol):
    """What the web server knows of a request."""

    method: str
    path: str

    @property
    def headers(self) -> Any:
        """Names in small letters → values."""
        ...


class Proto(Protocol):
    """The request's body and its answer."""

    async def __call__(self) -> bytes:
        """The body."""
        ...

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """The whole answer."""
        ...


class RefusedRequestError(Exception):
    """A request that is not answered with a prediction."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class App:
    """Answers.

    Attributes:
        serving: the version at work; replaced in one assignment. None before something is in Production.
        spool: of the inference log.
        trouble: why the latest `serving.json` is not followed; empty when it is.
        draining: about to end; what still comes is answered, readiness says no.
    """

    def __init__(self) -> None:
        self.serving: Serving | None = None
        self.spool: Spool | None = None
        self.trouble = NOTHING
        self.draining = False
        self.counters = Counters()
        self.in_flight = 0
        self._name = new_id()
        self._count = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self._waiting: list[Waiting] = []
        self._busy = False

    async def __rsgi__(self, scope: Scope, proto: Proto) -> None:
        """The web server's call for each request."""
        path = scope.path
        if path in ("/invocations", "/predict"):
            await self._predict(scope, proto, path)
        else:
            status, headers, body = self._tell(scope.method, path)
            proto.response_bytes(status, headers, body)

    def _version(self) -> int:
        return self.serving.served.version if self.serving else 0

    def ready(self) -> bool:
        """Whether requests are answered with predictions."""
        return self.serving is not None and not self.draining

    async def _predict(self, scope: Scope, proto: Proto, path: str) -> None:
        began = time.perf_counter()
        self.in_flight += 1
        rows = version = 0
        headers: list[tuple[str, str]] = [JSON]
        try:
            version, body, rows, headers = await self._answer(scope, proto, path)
            status = 200
        except RefusedRequestError as refused:
            status, body = refused.status, _error(refused.status, refused.message)
            if status == 503:
                headers = [JSON, AGAIN]
        except BadRequestError as error:
            status, body = 400, _error(400, str(error))
        except (UnavailableError, ConflictError) as error:
            status, body = 503, _error(503, "the online store cannot be read now; the server's log says more.")
            headers = [JSON, AGAIN]
            _say(str(error))
        except DataError as error:
            status, body = 400, _error(400, error.what)
        except Exception as error:  # noqa: BLE001  # whatever a model does, the server stays
            status, body = 500, _error(500, f"{type(error).__name__} in the model; the server's log says more.")
            _report(error)
        finally:
            self.in_flight -= 1
        self.counters.answered(version or self._version(), status, time.perf_counter() - began, rows)
        proto.response_bytes(status, headers, body)

    async def _answer(self, scope: Scope, proto: Proto, path: str) -> tuple[int, bytes, int, list[tuple[str, str]]]:
        """The version that answered, the body, its rows, and the headers."""
        if scope.method != "POST":
            raise RefusedRequestError(405, f"{path} takes POST.")
        serving = self.serving  # one version for the whole request
        if serving is None:
            raise RefusedRequestError(503, self.trouble)
        limits = serving.manifest.serve
        if self.in_flight > limits.queue:
            raise RefusedRequestError(503, f"{limits.queue} requests are waiting already.")
        if int(scope.headers.get("content-length") or 0) > limits.max_body:
            raise RefusedRequestError(413, f"a body may have {limits.max_body} bytes.")
        body = await proto()
        if len(body) > limits.max_body:
            raise RefusedRequestError(413, f"a body may have {limits.max_body} bytes.")
        self._count += 1
        request_id = f"{self._name}{self._count:x}"
        if path == "/predict":
            asked = _requests(body)
            self._limit(len(asked), limits.max_rows)
            full = serving.features.full_rows(asked)
            rows = serving.codec.check([[row[name] for name in serving.codec.names] for row in full])
            known = [_known(serving, row) for row in full]
        else:
            rows = serving.codec.decode(body, scope.headers.get("content-type") or "")
            self._limit(len(rows), limits.max_rows)
            known = None
        answers = await self._run(serving, rows)
        ids = _ids(serving, request_id, known, len(rows))
        if limits.log != "none":
            self._log(serving, request_id, path, rows, known, ids, answers)
        columns = serving.columns
        if known is None:
            said: dict[str, Any] = {"predictions": [dict(zip(columns, each, strict=True)) for each in answers]}
        else:
            said = {
                "model": serving.manifest.model,
                "version": serving.served.version,
                "predictions": [
                    {"prediction_id": number, **dict(zip(columns, each, strict=True))}
                    for number, each in zip(ids, answers, strict=True)
                ],
            }
        headers = [JSON, ("x-headrace-version", str(serving.served.version)), ("x-request-id", request_id)]
        return serving.served.version, orjson.dumps(said), len(rows), headers

    def _limit(self, rows: int, most: int) -> None:
        if rows > most:
            raise RefusedRequestError(413, f"a request may have {most} rows.")

    async def _run(self, serving: Serving, rows: list[Row]) -> list[Answer]:
        """Predicts here when it is quick; otherwise in a thread, which takes what has queued up meanwhile in one call."""
        if serving.inline(len(rows)):
            return [serving.predictor.one(rows[0])] if len(rows) == 1 else serving.predictor.many(rows)
        waiting: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._waiting.append((serving, rows, waiting))
        self._next()
        return await waiting

    def _next(self) -> None:
        """On the loop: hands the thread everything that waits, unless it is at work."""
        if self._waiting and not self._busy:
            self._busy = True
            taken, self._waiting = self._waiting, []
            loop = asyncio.get_running_loop()
            loop.run_in_executor(self._thread, self._work, loop, taken)

    def _done(self) -> None:
        self._busy = False
        self._next()

    def _work(self, loop: asyncio.AbstractEventLoop, taken: list[Waiting]) -> None:
        """In the thread: what waits for the same version, in one call."""
        for serving in {id(each[0]): each[0] for each in taken}.values():
            mine = [each for each in taken if each[0] is serving]
            try:
                answers = serving.predictor.many([row for _, rows, _ in mine for row in rows])
            except Exception:  # noqa: BLE001  # one of them spoils the others: each on its own
                for _, rows, waiting in mine:
                    self._alone(loop, serving, rows, waiting)
                continue
            place = 0
            for _, rows, waiting in mine:
                loop.call_soon_threadsafe(_settle, waiting, answers[place : place + len(rows)], None)
                place += len(rows)
        loop.call_soon_threadsafe(self._done)

    def _alone(
        self, loop: asyncio.AbstractEventLoop, serving: Serving, rows: list[Row], waiting: asyncio.Future[list[Answer]]
    ) -> None:
        try:
            answers = serving.predictor.many(rows)
        except Exception as error:  # noqa: BLE001  # told to whoever asked
            loop.call_soon_threadsafe(_settle, waiting, None, error)
        else:
            loop.call_soon_threadsafe(_settle, waiting, answers, None)

    def _log(
        self,
        serving: Serving,
        request_id: str,
        path: str,
        rows: list[Row],
        known: list[dict[str, Any]] | None,
        ids: Sequence[str],
        answers: list[Answer],
    ) -> None:
        """Before the answer goes out, it is in the log, or the policy says what happens."""
        names, columns = serving.codec.names, serving.columns
        record = {
            "id": request_id,
            "at": datetime.now(UTC),
            "model": serving.manifest.model,
            "version": serving.served.version,
            "path": path,
            "rows": [dict(zip(names, row, strict=True)) for row in rows],
            "keys": known,
            "predictions": [
                {"prediction_id": number, **dict(zip(columns, each, strict=True))}
                for number, each in zip(ids, answers, strict=True)
            ],
        }
        assert self.spool is not None  # made when the first version was loaded
        try:
            self.spool.append(orjson.dumps(record))
        except SpoolFullError as error:
            if serving.manifest.serve.log == "required":
                raise RefusedRequestError(503, f"{error.what} Nothing is answered that is not logged.") from error
            self.counters.unlogged += 1

    def _tell(self, method: str, path: str) -> tuple[int, list[tuple[str, str]], bytes]:
        if method not in ("GET", "HEAD"):
            return 404, [JSON], _error(404, f"there is no {path}; POST /invocations or /predict.")
        serving = self.serving
        if path == "/health":
            return 200, [JSON], b'{"status":"alive"}'
        if path == "/ready":
            state = "draining" if self.draining else "ready" if serving else "waiting"
            told = {
                "status": state,
                "version": serving.served.version if serving else None,
                "stale": self.trouble,
                "features": _published(serving) if serving else {},
            }
            return (200 if self.ready() else 503), [JSON], orjson.dumps(told)
        if path == "/version" and serving is not None:
            manifest = serving.manifest
            told = {
                "model": manifest.model,
                "version": serving.served.version,
                "artifact_hash": serving.served.artifact_hash,
                "tier": serving.predictor.tier,
                "slower": list(serving.slower),
                "call_us": round(serving.call * 1e6, 1),
                "row_us": round(serving.row * 1e6, 2),
                "inputs": serving.codec.names,
                "outputs": list(serving.columns),
            }
            return 200, [JSON], orjson.dumps(told)
        if path == "/metrics" and serving is not None:
            manifest = serving.manifest
            text = self.counters.prometheus(
                model=manifest.model, version=serving.served.version, in_flight=self.in_flight
            )
            return 200, [TEXT], text.encode()
        if path in ("/version", "/metrics"):
            return 503, [JSON, AGAIN], _error(503, self.trouble)
        known = "POST /invocations, POST /predict, GET /health, /ready, /version, /metrics"
        return 404, [JSON], _error(404, f"there is no such path; there is {known}.")


def _requests(body: bytes) -> list[dict[str, Any]]:
    asked = document(body)
    if list(asked) != ["rows"] or type(asked["rows"]) is not list:
        raise BadRequestError('the body needs one list: {"rows": [{…}]}.')
    rows = cast("list[Any]", asked["rows"])
    if not rows:
        raise BadRequestError("there are no rows.")
    for place, row in enumerate(rows):
        if type(row) is not dict:
            raise BadRequestError(f"row {place} is no object.")
    return rows


def _published(serving: Serving) -> dict[str, str] | None:
    """Table → when it was published; None when the store cannot be read."""
    try:
        return {name: at.isoformat() for name, at in serving.features.published().items()}
    except (DataError, OSError):
        return None


def _known(serving: Serving, row: dict[str, Any]) -> dict[str, Any]:
    plan = serving.plan
    return {"keys": {name: row[name] for name in plan.keys}, "at": row[plan.at]}


def _ids(serving: Serving, request_id: str, known: list[dict[str, Any]] | None, rows: int) -> list[str]:
    """The same id that batch scoring gives, where the decision is known by its key; otherwise one of the request."""
    if known is None:
        return [f"{request_id}-{place}" for place in range(rows)]
    manifest = serving.manifest
    return [prediction_id(manifest.model, serving.served.version, each["keys"].values(), each["at"]) for each in known]


def _settle(waiting: asyncio.Future[list[Answer]], answers: list[Answer] | None, error: Exception | None) -> None:
    if waiting.done():  # whoever asked has gone
        return
    if error is not None:
        waiting.set_exception(error)
    else:
        waiting.set_result(answers or [])


def _error(status: int, message: str) -> bytes:
    codes = {400: "BAD_REQUEST", 404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "TOO_LARGE", 500: "INTERNAL_ERROR"}
    return orjson.dumps({"error_code": codes.get(status, "TEMPORARILY_UNAVAILABLE"), "message": message})


def _say(text: str) -> None:
    import sys

    print(text, file=sys.stderr, flush=True)


def _report(error: Exception) -> None:
    import sys
    import traceback

    traceback.print_exception(error, file=sys.stderr)
