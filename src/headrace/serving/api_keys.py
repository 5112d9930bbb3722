"""Authorisation of callers: they send an API key, `authorization: Bearer hr_…`. Liveness and readiness need no key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.access.caller_keys import CallerKeys
from headrace.serving.messages import RefusedRequestError
from headrace.serving.route import FEEDBACK, WIDGET

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.serving.messages import Request

METRICS = "/metrics"
PUBLIC = (WIDGET,)  # a page loads it by its address alone


class ApiKeys:
    """The API keys of a file, which is read again when it was replaced.

    Args:
        file: of API keys.
        metrics: `/metrics` is told to everybody, too: for what scrapes it without an API key, where only that can reach it.
        open_without: whether nobody needs a key while there is no file.

    Raises:
        DataError: the file cannot be read.
    """

    def __init__(self, file: Path, *, metrics: bool = False, open_without: bool = False) -> None:
        self._open_metrics = metrics
        self._keys = CallerKeys(file, open_without=open_without)

    def check(self, request: Request, *, predicts: bool) -> str | None:
        """The name of the caller's API key; None where none is needed.

        Raises:
            RefusedRequestError: there is none, it is unknown or expired, or not good for this.
        """
        if not self._keys.needed:
            return None
        route = None if request.match is None else request.match.route
        if route is not None and (route.open or route in PUBLIC):
            return None
        if request.path == METRICS and self._open_metrics:
            return None
        key = self._keys.shown(request.headers.get(b"authorization", b"").decode("latin-1"))
        if key is None:
            raise RefusedRequestError(
                401, "a valid API key is needed: 'authorization: Bearer hr_…'.", b"www-authenticate: Bearer\r\n"
            )
        wanted = "metrics" if request.path == METRICS and not predicts else "predict"
        if wanted not in key.scopes and not (route is FEEDBACK and "feedback" in key.scopes):
            raise RefusedRequestError(403, f"this API key is not good for {wanted!r}.")
        return key.name

    def follow(self) -> None:
        """See CallerKeys."""
        self._keys.follow()
