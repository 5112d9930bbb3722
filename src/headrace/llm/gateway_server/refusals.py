"""Errors as OpenAI's protocol writes them, with the status that tells a client whether to try again."""

from __future__ import annotations

import logging
import math
from typing import Any

from headrace.core.errors import (
    ConfigError,
    CutStreamError,
    DeadlineError,
    DeclarationError,
    EndpointRefusedError,
    HeadraceError,
    LimitError,
    MalformedAnswerError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from headrace.llm.gateway.budget_limits import BudgetExceededError

LOG = logging.getLogger("headrace.llm.gateway_server")
SOON = 1.0  # seconds, where nobody says when to try again
THE_CALLERS = (400, 409, 413, 415, 422)  # statuses of an endpoint that the caller's request is the reason of
MISCONFIGURED = "the route is misconfigured; the log of the gateway says how."


class CallRefusedError(Exception):
    """A call is answered with an error.

    Args:
        status: of HTTP.
        message: for the caller.
        kind: the `type` of OpenAI's error.
        code: its `code`.
        param: the field of the request that is the reason.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}
        self.kind, self.code, self.param = kind, code, param

    @property
    def body(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


def bad_request(message: str, param: str | None = None) -> CallRefusedError:
    """Returns the error of a request that is not possible."""
    return CallRefusedError(400, message, param=param)


def refusal(error: HeadraceError) -> CallRefusedError:
    """Returns how a caller is told of a failure of the gateway. Keys are not in its messages."""
    message = "\n".join(filter(None, (error.what, *error.findings[:10])))
    if isinstance(error, NotFoundError):
        return CallRefusedError(404, message, code="model_not_found", param="model")
    if isinstance(error, DeclarationError):
        return bad_request(str(error))
    if isinstance(error, LimitError):
        return _budget(error)
    if isinstance(error, RateLimitedError):
        headers = {"Retry-After": _whole(error.retry_after)}
        return CallRefusedError(429, message, kind="rate_limit_error", code="rate_limit_exceeded", headers=headers)
    if isinstance(error, DeadlineError):
        return CallRefusedError(504, message, kind="timeout_error", code="timeout")
    if isinstance(error, MalformedAnswerError | CutStreamError):
        return CallRefusedError(502, message, kind="api_error", code="bad_gateway")
    if isinstance(error, EndpointRefusedError):
        if error.status in THE_CALLERS:
            return CallRefusedError(400, message, code="endpoint_refused")
        return CallRefusedError(502, message, kind="api_error", code="endpoint_refused")
    if isinstance(error, UnavailableError):
        return CallRefusedError(503, message, kind="api_error", code="unavailable", headers={"Retry-After": "1"})
    return failure(MISCONFIGURED if isinstance(error, ConfigError) else "the gateway failed; its log says how.")


def failure(message: str) -> CallRefusedError:
    """Returns the error of a gateway that is itself the reason."""
    return CallRefusedError(500, message, kind="server_error", code="internal_error")


def _budget(error: LimitError) -> CallRefusedError:
    """A budget: a client must not try again before the day ends. OpenAI's own client obeys `x-should-retry`."""
    headers, message = {"x-should-retry": "false"}, str(error)
    if isinstance(error, BudgetExceededError):
        LOG.info("refused: %s", error.what)
        headers["Retry-After"], message = _whole(error.retry_after), error.for_caller
    return CallRefusedError(429, message, kind="insufficient_quota", code="insufficient_quota", headers=headers)


def _whole(seconds: float | None) -> str:
    return str(max(1, math.ceil(SOON if seconds is None else seconds)))
