"""A model from a folder that transformers has saved, of any architecture that it knows."""

# pyright: reportMissingImports=false
# PyTorch and transformers are installed by pip, beside the locks.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor


class SavedModel:
    """A model of one folder.

    Args:
        folder: with `config.json`, the weights and the tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder))
        added = {each.content for each in self._tokenizer.added_tokens_decoder.values()}
        self.controls = frozenset(
            each for each in added if each.strip()
        )  # also those that are no roles, such as of tools
        self._model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval()
        self.context: int = self._model.config.max_position_embeddings
        ends = self._model.generation_config.eos_token_id
        known = ends if isinstance(ends, list) else [ends]
        self.ends = frozenset(each for each in (*known, self._tokenizer.eos_token_id) if each is not None)

    def render(self, messages: Sequence[dict[str, str]]) -> str:
        """A conversation as one text."""
        return self._tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        return self._tokenizer.encode(text, add_special_tokens=False)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without those that are no text."""
        return self._tokenizer.decode(list(tokens), skip_special_tokens=True)

    def begin(self, _: int) -> SavedText:
        """A text, empty so far."""
        return SavedText(self._model)


class SavedText:
    """A text that grows: transformers' cache of its tokens.

    Args:
        model: that reads it.
    """

    def __init__(self, model: Any) -> None:
        self._model, self._cache = model, None

    def add(self, tokens: Sequence[int]) -> Tensor:
        """Reads more tokens and returns the logits of the one after them."""
        import torch

        step = torch.tensor([list(tokens)])
        output = self._model(input_ids=step, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        self._cache = output.past_key_values
        return output.logits[0, -1].float()
