"""Authorisation of callers: they send an API key, `authorization: Bearer hr_…`. Liveness and readiness need no key."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from headrace.access import api_keys
from headrace.core.clock import now
from headrace.core.errors import DataError
from headrace.serving.messages import RefusedRequestError

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.serving.messages import Request

LOG = logging.getLogger(__name__)

METRICS = "/metrics"


class ApiKeys:
    """The API keys of a file, which is read again when it was replaced.

    Args:
        file: of API keys.
        metrics: `/metrics` is told to everybody, too: for what scrapes it without an API key, where only that can reach it.

    Raises:
        DataError: the file cannot be read.
    """

    def __init__(self, file: Path, *, metrics: bool = False) -> None:
        self.file = file
        self._open_metrics = metrics
        self._mark = self._marked()
        self._known = {each.hash: each for each in api_keys.read(file)}

    def check(self, request: Request, *, predicts: bool) -> str | None:
        """The name of the caller's API key; None where none is needed.

        Raises:
            RefusedRequestError: there is none, it is unknown or expired, or not good for this.
        """
        if request.match is not None and request.match.route.open:
            return None
        if request.path == METRICS and self._open_metrics:
            return None
        scheme, _, text = request.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        key = self._known.get(api_keys.hashed(text.strip())) if scheme.lower() == "bearer" else None
        if key is None or not key.is_valid(now()):
            raise RefusedRequestError(
                401, "a valid API key is needed: 'authorization: Bearer hr_…'.", b"www-authenticate: Bearer\r\n"
            )
        wanted = "metrics" if request.path == METRICS and not predicts else "predict"
        if wanted not in key.scopes:
            raise RefusedRequestError(403, f"this API key is not good for {wanted!r}.")
        return key.name

    def follow(self) -> None:
        """Reads the file again if it was replaced; one that cannot be read leaves things as they are."""
        mark = self._marked()
        if mark == self._mark:
            return
        try:
            self._known = {each.hash: each for each in api_keys.read(self.file)}
        except DataError as error:
            LOG.warning("%s", error)
        self._mark = mark

    def _marked(self) -> tuple[int, int] | None:
        try:
            found = self.file.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns
