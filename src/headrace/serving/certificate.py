"""The certificate of an HTTPS server, read again when its files are replaced; new connections get the new one."""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

LOG = logging.getLogger(__name__)

Mark = tuple[tuple[int, int], ...] | None


class Certificate:
    """Two PEM files.

    Attributes:
        context: for HTTPS; it stays the same object.

    Raises:
        ConfigError: they cannot be used.
    """

    def __init__(self, file: Path, key: Path) -> None:
        self.file, self.key = file, key
        self._mark = self._marked()
        self._check()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.load_cert_chain(file, key)

    def follow(self) -> None:
        """Reads the files again if they were replaced; a pair that cannot be used, half of a new one, leaves things as they are."""
        mark = self._marked()
        if mark == self._mark:
            return
        self._mark = mark
        try:
            self._check()
        except ConfigError as error:
            LOG.warning("%s", error)
            return
        self.context.load_cert_chain(self.file, self.key)
        LOG.info("the certificate %r was read again", str(self.file))

    def _check(self) -> None:
        """Tries them where nothing depends on it."""
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.file, self.key, password="")
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"the certificate {str(self.file)!r} and its key cannot be used: {error}.",
                hint="Both are PEM files; the key must be that of the certificate, without a passphrase.",
            ) from None

    def _marked(self) -> Mark:
        try:
            return tuple((found.st_ino, found.st_mtime_ns) for found in (self.file.stat(), self.key.stat()))
        except OSError:
            return None
