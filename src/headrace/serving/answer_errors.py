"""Why a chain did not answer, as its caller is told: nothing of endpoints, keys or other callers is in it."""

from __future__ import annotations

import logging
import math

from headrace.core.errors import (
    BusyError,
    ConfigError,
    ConflictError,
    DataError,
    DeadlineError,
    DeclarationError,
    EndpointRefusedError,
    HeadraceError,
    LimitError,
    MissingExtraError,
    RateLimitedError,
    UnavailableError,
    UserCodeError,
)
from headrace.llm.gateway.budget_limits import BudgetExceededError
from headrace.serving.llm_gateway import BudgetsUnreachableError
from headrace.serving.messages import RefusedRequestError

LOG = logging.getLogger(__name__)
MORE = "the server's log says more."


def refused(error: HeadraceError) -> RefusedRequestError:
    """The refusal for what went wrong while a chain answered; the log of the process has all of it."""
    status, message = _said(error)
    if status >= 500:
        LOG.error("no answer: %s", error)
    again = b""
    if isinstance(error, BudgetExceededError):
        LOG.info("refused: %s", error.what)
        seconds = max(1, math.ceil(error.retry_after))
        again = b"retry-after: %d\r\nx-should-retry: false\r\n" % seconds  # OpenAI's clients obey the second one
    return RefusedRequestError(status, message, again)


def _said(error: HeadraceError) -> tuple[int, str]:  # a table
    if isinstance(error, BudgetsUnreachableError):
        return 503, error.what
    if isinstance(error, BudgetExceededError):
        return 429, error.for_caller
    if isinstance(error, LimitError):
        return 413, error.what
    if isinstance(error, RateLimitedError):
        return 429, "too many calls of language models are made already; try again later."
    if isinstance(error, DeadlineError):
        return 504, f"the language model did not answer in time; {MORE}"
    if isinstance(error, EndpointRefusedError | UnavailableError):
        return 502, f"no language model gave an answer that can be used; {MORE}"
    if isinstance(error, ConflictError | BusyError | ConfigError | DeclarationError | MissingExtraError):
        return 503, f"what answers need is not there: {MORE}"
    if isinstance(error, UserCodeError):
        return 500, f"UserCodeError in the model; {MORE}"
    if isinstance(error, DataError):
        return 400, error.what
    return 500, f"{type(error).__name__} in the model; {MORE}"
