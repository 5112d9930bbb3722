"""A connection to Redis: its address, one command at a time, replies as bytes.

Why not redis-py: its import takes a server 0.4 s, and each of its calls takes three times as long as one of this
module.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from headrace.core.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMES = ("redis", "rediss", "unix")
SHAPE = "redis://host:6379/0, rediss://… for TLS, unix:///path/of/the.sock; ?timeout=0.25 in seconds, ?prefix=name"
PREFIX = "headrace"
TIMEOUT = 0.25  # seconds for each answer while a request waits
AT_ONCE = 65536  # bytes


class RedisReplyError(Exception):
    """Redis answered with an error."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a Redis is.

    Attributes:
        shown: without what is secret.
        path: of a Unix socket; then there is neither host nor port.
        database: its number.
        prefix: of all keys, so that several environments can share a database.
        timeout: seconds for each answer while a request waits.
    """

    shown: str
    host: str = ""
    port: int = 6379
    path: str = ""
    tls: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    prefix: str = PREFIX
    timeout: float = TIMEOUT


def address(url: str) -> Address:
    """Reads a URL.

    Raises:
        ConfigError: it is none, or says what is not known. What it says of passwords is not shown.
    """
    try:
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        local = parts.scheme == "unix"
        database = given.pop("db", "0") if local else parts.path.strip("/") or "0"
        prefix, timeout = given.pop("prefix", PREFIX), float(given.pop("timeout", TIMEOUT))
        place = parts.path if local else f"{parts.hostname or ''}:{parts.port or 6379}/{database}"
        read = Address(
            shown=f"{parts.scheme}://{place}",
            host="" if local else parts.hostname or "",
            port=parts.port or 6379,
            path=unquote(parts.path) if local else "",
            tls=parts.scheme == "rediss",
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=int(database),
            prefix=prefix,
            timeout=timeout,
        )
    except ValueError:
        raise ConfigError("the address of the online store cannot be read.", hint=SHAPE) from None
    if parts.scheme not in SCHEMES or given or not (read.host or read.path) or not 0 < timeout < 60:
        raise ConfigError(f"{read.shown!r} is no address of an online store.", hint=SHAPE)
    if not prefix.replace("-", "").replace("_", "").isalnum():
        raise ConfigError(f"prefix={prefix!r} is not possible.", hint="Letters, digits, - and _.")
    return read


class Wire:
    """An open connection, of one thread.

    Args:
        to: where.
        timeout: seconds to connect, and for each answer.

    Raises:
        OSError: it cannot be had.
        RedisReplyError: Redis does not let us in.
        MissingExtraError: `hiredis` is not installed.
    """

    def __init__(self, to: Address, *, timeout: float) -> None:
        try:
            import hiredis
        except ImportError:
            raise MissingExtraError("hiredis", "redis", "an online store in Redis") from None
        self._pack: Any = hiredis.pack_command
        self._reader = hiredis.Reader()
        self._error: type[Exception] = hiredis.ReplyError
        self._socket = _connected(to, timeout)
        try:
            if to.password:
                self.call("AUTH", *((to.user,) if to.user else ()), to.password)
            if to.database:
                self.call("SELECT", to.database)
        except BaseException:
            self.close()
            raise

    def call(self, *words: str | bytes | int) -> Any:
        """A command's reply.

        Raises:
            RedisReplyError: an error.
            OSError: nothing came in time, or the connection is gone. It must not be used again.
        """
        return self.send(words)

    def send(self, words: Sequence[str | bytes | int]) -> Any:
        """As `call`, for many words."""
        self._socket.sendall(self._pack(tuple(words)))
        reply = self._reader.gets()
        while reply is False:
            received = self._socket.recv(AT_ONCE)
            if not received:
                raise ConnectionError("Redis closed the connection")
            self._reader.feed(received)
            reply = self._reader.gets()
        if isinstance(reply, self._error):
            raise RedisReplyError(str(reply))
        return reply

    def close(self) -> None:
        """Closes it; so does the end of the thread that had it."""
        self._socket.close()

    def __del__(self) -> None:
        if hasattr(self, "_socket"):
            self._socket.close()


def _connected(to: Address, timeout: float) -> socket.socket:
    if to.path:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.settimeout(timeout)
            made.connect(to.path)
        except BaseException:
            made.close()
            raise
        return made
    made = socket.create_connection((to.host, to.port), timeout=timeout)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not to.tls:
        return made
    import ssl

    try:
        return ssl.create_default_context().wrap_socket(made, server_hostname=to.host)
    except BaseException:
        made.close()
        raise
