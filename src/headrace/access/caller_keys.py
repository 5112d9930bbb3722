"""Which API key a caller shows, by a file of them that is read again when it was replaced."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from headrace.access import api_keys
from headrace.core.clock import now
from headrace.core.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.access.api_keys import ApiKey

LOG = logging.getLogger(__name__)


class CallerKeys:
    """The API keys of a file.

    Args:
        file: of API keys.
        open_without: whether nobody needs a key while there is no file. Once there was one, everybody does.

    Attributes:
        needed: whether callers need a key.

    Raises:
        DataError: the file cannot be read.
    """

    def __init__(self, file: Path, *, open_without: bool = False) -> None:
        self.file = file
        self._mark = self._marked()
        self.needed = self._mark is not None or not open_without
        self._known = self._read()
        self._warned = False

    def shown(self, authorization: str) -> ApiKey | None:
        """The key of a header `Authorization: Bearer hr_…`; None where it names none, an unknown one, or one that has expired."""
        scheme, _, text = authorization.partition(" ")
        key = self._known.get(api_keys.hashed(text.strip())) if scheme.lower() == "bearer" else None
        return key if key is not None and key.is_valid(now()) else None

    def follow(self) -> None:
        """Reads the file again if it was replaced; one that cannot be read leaves things as they are, and is tried again."""
        mark = self._marked()
        if mark == self._mark:
            return
        self.needed = True
        try:
            self._known = self._read()
        except DataError as error:
            if not self._warned:
                LOG.warning("%s", error)
            self._warned = True
            return
        self._mark, self._warned = mark, False

    def _read(self) -> dict[str, ApiKey]:
        return {each.hash: each for each in api_keys.read(self.file)}

    def _marked(self) -> tuple[int, int] | None:
        try:
            found = self.file.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns
