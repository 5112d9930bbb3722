"""One call on its way: its deadline, and what its attempts have used."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from headrace.core.ids import new_id
from headrace.llm.gateway.metering import CallEnd
from headrace.llm.gateway.protocols.base import dumps, most_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.environments.llm import LlmRoute
    from headrace.llm.gateway.metering import CallOutcome, Settlement
    from headrace.llm.gateway.requests import CallTags, ChatRequest

MILLION = 10**6
MESSAGE_TOKENS = 8  # what surrounds a message
BYTES_A_TOKEN = 4  # of usual prose
DATED = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|\d{6})|:latest")


@dataclass(kw_only=True)
class Call:
    """What is known of a call; each attempt adds to it.

    Attributes:
        user: a pseudonym.
        tags: on whose behalf it is.
        deadline: when its time ends, by the monotonic clock.
        id: names it among all workers.
        started: by the performance counter.
        route: that was tried last.
        model: that was requested last, or that answered.
        attempts: requests so far.
        reservations: that were made for attempts, sent or not.
        input_tokens: over all attempts.
        output_tokens: over all attempts.
        cost_nano: over all attempts.
        input_cost_nano: what of it is for tokens that were sent.
        failures: of attempts since the last one that succeeded, a sentence each.
        warnings: what was odd.
        settlements: of attempts that ended; they are written with the record of the call.
    """

    user: str
    tags: CallTags
    deadline: float
    id: str = field(default_factory=new_id)
    started: float = field(default_factory=time.perf_counter)
    route: str = ""
    model: str = ""
    attempts: int = 0
    reservations: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0
    input_cost_nano: int = 0
    failures: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])
    settlements: list[Settlement] = field(default_factory=list["Settlement"])

    @property
    def left(self) -> float:
        """The seconds until the deadline."""
        return self.deadline - time.monotonic()

    @property
    def latency_ms(self) -> float:
        """Since the call began."""
        return (time.perf_counter() - self.started) * 1_000

    def warn(self, what: str) -> None:
        """Notes what was odd, once."""
        if what not in self.warnings:
            self.warnings.append(what)

    def end(self, outcome: CallOutcome) -> CallEnd:
        """Returns the record of the call."""
        return CallEnd(
            call_id=self.id,
            at=datetime.now(UTC),
            route=self.route,
            model=self.model,
            application=self.tags.application,
            version=self.tags.version,
            prompt=self.tags.prompt,
            prompt_version=self.tags.prompt_version,
            user=self.user,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost_nano=self.cost_nano,
            latency_ms=self.latency_ms,
            outcome=outcome,
            attempts=self.attempts,
        )


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What an attempt may use at most.

    Attributes:
        input_tokens: one for each byte of all texts that are sent, and some for each message.
        output_tokens: the limit of the answer; 0 where there is none, because answers cost nothing then.
    """

    input_tokens: int
    output_tokens: int

    @staticmethod
    def of(route: LlmRoute, request: ChatRequest) -> Bound:
        """Returns the bound of a request over a route."""
        sent = sum(len(each.content.encode(errors="replace")) + MESSAGE_TOKENS for each in request.texts)
        sent += sum(len(each.encode(errors="replace")) for each in request.stop)
        if request.response_format is not None:  # many endpoints write the schema into the instruction
            sent += len(dumps(request.response_format))
        return Bound(input_tokens=sent, output_tokens=most_tokens(route, request) or 0)

    @staticmethod
    def of_texts(texts: Sequence[str]) -> Bound:
        """Returns the bound of a request for embeddings."""
        return Bound(
            input_tokens=sum(len(each.encode(errors="replace")) + MESSAGE_TOKENS for each in texts), output_tokens=0
        )


def cost_nano(route: LlmRoute, input_tokens: int, output_tokens: int) -> int:
    """Returns what tokens cost over a route in nano-dollars, rounded up."""
    return -(-(input_tokens * route.input_price + output_tokens * route.output_price) // MILLION)


def estimated_tokens(text: str) -> int:
    """Returns about how many tokens a text has, where an endpoint does not say."""
    return -(-len(text.encode(errors="replace")) // BYTES_A_TOKEN)


def is_same_model(requested: str, answered: str) -> bool:
    """Whether an answer is of the model that was requested, or of a dated variant of it. No name is no contradiction."""
    if not answered or answered == requested:
        return True
    return answered.startswith(requested) and DATED.fullmatch(answered[len(requested) :]) is not None
