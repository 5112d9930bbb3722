"""A load on a server: requests of a sample of rows, some at a time, each answer timed and compared with the expected one."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.serving.declarations import LoadTest
    from headrace.serving.manifest import Parity

PATIENCE = 30.0  # seconds for one answer
SHOWN = 5  # answers that are wrong or errors, as they are told


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What a server did under a load.

    Attributes:
        requests: that were sent.
        errors: answers that were no 200, or none at all.
        differing: answers with other predictions than MLflow's pyfunc gives for the same rows.
        p50: the latency, in seconds, that half of the requests stayed under.
        p95: the latency, in seconds, that 95 % of them stayed under.
        seconds: from the first request to the last answer.
        examples: of errors and differing answers, some, in words.
    """

    requests: int
    errors: int
    differing: int
    p50: float
    p95: float
    seconds: float
    examples: tuple[str, ...]


async def run_load_test(port: int, load: LoadTest, parity: Parity) -> LoadResult:
    """Sends a load to a server of this machine.

    Args:
        port: that it listens at.
        load: how many requests of how many rows, and how many at a time.
        parity: full rows, and the predictions of MLflow's pyfunc for them.

    Raises:
        UnavailableError: no connection can be made.
    """
    requests = _requests(load, parity)
    latencies: list[float] = []
    errors: list[str] = []
    differing: list[str] = []
    numbers = iter(range(load.requests))

    async def worker() -> None:
        connection: _Connection | None = None
        for number in numbers:
            body, expected = requests[number % len(requests)]
            begun = time.perf_counter()
            try:
                connection = connection or await _Connection.open(port)
                status, answer = await asyncio.wait_for(connection.ask(body), PATIENCE)
            except (OSError, TimeoutError, EOFError, ValueError) as error:
                errors.append(f"request {number}: {type(error).__name__}: {error}")
                if connection is not None:
                    connection.close()
                connection = None
                continue
            latencies.append(time.perf_counter() - begun)
            if status != 200:
                errors.append(f"request {number}: {status} {answer[:200].decode(errors='replace')}")
            elif not _same(_predictions(answer), expected):
                differing.append(f"request {number}: {answer[:200].decode(errors='replace')}, not {expected}")
        if connection is not None:
            connection.close()

    begun = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(load.concurrency)))
    ordered = sorted(latencies) or [float("nan")]
    if not latencies:
        raise UnavailableError("the server answered no request of the load test.", findings=errors[:SHOWN])
    return LoadResult(
        requests=load.requests,
        errors=len(errors),
        differing=len(differing),
        p50=ordered[(len(ordered) - 1) // 2],
        p95=ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        seconds=time.perf_counter() - begun,
        examples=(*errors[:SHOWN], *differing[:SHOWN]),
    )


def _requests(load: LoadTest, parity: Parity) -> list[tuple[bytes, list[dict[str, Any]]]]:
    """Bodies and expected predictions: the sample from its beginning to its end, over again."""
    made: list[tuple[bytes, list[dict[str, Any]]]] = []
    count = len(parity.rows)
    for start in range(0, count, load.rows):
        places = [(start + place) % count for place in range(load.rows)]
        split = {"columns": list(parity.columns), "data": [list(parity.rows[place]) for place in places]}
        expected = [dict(zip(parity.output_columns, parity.outputs[place], strict=True)) for place in places]
        made.append((json.dumps({"dataframe_split": split}).encode(), expected))
    return made


def _predictions(answer: bytes) -> list[dict[str, Any]]:
    """What an answer predicts, row by row; empty where it is no answer of that form."""
    try:
        told: Any = json.loads(answer)
        rows: Any = told["predictions"]
    except (ValueError, TypeError, KeyError):
        return []
    return rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else []


def _same(answers: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]]) -> bool:
    """Whether predictions are equal but for the rounding of sums over other numbers of rows."""
    return len(answers) == len(expected) and all(
        answer.keys() == known.keys() and all(_near(answer[name], value) for name, value in known.items())
        for answer, known in zip(answers, expected, strict=True)
    )


def _near(answer: object, expected: object) -> bool:
    if isinstance(answer, int | float) and isinstance(expected, int | float):
        return answer == expected or abs(answer - expected) <= 1e-9 * max(abs(answer), abs(expected))
    return answer == expected


class _Connection:
    """One connection that is kept open, with one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @staticmethod
    async def open(port: int) -> _Connection:
        return _Connection(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, body: bytes) -> tuple[int, bytes]:
        self._writer.write(
            b"POST /invocations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            % len(body)
        )
        self._writer.write(body)
        await self._writer.drain()
        head = await self._reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        length = next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), None)
        if length is None:
            raise ValueError("the answer has no content-length")
        return int(lines[0].split(" ")[1]), await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()
