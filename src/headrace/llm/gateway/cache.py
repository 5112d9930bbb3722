"""The exact cache: the same request is answered by the same answer, on all workers and hosts, until the answer expires."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa

from headrace.core.clock import now
from headrace.core.declaration import check, check_whole
from headrace.core.errors import DeclarationError
from headrace.core.ids import canonical
from headrace.llm.gateway.tables import CACHE, insert

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from headrace.core.state import State

UNFINISHED = ("failed", "cancelled", "incomplete", "in_progress", "queued")  # statuses of OpenAI's responses
LONGEST_TTL = timedelta(days=366)
FOUND = sa.select(CACHE.c.value, CACHE.c.digest).where(
    CACHE.c.key == sa.bindparam("mine"), CACHE.c.expires > sa.bindparam("at")
)
EXPIRE = sa.delete(CACHE).where(CACHE.c.expires <= sa.bindparam("at"))
NEXT = sa.select(
    sa.func.coalesce(sa.func.max(CACHE.c.number), 0) + 1
).scalar_subquery()  # there is one writer at a time
FIRST_OUT = sa.select(CACHE.c.number).order_by(CACHE.c.number.desc()).offset(sa.bindparam("most")).limit(1)
TRIM = sa.delete(CACHE).where(CACHE.c.number <= FIRST_OUT.scalar_subquery())
LAST = sa.select(CACHE.c.end_offset).order_by(CACHE.c.number.desc()).limit(1).scalar_subquery()
END = sa.func.coalesce(LAST, 0)
TRIM_BYTES = sa.delete(CACHE).where(CACHE.c.start_offset < END - sa.bindparam("most_bytes"))


class AnswerCache:
    """Cached answers of one environment. Safe to use from several threads, processes and hosts.

    Args:
        state: the environment's state database.
        max_entries: that are kept; the oldest are removed.
        max_bytes: of all values that are kept together; the oldest are removed, and a larger value is not stored.
        clock: returns the present, with its zone.
    """

    def __init__(
        self,
        state: State,
        *,
        max_entries: int = 10_000,
        max_bytes: int = 256 * 2**20,
        clock: Callable[[], datetime] = now,
    ) -> None:
        check_whole("AnswerCache", 1, 10**7, max_entries=max_entries)
        check_whole("AnswerCache", 1, 2**40, max_bytes=max_bytes)
        self.state, self.max_entries, self.max_bytes, self.clock = state, max_entries, max_bytes, clock
        state.create(CACHE)
        size = sa.bindparam("size", type_=sa.BigInteger)
        new = insert(state, CACHE).values(number=NEXT, start_offset=END, end_offset=END + size)
        changed = ("number", "start_offset", "end_offset", "value", "digest", "created", "expires")
        replaced = {name: new.excluded[name] for name in changed}
        self._put = new.on_conflict_do_update(index_elements=["key"], set_=replaced)

    @staticmethod
    def key(
        *,
        protocol: str,
        url: str,
        model: str,
        messages: Sequence[object],
        parameters: Mapping[str, object],
    ) -> str:
        """What a request is cached by: SHA-256 over the canonical JSON of all that the answer depends on.

        Args:
            protocol: of the route.
            url: of the endpoint.
            model: as it is requested from the endpoint.
            messages: as they are sent, with the instruction.
            parameters: all others that the answer depends on: temperature, max_tokens, seed, tools, the answer's format.
                Leave out what it does not depend on, such as whether it is streamed, and never give a secret.

        Raises:
            TypeError: a value is no JSON.
        """
        parts = [protocol, url, model, messages, parameters]
        return hashlib.sha256(canonical(parts).encode()).hexdigest()

    def get(self, key: str) -> str | None:
        """The answer as JSON text; None where there is none, it has expired, or what is stored is damaged."""
        with self.state.read() as connection:
            row = connection.execute(FOUND, {"mine": key, "at": self.clock()}).first()
        return row.value if row is not None and row.digest == _digest(row.value) else None

    def put(self, key: str, value: str, ttl: timedelta) -> bool:
        """Stores a complete answer, in place of the one that is stored for the key.

        An answer that reports a failure (a top-level `error`, or a `status` such as `failed` or `incomplete`) is not
        stored. Whoever calls sees to it that streams are complete and that endpoints answered with success.

        Args:
            key: of `key`.
            value: JSON text.
            ttl: how long it may be used; at most 366 days.

        Returns:
            Whether it was stored.

        Raises:
            DeclarationError: the value is no JSON, or the ttl is not possible.
        """
        check("put", _is_ttl, "Write a timedelta of up to 366 days.", ttl=ttl)
        answer = _read(value)
        value = _storable(value, answer)
        if isinstance(answer, dict) and _is_failure(cast("dict[str, Any]", answer)):
            return False
        size = len(value.encode())
        if size > self.max_bytes:
            return False
        at = self.clock()
        values = {
            "key": key,
            "size": size,
            "value": value,
            "digest": _digest(value),
            "created": at,
            "expires": at + ttl,
        }
        with self.state.begin() as connection:
            connection.execute(EXPIRE, {"at": at})
            connection.execute(self._put, values)
            connection.execute(TRIM, {"most": self.max_entries})
            connection.execute(TRIM_BYTES, {"most_bytes": self.max_bytes})
        return True

    def clear(self) -> int:
        """Removes all answers.

        Returns:
            How many there were.
        """
        with self.state.begin() as connection:
            return connection.execute(sa.delete(CACHE)).rowcount


def _read(value: str) -> object:
    """The JSON of a value."""
    try:
        return json.loads(value)
    except (ValueError, TypeError, RecursionError) as error:
        hint = f"Give the JSON text of an answer: {error}."
        raise DeclarationError(f"put(value={_beginning(value)}) is no JSON.", hint=hint) from None


def _storable(value: str, answer: object) -> str:
    """The text itself, or JSON that means the same where the text has a lone surrogate, which no database stores."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return json.dumps(answer)
    return value


def _beginning(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _is_failure(answer: Mapping[str, Any]) -> bool:
    return answer.get("error") is not None or answer.get("type") == "error" or answer.get("status") in UNFINISHED


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


def _is_ttl(value: object) -> bool:
    return isinstance(value, timedelta) and timedelta(0) < value <= LONGEST_TTL
