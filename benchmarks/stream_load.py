"""Calls a server that speaks OpenAI's protocol and streams, in a process of its own: `python stream_load.py URL CALLS AT_ONCE`.

A client that understood HTTP, events and JSON while it calls would take more time than a light server. This one keeps the bytes
of each answer, and reads them after the last call. Each of the connections makes one call after the other.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from urllib.parse import urlsplit

USERS = 50
LONGEST = 2**20  # bytes of an answer
PATIENCE = 300.0  # seconds for all calls
END = b"\r\n0\r\n\r\n"  # of an answer in chunks


def question(place: int) -> str:
    return f"what is the answer to question number {place} of this benchmark"


def digest(texts: list[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def request(host: str, path: str, place: int) -> bytes:
    body = json.dumps(
        {
            "model": "small",
            "stream": True,
            "user": f"user-{place % USERS}",
            "messages": [{"role": "user", "content": question(place)}],
        }
    ).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def calls(url: str, number: int, at_once: int) -> tuple[float, list[float], list[bytes]]:
    """Makes the calls; returns the seconds of all, the seconds of each, and the bytes of each answer."""
    parts = urlsplit(url)
    requests = [request(parts.netloc, f"{parts.path}/chat/completions", place) for place in range(number)]
    found, seconds, places = [b""] * number, [0.0] * number, iter(range(number))

    async def one() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=LONGEST)
        for place in places:
            began = time.perf_counter()
            writer.write(requests[place])
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200") or b"chunked" not in head.lower():
                raise SystemExit(f"{url} answered {head + await reader.read(2_000)!r}")
            found[place] = await reader.readuntil(END)
            seconds[place] = time.perf_counter() - began
        writer.close()

    began = time.perf_counter()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one())
    return time.perf_counter() - began, seconds, found


def text(chunked: bytes) -> str:
    """The text of a stream."""
    events, rest = b"", chunked
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        events += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    pieces: list[str] = []
    for line in events.splitlines():
        if line.startswith(b"data: {"):
            choices = json.loads(line[6:]).get("choices")
            pieces += [choices[0]["delta"].get("content") or ""] if choices else []
    return "".join(pieces)


def main() -> None:
    wall, seconds, found = asyncio.run(calls(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
    slowest = sorted(seconds)
    at = {f"p{percent}_ms": slowest[len(slowest) * percent // 100] * 1_000 for percent in (50, 95)}
    print(json.dumps({"wall_s": wall, **at, "digest": digest([text(each) for each in found])}))


if __name__ == "__main__":
    main()
