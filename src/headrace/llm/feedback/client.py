"""Sends feedback to a server, with nothing but the standard library."""

from __future__ import annotations

import json
import random
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlsplit

from headrace.core.errors import ConfigError, DataError, RefusedError, UnavailableError
from headrace.core.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.llm.feedback.declarations import Implicit, Source

AGAIN = (408, 429, 500, 502, 503, 504)
DENIED = (401, 403)
ATTEMPTS = 4
FIRST = 0.2  # seconds before the second attempt; the pauses grow fourfold
LONGEST = 300  # characters of a server's reason
ANSWER = 2**16  # bytes of an answer that are read


def send_feedback(
    url: str,
    prediction_id: str,
    *,
    model: str,
    thumbs: Literal["up", "down"] | None = None,
    score: float | None = None,
    correction: str | None = None,
    text: str | None = None,
    implicit: Sequence[Implicit] = (),
    user: str | None = None,
    version: int | None = None,
    key: str | None = None,
    id: str | None = None,  # noqa: A002  # as the server calls it
    source: Source = "sdk",
    timeout: float = 10.0,
) -> tuple[str, ...]:
    """Sends what somebody says of an answer, and returns when the server has stored it.

    Sent again with the same `id`, it is stored once; this function does so itself while the server cannot be reached.

    Args:
        url: the address of the server, `"https://models.example"`.
        prediction_id: the id that came with the answer.
        model: the name of the model.
        thumbs: `"up"` or `"down"`; defaults to neither.
        score: a number within the declared scale; defaults to none.
        correction: the right answer; defaults to none.
        text: a comment; defaults to none.
        implicit: what the person did: `"retry"`, `"copy"`, `"handover"`. Defaults to nothing.
        user: who says it, under a name of your own; only a digest of it is stored. Defaults to nobody.
        version: the version of the model that answered; defaults to unknown.
        key: an API key that is good for `predict` or `feedback`; defaults to none.
        id: what makes it the same feedback when it is sent again; defaults to a new one for each call.
        source: `"sdk"`, or `"simulated"` for feedback that no person gave. Defaults to `"sdk"`.
        timeout: seconds that one attempt may take; defaults to 10.

    Returns:
        The id of each row of the table `metrics.feedback` that it becomes.

    Raises:
        ConfigError: the address is none.
        RefusedError: the server knows no such API key.
        DataError: the server does not take it, and says why.
        UnavailableError: the server could not be reached, or could not store it, in four attempts.

    Example:
        >>> hr.send_feedback("localhost", "r-1-0", model="assistant", thumbs="up")
        Traceback (most recent call last):
        headrace.core.errors.ConfigError: 'localhost' is no address of a server.
        Write it with its scheme: 'http://127.0.0.1:8080'.
    """
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise ConfigError(
            f"{url!r} is no address of a server.", hint="Write it with its scheme: 'http://127.0.0.1:8080'."
        )
    said = {
        "thumbs": thumbs,
        "score": score,
        "correction": correction,
        "text": text,
        **dict.fromkeys(implicit, True),
        "user": user,
        "version": version,
    }
    body = {"prediction_id": prediction_id, "id": id or new_id(), "source": source}
    body |= {name: value for name, value in said.items() if value is not None}
    headers = {"content-type": "application/json"} | ({} if key is None else {"authorization": f"Bearer {key}"})
    address = f"{url.rstrip('/')}/models/{quote(model, safe='')}/feedback"
    request = urllib.request.Request(address, json.dumps(body).encode(), headers, method="POST")  # noqa: S310  # checked
    return _sent(request, timeout)


def _sent(request: urllib.request.Request, timeout: float) -> tuple[str, ...]:
    opener = urllib.request.build_opener(_NoRedirect)
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(FIRST * 4 ** (attempt - 1) * random.uniform(0.5, 1))  # noqa: S311  # no secret
        try:
            with opener.open(request, timeout=timeout) as answer:
                return tuple(json.loads(answer.read(ANSWER))["feedback_ids"])
        except urllib.error.HTTPError as error:
            with error:
                reason = f"{error.code}: {_reason(error)}"
            if error.code in DENIED:
                raise RefusedError(
                    f"the server takes no feedback from this caller: {reason}",
                    hint="headrace api-key create NAME --scope feedback makes an API key for it.",
                ) from None
            if error.code not in AGAIN:
                raise DataError(f"the server does not take this feedback: {reason}") from None
        except (OSError, ValueError, KeyError) as error:
            reason = str(getattr(error, "reason", error))
    raise UnavailableError(
        f"the feedback was not stored in {ATTEMPTS} attempts: {reason}",
        hint="Send it again with the same id=; what is stored already stays there once.",
    )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like any other: the API key goes to nobody but the server."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """None of it is followed."""


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(ANSWER))["message"])[:LONGEST]
    except (OSError, ValueError, KeyError, TypeError):
        return str(error.reason)
