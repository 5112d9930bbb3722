r"""An online store in Redis: one packed row a key, under the number of a generation, which the description names.

    <prefix>:table:<name>          `<generation> <id of the write>\n<JSON of OnlineTable>`
    <prefix>:<generation>:<key>    the time (eight bytes that sort), then the packed values
    <prefix>:building:<generation> exists while a process fills it; expires when that process dies
    <prefix>:generations           set of `<generation> <name>` that are being filled or served
    <prefix>:removing              set of generations that are no longer read
    <prefix>:owner                 the state database that the store belongs to

A replacement fills a new generation, and a script then names it in the description, if nobody else has changed the
description and the generation has not expired. An update is one transaction on the generation that is served. A reader
gets description and rows in one command, so that it sees a write whole or not at all. The next writer removes rows of
generations that are no longer served.

One Redis, with replicas if need be; not a cluster, where one command cannot read keys of several nodes.
"""

from __future__ import annotations

import os
import struct
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from threading import local
from typing import TYPE_CHECKING, Any

from headrace.core.errors import ConflictError, DataError, HeadraceError, UnavailableError
from headrace.core.failpoints import reach
from headrace.core.ids import new_id
from headrace.features.online.base import OnlineRow, OnlineTable, PublishedRows, as_json, from_json
from headrace.features.online.wire import RedisReplyError, Wire, address

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from headrace.features.online.base import Rows

PATIENCE = 30.0  # seconds for each answer to a writer
DEAD = 60_000  # milliseconds without a sign of life, after which a generation that is being filled is given up
PAUSE = 0.25  # seconds in which a Redis that did not answer is not asked again, so that requests need not wait for it
AT_ONCE = 5_000  # rows of one command
IN_PLACE = 50_000  # rows of an update; readers wait for it. A larger one fills a generation of its own
DOWN = "Is it up, and can it be reached from here? It is asked again by itself."
TIME = struct.Struct(">Q")
ZERO = 2**63  # is added to times, so that their bytes sort as they do

SERVE = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if redis.call('SISMEMBER', KEYS[3], ARGV[3] .. ' ' .. ARGV[5]) == 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[2])
if ARGV[4] ~= '' then
    redis.call('SREM', KEYS[3], ARGV[4] .. ' ' .. ARGV[5])
    redis.call('SADD', KEYS[4], ARGV[4])
end
return 1
"""
GIVE_UP = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local there = redis.call('GET', KEYS[1])
if there and string.match(there, '^%d+') == ARGV[1] then return 0 end
redis.call('SREM', KEYS[3], ARGV[1] .. ' ' .. ARGV[2])
redis.call('SADD', KEYS[4], ARGV[1])
return 1
"""
FORGET = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[2] .. ' ' .. ARGV[3])
redis.call('SADD', KEYS[3], ARGV[2])
return 1
"""


@dataclass(frozen=True)
class _Seen:
    """A description as it stands in Redis."""

    text: bytes
    table: OnlineTable
    generation: str


def open_redis(address: str, folder: Path) -> RedisStore:  # noqa: ARG001  # a URL says where it is by itself
    """The store at a URL, `redis://host:6379/0`; nothing is connected yet.

    Raises:
        ConfigError: the URL is none of a Redis.
    """
    return RedisStore(address)


class RedisStore:
    """See OnlineStore. Each thread has a connection of its own.

    Args:
        url: see `wire.address`. Redis 6.2 or later, which must not evict keys.

    Raises:
        ConfigError: it is no URL of a Redis.
    """

    is_local = False

    def __init__(self, url: str) -> None:
        self._address = address(url)
        self._seen: dict[str, _Seen] = {}
        self._mine = _Mine()
        self._paused_until = 0.0

    def table(self, name: str) -> OnlineTable | None:
        """See OnlineStore."""
        seen = self._look(name, self._ask(["GET", self._named("table", name)]))
        return None if seen is None else seen.table

    def replace(self, name: str, described: OnlineTable, rows: Rows, *, expected: OnlineTable | None) -> PublishedRows:
        """See OnlineStore."""
        with self._writing() as wire:
            return self._fill(wire, name, described, rows, self._expect(wire, name, expected))

    def update(self, name: str, described: OnlineTable, rows: Rows, *, expected: OnlineTable) -> PublishedRows:
        """See OnlineStore."""
        assert (described.keys, described.columns) == (expected.keys, expected.columns)
        with self._writing() as wire:
            wire.call("WATCH", self._named("table", name))
            before = self._expect(wire, name, expected)
            assert before is not None
            newer: dict[bytes, bytes] = {}
            coming = iter(rows)
            while part := _latest(islice(coming, AT_ONCE)):
                newer |= self._newer(wire, before.generation, part, newer)
                if len(newer) > IN_PLACE:
                    there = chain(self._all(wire, before.generation), map(_row, newer.items()), coming)
                    return self._fill(wire, name, described, there, before)
            self._apply(wire, name, described, newer, before)
            return PublishedRows(rows=len(newer))

    def read(self, name: str, keys: Sequence[bytes]) -> list[OnlineRow | None]:
        """See OnlineStore."""
        while True:
            described = self.table(name)
            if described is None:
                raise UnavailableError(f"features of {name!r} were never published.", hint="headrace run publish")
            found = self.read_of(name, described, keys)
            if found is not None:
                return found

    def read_of(self, name: str, described: OnlineTable, keys: Sequence[bytes]) -> list[OnlineRow | None] | None:
        """See OnlineStore. One command."""
        seen = self._seen.get(name)
        if seen is None or (seen.table is not described and seen.table != described):
            self.table(name)
            seen = self._seen.get(name)
            if seen is None or (seen.table is not described and seen.table != described):
                return None
        prefix = self._prefix(seen.generation)
        text, *values = self._ask(["MGET", self._named("table", name), *(prefix + key for key in keys)])
        if text != seen.text:
            self._look(name, text)
            return None
        return [None if value is None else OnlineRow(TIME.unpack_from(value)[0] - ZERO, value[8:]) for value in values]

    @property
    def place(self) -> str:
        """See OnlineStore."""
        return f"{self._address.shown} db={self._address.database} prefix={self._address.prefix}"

    def owner(self) -> str | None:
        """See OnlineStore."""
        found = self._ask(["GET", self._named("owner")])
        return None if found is None else found.decode()

    def claim(self, mark: str) -> str:
        """See OnlineStore."""
        found = self.owner()
        if found is None:
            self._ask(["SET", self._named("owner"), mark, "NX"])
            found = self.owner()
        return mark if found is None else found

    def disclaim(self) -> None:
        """See OnlineStore."""
        self._ask(["DEL", self._named("owner")])

    def drop(self, name: str) -> None:
        """See OnlineStore."""
        with self._writing() as wire:
            seen = self._look(name, wire.call("GET", self._named("table", name)))
            if seen is not None:
                keys = [self._named("table", name), self._named("generations"), self._named("removing")]
                wire.call("EVAL", FORGET, len(keys), *keys, seen.text, seen.generation, name)
            self._sweep(wire)

    def close(self) -> None:
        """See OnlineStore."""
        wire, self._mine.wire = self._mine.wire, None
        if wire is not None:
            wire.close()

    # ------------------------------------------------------------------------------------------ writing

    def _expect(self, wire: Wire, name: str, expected: OnlineTable | None) -> _Seen | None:
        """What is described, which must be what is expected."""
        seen = self._look(name, wire.call("GET", self._named("table", name)))
        if (None if seen is None else seen.table) != expected:
            raise _conflict(name)
        return seen

    def _fill(self, wire: Wire, name: str, described: OnlineTable, rows: Rows, before: _Seen | None) -> PublishedRows:
        """Rows into a generation of their own, which is then served; where a key comes twice, the later time stays."""
        self._sweep(wire)
        generation = str(wire.call("INCR", self._named("count")))
        building, member = self._named("building", generation), f"{generation} {name}"
        wire.call("SET", building, name, "PX", DEAD)
        wire.call("SADD", self._named("generations"), member)
        count = same = known = 0
        try:
            coming = iter(rows)
            while part := _latest(islice(coming, AT_ONCE)):
                twice = self._there(wire, generation, part)
                part = {key: value for key, value in part.items() if key not in twice or value[:8] >= twice[key][:8]}
                if before is not None:
                    old = self._there(wire, before.generation, part)
                    known += len(old.keys() - twice.keys())
                    same += sum((part[key] == value) - (twice.get(key) == value) for key, value in old.items())
                count += len(part.keys() - twice.keys())
                self._set(wire, generation, part)
                wire.call("SET", building, name, "PX", DEAD)
            reach(f"online.written:{name}")
            self._serve(wire, name, generation, described, before)
        except BaseException:
            self._give_up(generation)
            raise
        reach(f"online.committed:{name}")
        removed = 0 if before is None else self._sweep(wire, before.generation) - known
        return PublishedRows(rows=count - same, removed=max(removed, 0))

    def _serve(self, wire: Wire, name: str, generation: str, described: OnlineTable, before: _Seen | None) -> None:
        """Readers find this generation from now on, unless somebody else came first."""
        building = self._named("building", generation)
        keys = [self._named("table", name), building, self._named("generations"), self._named("removing")]
        texts = (before.text if before else b"", _text(generation, described), generation)
        if not wire.call("EVAL", SERVE, len(keys), *keys, *texts, before.generation if before else "", name):
            raise _conflict(name)

    def _apply(self, wire: Wire, name: str, described: OnlineTable, rows: dict[bytes, bytes], before: _Seen) -> None:
        """Rows and description in one transaction, unless the description has changed since it was watched."""
        wire.call("MULTI")
        coming = iter(rows.items())
        while part := dict(islice(coming, AT_ONCE)):
            self._set(wire, before.generation, part)
        wire.call("SET", self._named("table", name), _text(before.generation, described))
        reach(f"online.written:{name}")
        if wire.call("EXEC") is None:
            raise _conflict(name)
        reach(f"online.committed:{name}")

    def _newer(
        self, wire: Wire, generation: str, rows: dict[bytes, bytes], coming: dict[bytes, bytes]
    ) -> dict[bytes, bytes]:
        """Those that are later than what is there or is coming, or of the same time and other values."""
        there = self._there(wire, generation, rows) | {key: coming[key] for key in rows.keys() & coming.keys()}
        return {
            key: value
            for key, value in rows.items()
            if key not in there or (value[:8] >= there[key][:8] and value != there[key])
        }

    def _set(self, wire: Wire, generation: str, rows: dict[bytes, bytes]) -> None:
        if rows:
            prefix = self._prefix(generation)
            wire.send(["MSET", *(word for key, value in rows.items() for word in (prefix + key, value))])

    def _there(self, wire: Wire, generation: str, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Rows of a generation."""
        asked = list(keys)
        if not asked:
            return {}
        prefix = self._prefix(generation)
        values = wire.send(["MGET", *(prefix + key for key in asked)])
        return {key: value for key, value in zip(asked, values, strict=True) if value is not None}

    def _all(self, wire: Wire, generation: str) -> Iterator[tuple[bytes, int, bytes]]:
        """Every row of a generation; some may come twice."""
        prefix = self._prefix(generation)
        for found in self._scan(wire, generation):
            yield from map(_row, self._there(wire, generation, [each[len(prefix) :] for each in found]).items())

    # ------------------------------------------------------------------------------------------ generations

    def _give_up(self, generation: str) -> None:
        """Removes a generation that will not be served, on a connection of its own: ours may be the trouble."""
        with suppress(HeadraceError), self._writing() as wire:
            wire.call("DEL", self._named("building", generation))
            self._sweep(wire)

    def _sweep(self, wire: Wire, wanted: str = "") -> int:
        """Removes rows that nobody reads any more, and those of writers that died; counts those of one generation."""
        shared = [self._named("generations"), self._named("removing")]
        for member in wire.call("SMEMBERS", shared[0]):
            generation, _, name = member.decode().partition(" ")
            keys = [self._named("table", name), self._named("building", generation), *shared]
            wire.call("EVAL", GIVE_UP, len(keys), *keys, generation, name)
        counted = 0
        for each in wire.call("SMEMBERS", shared[1]):
            generation = each.decode()
            removed = sum(wire.send(["UNLINK", *found]) for found in self._scan(wire, generation))
            wire.call("SREM", shared[1], generation)
            counted += removed if generation == wanted else 0
        return counted

    def _scan(self, wire: Wire, generation: str) -> Iterator[list[bytes]]:
        """The keys of a generation, as they stand in Redis."""
        place: bytes | int = 0
        while True:
            place, found = wire.call("SCAN", place, "MATCH", self._prefix(generation) + b"*", "COUNT", AT_ONCE)
            if found:
                yield found
            if int(place) == 0:
                return

    # ------------------------------------------------------------------------------------------ names

    def _named(self, *parts: str) -> str:
        return ":".join((self._address.prefix, *parts))

    def _prefix(self, generation: str) -> bytes:
        return f"{self._address.prefix}:{generation}:".encode()

    def _look(self, name: str, text: bytes | None) -> _Seen | None:
        """What a description says; the same object for as long as it stays."""
        if text is None:
            self._seen.pop(name, None)
            return None
        seen = self._seen.get(name)
        if seen is None or seen.text != text:
            head, _, described = text.decode().partition("\n")
            seen = self._seen[name] = _Seen(text, from_json(described), head.split(" ")[0])
        return seen

    # ------------------------------------------------------------------------------------------ the connections

    def _ask(self, words: Sequence[str | bytes | int]) -> Any:
        """A reader's command. Redis may have been started again since the last one, so an old connection is made anew."""
        if time.monotonic() < self._paused_until:
            raise UnavailableError(f"the online store {self._address.shown} did not answer just now.", hint=DOWN)
        with self._explained("read"):
            mine = self._mine
            if mine.wire is not None and mine.process == os.getpid():
                try:
                    return self._sent(mine.wire, words)
                except ConnectionError:
                    self.close()
            try:
                mine.wire, mine.process = Wire(self._address, timeout=self._address.timeout), os.getpid()
                return self._sent(mine.wire, words)
            except OSError:
                self._paused_until = time.monotonic() + PAUSE
                raise

    def _sent(self, wire: Wire, words: Sequence[str | bytes | int]) -> Any:
        """A reply. After anything but a reply the connection is of no more use."""
        try:
            return wire.send(words)
        except RedisReplyError:
            raise
        except TimeoutError:
            self._paused_until = time.monotonic() + PAUSE
            self.close()
            raise
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _writing(self) -> Generator[Wire]:
        """A writer's connection, which ends with the write."""
        with self._explained("written"), closing(Wire(self._address, timeout=PATIENCE)) as wire:
            told = dict(line.split(":", 1) for line in wire.call("INFO", "memory").decode().splitlines() if ":" in line)
            if told["maxmemory"] != "0" and told["maxmemory_policy"] != "noeviction":
                raise DataError(
                    f"the Redis {self._address.shown} may evict keys ({told['maxmemory_policy']}): features would be missing.",
                    hint="Give the online store a Redis with `maxmemory-policy noeviction`.",
                )
            yield wire

    @contextmanager
    def _explained(self, done: str) -> Generator[None]:
        try:
            yield
        except (OSError, RedisReplyError) as error:
            raise UnavailableError(
                f"the online store {self._address.shown} cannot be {done}: {error}.", hint=DOWN
            ) from error


class _Mine(local):
    """A thread's connection, and the process that opened it."""

    def __init__(self) -> None:
        self.wire: Wire | None = None
        self.process = 0


def _latest(rows: Iterable[tuple[bytes, int, bytes]]) -> dict[bytes, bytes]:
    """Rows as they stand in Redis; where a key comes twice, the later time stays, and of two the one that came last."""
    found: dict[bytes, bytes] = {}
    for key, moment, packed in rows:
        value = TIME.pack(moment + ZERO) + packed
        there = found.get(key)
        if there is None or value[:8] >= there[:8]:
            found[key] = value
    return found


def _row(stored: tuple[bytes, bytes]) -> tuple[bytes, int, bytes]:
    key, value = stored
    return key, TIME.unpack_from(value)[0] - ZERO, value[8:]


def _text(generation: str, described: OnlineTable) -> str:
    """No two writes leave the same description, so that none is taken for another."""
    return f"{generation} {new_id()}\n{as_json(described)}"


def _conflict(name: str) -> ConflictError:
    return ConflictError(
        f"{name} was published by somebody else meanwhile.", hint="Nothing was written; trying again is safe."
    )
