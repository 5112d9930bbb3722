"""A model in this process, and how it writes: token by token, with a cache of keys and values, until somebody stops it."""

# pyright: reportMissingImports=false
# PyTorch and transformers are installed by pip, beside the locks.

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from headrace.core.errors import DataError
from headrace.llm.local import control_tokens
from headrace.llm.local.streamed_text import StreamedText

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from threading import Event

    from torch import Tensor

    from headrace.llm.local.weights import ModelFiles

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
# Threads that wait are to sleep: spinning, they take the cores that others need, and two threads are slower than one.
THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "TOKENIZERS_PARALLELISM": "false"}
FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How an answer is written.

    Attributes:
        max_tokens: how many tokens it has at most.
        temperature: 0 takes the most likely token each time.
        top_p: the share of probability that tokens are drawn from.
        seed: of the draws; None for one that differs each time.
        stops: texts that end it.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stops: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of an answer.

    Attributes:
        text: what came.
        tokens: how many tokens the answer has so far.
        finish: why it is the last part; None while more comes.
    """

    text: str
    tokens: int
    finish: FinishReason | None = None


class GrowingText(Protocol):
    """A text that a model reads and continues."""

    def add(self, tokens: Sequence[int]) -> Tensor:
        """Reads more tokens and returns the logits of the one after them, as float32."""
        ...


class CausalModel(Protocol):
    """A model with its tokenizer, from whichever kind of file.

    Attributes:
        context: how many tokens a text may have.
        ends: the tokens that end an answer.
        controls: the texts that `encode` reads as control tokens, such as those that begin a turn.
    """

    context: int
    ends: frozenset[int]
    controls: frozenset[str]

    def render(self, messages: Sequence[dict[str, str]]) -> str:
        """A conversation as one text, up to where its answer begins; raises what it likes for messages that do not fit."""
        ...

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, with no others added."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without those that are no text."""
        ...

    def begin(self, most: int, /) -> GrowingText:
        """A text of up to `most` tokens, empty so far."""
        ...


class LanguageModel:
    """A causal language model, loaded; one thread at a time may use it.

    Its weights are float32: bfloat16 took more time for a token on the machine that was tried, and changed answers.

    Args:
        files: where it is.
        threads: of PyTorch.
    """

    def __init__(self, files: ModelFiles, *, threads: int) -> None:
        os.environ.update(OFFLINE)
        for name, value in THREADS.items():
            os.environ.setdefault(name, value)
        import torch

        torch.set_num_threads(threads)
        self._torch = torch
        self._model: CausalModel = _load(files)
        self.context = self._model.context

    def chat(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """The tokens of a conversation, by the model's own template, up to where its answer begins.

        What is said in it begins and ends no turn: control tokens in contents are ordinary text.

        Raises:
            DataError: its template does not take these messages.
        """

        def render(messages: Sequence[dict[str, str]]) -> str:
            try:
                return self._model.render(messages)
            except Exception as error:  # templates raise what they like
                raise DataError(f"the model's template does not take these messages: {error}") from error

        return control_tokens.encode(
            messages, render=render, tokens_of=self._model.encode, controls=self._model.controls
        )

    def plain(self, text: str) -> list[int]:
        """The tokens of a text that is continued as it stands: control tokens in it are such, as its template is the caller's."""
        return self._model.encode(text)

    def write(self, prompt: Sequence[int], sampling: Sampling, stop: Event) -> Generator[Piece]:
        """Yields the answer part by part; ends with the next token after `stop` is set."""
        torch, text, tokens = self._torch, StreamedText(sampling.stops), list[int]()
        draws = torch.Generator().manual_seed(sampling.seed) if sampling.seed is not None else None
        with torch.inference_mode():
            growing, step = self._model.begin(len(prompt) + sampling.max_tokens), prompt
            while not stop.is_set():
                token = self._choose(growing.add(step), sampling, draws)
                if token in self._model.ends:
                    yield Piece(text=text.finish(), tokens=len(tokens) + 1, finish="stop")
                    return
                tokens.append(token)
                part = text.grow(self._model.decode(tokens))
                if text.stopped or len(tokens) >= sampling.max_tokens:
                    finish: FinishReason = "stop" if text.stopped else "length"
                    yield Piece(text=part + text.finish(), tokens=len(tokens), finish=finish)
                    return
                yield Piece(text=part, tokens=len(tokens))
                step = [token]
        yield Piece(text=text.finish(), tokens=len(tokens), finish="cancelled")

    def _choose(self, logits: Any, sampling: Sampling, draws: Any) -> int:
        torch = self._torch
        if sampling.temperature == 0:
            return int(logits.argmax())
        chances, order = (logits / sampling.temperature).softmax(-1).sort(descending=True)
        chances[chances.cumsum(0) - chances >= sampling.top_p] = 0  # the first one that passes the limit stays
        return int(order[torch.multinomial(chances, 1, generator=draws)])


def _load(files: ModelFiles) -> CausalModel:
    if files.gguf:
        from headrace.llm.local.gguf_model import GgufModel

        return GgufModel(files.folder / files.gguf)
    from headrace.llm.local.saved_model import SavedModel

    return SavedModel(files.folder)
