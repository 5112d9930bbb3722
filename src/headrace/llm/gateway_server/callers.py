"""Authorisation of callers by the API keys of the environment: `Authorization: Bearer hr_…`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from headrace.access.caller_keys import CallerKeys
from headrace.llm.gateway_server.refusals import CallRefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.access.api_keys import Scope

LOOK = 1.0  # seconds between looks at the file


class Callers:
    """The API keys of a file, which is read again when it was replaced.

    Args:
        file: of API keys.
        open_without: whether nobody needs a key while there is no file.

    Raises:
        DataError: the file cannot be read.
    """

    def __init__(self, file: Path, *, open_without: bool = False) -> None:
        self._keys = CallerKeys(file, open_without=open_without)
        self._looked = time.monotonic()

    def check(self, authorization: str, wanted: Scope) -> str:
        """Returns the name of the caller's API key; empty where none is needed.

        Raises:
            CallRefusedError: there is none, it is unknown or has expired, or it is not good for this.
        """
        if time.monotonic() - self._looked >= LOOK:
            self._looked = time.monotonic()
            self._keys.follow()
        if not self._keys.needed:
            return ""
        key = self._keys.shown(authorization)
        if key is None:
            raise CallRefusedError(
                401,
                "a valid API key is needed: 'Authorization: Bearer hr_…'.",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if wanted not in key.scopes:
            raise CallRefusedError(
                403, f"this API key is not good for {wanted!r}.", kind="permission_error", code="scope"
            )
        return key.name
