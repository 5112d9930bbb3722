"""Feedback on answers: taken, kept in the spool before it is acknowledged, and the widget for web pages."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

import orjson

from headrace.core.errors import DataError
from headrace.llm.feedback.message import BODY, TooLongError, rows
from headrace.serving.content_type import content_type
from headrace.serving.inflate import CODED, inflated
from headrace.serving.messages import Answer, RefusedRequestError, plain_refusal, refusal

if TYPE_CHECKING:
    from headrace.llm.feedback.declarations import Feedback
    from headrace.serving.log_writer import Writing
    from headrace.serving.manifest import Manifest
    from headrace.serving.messages import PendingResponse, Request
    from headrace.serving.route import Match
    from headrace.serving.traffic import ServedTraffic

JAVASCRIPT = b"text/javascript; charset=utf-8"
JSON = ("application/json",)
HARMLESS = b"x-content-type-options: nosniff\r\ncache-control: max-age=300\r\n"
DECLARE = 'hr.Deployment(…, feedback=hr.Feedback("thumbs")) and headrace run deploy'


class Taker(Protocol):
    """What is needed of a server; see App."""

    @property
    def traffic(self) -> ServedTraffic | None:
        """The versions at work."""
        ...

    @property
    def trouble(self) -> str:
        """Why nothing is at work."""
        ...

    @property
    def writing(self) -> Writing:
        """The way to the spool."""
        ...


def check_feedback(app: Taker, request: Request, match: Match) -> None:
    """Whether a message is read at all, by its head.

    Raises:
        RefusedRequestError: it is no POST, too long, for another model, or for one that takes no feedback.
    """
    if request.method != "POST":
        raise RefusedRequestError(405, f"{request.path} takes POST.", b"allow: POST\r\n")
    _declared(app, match)
    length = request.headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > BODY:
        raise _too_large()


def take_feedback(app: Taker, request: Request, match: Match) -> Answer | PendingResponse:
    """Keeps a message, and acknowledges it when the spool has it."""
    try:
        manifest, declared = _declared(app, match)
        content_type(request.headers, JSON)
        if CODED in request.headers:
            request = inflated(request, BODY)
        if len(request.body) > BODY:
            raise _too_large()
        try:
            given = orjson.loads(request.body)
        except orjson.JSONDecodeError as error:
            raise RefusedRequestError(400, f"the body is no JSON: {error.msg}.") from None
        found = rows(given, declared, model=manifest.model, api_key=request.api_key, at=datetime.now(UTC))
    except TooLongError as error:
        return _invalid(413, error.what)
    except DataError as error:
        return _invalid(422, error.what)
    except RefusedRequestError as error:
        return refusal(error.status, error.message, error.headers)
    told = orjson.dumps({"feedback_ids": [each["feedback_id"] for each in found]})
    return app.writing.before(Answer(202, told), [orjson.dumps({"feedback": found})], _ignored)


def widget(manifest: Manifest) -> Answer:
    """The script of the widget.

    Raises:
        RefusedRequestError: the deployment declares none.
    """
    if manifest.feedback is None or not manifest.feedback.widget:
        hint = 'hr.Deployment(…, feedback=hr.Feedback("thumbs", widget=True)) and headrace run deploy'
        raise RefusedRequestError(404, f"{manifest.model} has no widget for feedback; {hint} make one.")
    return Answer(200, _script(), JAVASCRIPT, HARMLESS)


@cache
def _script() -> bytes:
    return (files("headrace.llm.feedback") / "widget.js").read_bytes()


def _declared(app: Taker, match: Match) -> tuple[Manifest, Feedback]:
    if app.traffic is None:
        raise RefusedRequestError(503, app.trouble)
    manifest = app.traffic.manifest
    if unquote(match.values["model"]) != manifest.model:
        raise RefusedRequestError(404, f"here is the model {manifest.model!r} and no other.")
    if manifest.feedback is None:
        raise RefusedRequestError(404, f"{manifest.model} takes no feedback; {DECLARE} change that.")
    return manifest, manifest.feedback


def _too_large() -> RefusedRequestError:
    return RefusedRequestError(413, f"a message with feedback may have {BODY:,} bytes.")


def _invalid(status: int, message: str) -> Answer:
    return refusal(status, message, body=_body)


def _body(status: int, message: str) -> bytes:
    if status != 422:
        return plain_refusal(status, message)
    return orjson.dumps({"error_code": "INVALID_FEEDBACK", "message": message})


def _ignored(status: int) -> None:
    """Counted by path and status like every request, not among the predictions."""
