"""A simulated person: asks a served assistant by OpenAI's protocol, and says what was right."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GOOD = 0.5  # of the words of an answer and the right one: from here on a thumb goes up
WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer as it came.

    Attributes:
        id: of the prediction.
        text: all pieces.
        pieces: how many there were.
        first_ms: until the first of them.
        version: of the model.
    """

    id: str
    text: str
    pieces: int
    first_ms: float
    version: str


def ask(port: int, model: str, question: str, user: str, *, name: str, timeout: float = 240) -> Reply:
    """Asks, and reads the stream.

    Args:
        port: of the server.
        model: that is asked.
        question: that it is asked.
        user: who asks.
        name: the caller's id of the request, by which the answer can be found in the log.
        timeout: seconds.

    Raises:
        UnavailableError: the server answers with an error, or cuts the stream.
    """
    body = {"model": model, "messages": [{"role": "user", "content": question}], "user": user, "stream": True}
    began = time.perf_counter()
    first, pieces, id = 0.0, list[str](), ""  # noqa: A001
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        headers = {"content-type": "application/json", "x-request-id": name}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        if response.status != 200:
            raise UnavailableError(
                f"{model} answers {response.status}: {response.read(2_000).decode(errors='replace')}"
            )
        version = response.headers.get("x-headrace-version", "")
        for event in _events(response):
            if "error" in event:
                raise UnavailableError(f"{model} ended its answer: {event['error']}")
            id = event["id"]  # noqa: A001
            text = "".join(each["delta"].get("content") or "" for each in event["choices"])
            if text:
                first = first or (time.perf_counter() - began) * 1000
                pieces.append(text)
    except OSError as error:
        raise UnavailableError(f"{model} does not answer: {error}.") from error
    finally:
        connection.close()
    return Reply(id=id, text="".join(pieces), pieces=len(pieces), first_ms=first, version=version)


def tell(port: int, model: str, reply: str, said: Mapping[str, object]) -> None:
    """Sends feedback on an answer; whoever sends it is told to be simulated.

    Raises:
        UnavailableError: the server does not take it.
    """
    body = {"prediction_id": reply, "source": "simulated", **said}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", f"/models/{model}/feedback", json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        if response.status != 202:
            raise UnavailableError(f"feedback: {response.status}: {response.read(2_000).decode(errors='replace')}")
        response.read()
    except OSError as error:
        raise UnavailableError(f"{model} does not take feedback: {error}.") from error
    finally:
        connection.close()


def opinion(text: str, right: str) -> dict[str, object]:
    """What the simulated person says of an answer: a thumb by the words that it shares with the right one, and that one."""
    ours, theirs = (Counter(WORD.findall(each.lower())) for each in (text, right))
    shared = sum((ours & theirs).values())
    good = 2 * shared / max(ours.total() + theirs.total(), 1) >= GOOD
    return {"thumbs": "up" if good else "down", "correction": right}


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """The data of server-sent events, up to `[DONE]`."""
    while line := response.readline():
        if line.startswith(b"data:"):
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            yield json.loads(data)
    raise UnavailableError("the answer was cut off.")
