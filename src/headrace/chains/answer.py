"""What a chain answered, and what it did for it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.core.money import NANO_PER_DOLLAR
from headrace.llm.evaluation.language import language
from headrace.llm.evaluation.text_checks import lengths_in_words, refusals

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 4_000  # characters of a passage, and of a message, that are kept beside an answer
MOST = 50  # messages of a call that are


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A document, or a chunk of one, that was retrieved for an answer."""

    id: str
    text: str
    score: float
    index: str


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search in an index.

    Attributes:
        index: its name.
        text: what was searched for.
        k: how many documents were asked for.
        found: how many there were; the passages of an answer are those of its searches, in order.
        began_ms: after the beginning of the answer.
        latency_ms: what it took.
    """

    index: str
    text: str = field(repr=False)
    k: int
    found: int
    began_ms: float
    latency_ms: float


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of a language model.

    Attributes:
        call_id: names it in the record of usage.
        prompt: the name of the prompt; empty where messages were given.
        prompt_version: the digest of the prompt's text.
        route: that answered; empty where a function did.
        model: as the answer names it.
        input_tokens: that were sent, over all attempts.
        output_tokens: that were answered.
        cost_nano: in nano-dollars.
        input_cost_nano: what of it is for tokens that were sent; the rest is for those that were answered.
        latency_ms: from the request to the end of the answer.
        attempts: requests to endpoints.
        cached: whether the cache answered.
        began_ms: after the beginning of the answer.
        finish_reason: why the model ended: `stop`, `length`, ….
        messages: what was sent: role and text of each.
        text: what was answered.
        requested: the model that the endpoint was asked for; empty where a function answered.
        provider: whose protocol the endpoint speaks, as OpenTelemetry names it: `openai`, `anthropic`; empty where a function
            answered.
        first_ms: from the request to the first piece of an answer that streams; None of one that came whole.
    """

    call_id: str
    prompt: str
    prompt_version: str
    route: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_nano: int
    input_cost_nano: int
    latency_ms: float
    attempts: int
    cached: bool
    began_ms: float = 0.0
    finish_reason: str = ""
    messages: Sequence[tuple[str, str]] = field(default=(), repr=False)
    text: str = field(default="", repr=False)
    requested: str = ""
    provider: str = ""
    first_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A text, with the searches, passages and calls that it was made from.

    Attributes:
        text: as far as it came.
        passages: that were retrieved.
        calls: of language models.
        latency_ms: from the question to the last piece.
        searches: in indexes.
        finish_reason: why it ended: that of the last call (`stop`, `length`, `content_filter`, …), `cancelled` where nobody waited
            for the rest, or `error`.
    """

    text: str
    passages: Sequence[Passage]
    calls: Sequence[Call]
    latency_ms: float
    searches: Sequence[Search] = ()
    finish_reason: str = "stop"

    def row(self, *, texts: bool = False) -> dict[str, str | float]:
        """The columns of the output, as `hr.Generation` names them.

        Args:
            texts: whether what was searched for, and the messages of calls with their answers, are in them, each up to 4,000
                characters. They hold instructions, so a caller of a server does not get them; traces are made of them.
        """
        passages = [{"id": each.id, "text": each.text[:LONGEST], "score": each.score} for each in self.passages]
        return {
            "prediction": self.text,
            "prediction_passages": json.dumps(passages, ensure_ascii=False),
            **self.steps(texts=texts),
            "prediction_finish_reason": self.finish_reason,
            "prediction_language": language(self.text),
            "prediction_words": float(lengths_in_words([self.text])[0]),
            "prediction_refused": float(refusals([self.text])[0]),
            "prediction_retrieved": float(len(self.passages)),
            "prediction_input_tokens": float(sum(each.input_tokens for each in self.calls)),
            "prediction_output_tokens": float(sum(each.output_tokens for each in self.calls)),
            "prediction_cost": sum(each.cost_nano for each in self.calls) / NANO_PER_DOLLAR,
            "prediction_latency_ms": self.latency_ms,
        }

    def steps(self, *, texts: bool) -> dict[str, str]:
        """The columns of the output that say what was done for the answer; see `row`."""
        searches = [_kept(asdict(each), texts) for each in self.searches]
        calls = [_kept(asdict(each), texts) for each in self.calls]
        return {
            "prediction_searches": json.dumps(searches, ensure_ascii=False),
            "prediction_calls": json.dumps(calls, ensure_ascii=False),
        }


def _kept(record: dict[str, Any], texts: bool) -> dict[str, Any]:
    """A record without its texts, or with as much of them as is kept."""
    held = {name: value for name, value in record.items() if name not in ("messages", "text")}
    if texts:
        held["text"] = record["text"][:LONGEST]
        if "messages" in record:
            held["messages"] = [[role, content[:LONGEST]] for role, content in record["messages"][:MOST]]
    return held
