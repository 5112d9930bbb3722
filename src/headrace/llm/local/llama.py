"""The Llama architecture for inference in plain PyTorch, with a cache of keys and values.

transformers has it for training and for many devices: importing it takes 3.6 seconds of CPU time. A test compares both.
Touvron et al. 2023, arXiv:2302.13971; grouped-query attention: Ainslie et al. 2023, arXiv:2305.13245.
"""

# pyright: reportMissingImports=false
# PyTorch and transformers are installed by pip, beside the locks.

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LlamaShape:
    """What the weights are for.

    Attributes:
        layers: how many.
        heads: of queries.
        key_heads: of keys and values; each serves `heads / key_heads` heads of queries.
        epsilon: of the norms.
        rope_base: of the rotations that tell positions.
        context: how many tokens it takes.
    """

    layers: int
    heads: int
    key_heads: int
    epsilon: float
    rope_base: float
    context: int


@dataclass(frozen=True, kw_only=True)
class LlamaLayer:
    """The weights of a layer; those that read the same input are joined."""

    attention_norm: Tensor
    queries_keys_values: Tensor
    attention_output: Tensor
    ffn_norm: Tensor
    gate_up: Tensor
    down: Tensor


class Llama:
    """A model.

    Args:
        shape: its configuration.
        embedding: of tokens, (words, width).
        layers: first to last.
        norm: of what the last layer gives.
        head: (words, width); the same as `embedding` in small models.
    """

    def __init__(
        self, shape: LlamaShape, embedding: Tensor, layers: Sequence[LlamaLayer], norm: Tensor, head: Tensor
    ) -> None:
        self.shape, self.embedding, self.layers, self.norm, self.head = shape, embedding, layers, norm, head
        self.head_width = layers[0].attention_output.shape[1] // shape.heads

    def begin(self, most: int) -> LlamaText:
        """A text of up to `most` tokens, empty so far."""
        return LlamaText(self, most)


class LlamaText:
    """A text that grows: the keys and values of its tokens.

    Args:
        model: that reads it.
        most: tokens.
    """

    def __init__(self, model: Llama, most: int) -> None:
        import torch
        from torch.nn import functional

        self._torch, self._functional, self._model, self._length = torch, functional, model, 0
        shape, width, dtype = model.shape, model.head_width, model.embedding.dtype
        room = (shape.layers, 2, 1, shape.key_heads, most, width)
        self._cache = torch.empty(room, dtype=dtype)
        speeds = shape.rope_base ** -(torch.arange(0, width, 2, dtype=torch.float32) / width)
        angles = torch.outer(torch.arange(most, dtype=torch.float32), torch.cat([speeds, speeds]))
        self._cosine, self._sine = angles.cos().to(dtype), angles.sin().to(dtype)

    def add(self, tokens: Sequence[int]) -> Tensor:
        """Reads more tokens and returns the logits of the one after them; several at once only where the text is empty."""
        model, eps, linear = self._model, self._model.shape.epsilon, self._functional.linear
        end = self._length + len(tokens)
        turn = self._rotation(self._length, end)
        stream = model.embedding[self._torch.tensor(list(tokens))]
        for layer, cache in zip(model.layers, self._cache, strict=True):
            read = self._norm(stream, layer.attention_norm, eps)
            stream = stream + linear(
                self._attend(linear(read, layer.queries_keys_values), cache, turn, end), layer.attention_output
            )
            gate, up = linear(self._norm(stream, layer.ffn_norm, eps), layer.gate_up).chunk(2, dim=-1)
            stream = stream + linear(self._functional.silu(gate) * up, layer.down)
        self._length = end
        return linear(self._norm(stream[-1], model.norm, eps), model.head).float()

    def _norm(self, stream: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        return self._functional.rms_norm(stream, weight.shape, weight, epsilon)

    def _rotation(self, start: int, end: int) -> Callable[[Tensor], Tensor]:
        cosine, sine, torch = self._cosine[start:end], self._sine[start:end], self._torch

        def turn(heads: Tensor) -> Tensor:
            low, high = heads.chunk(2, dim=-1)
            return heads * cosine + torch.cat([-high, low], dim=-1) * sine

        return turn

    def _attend(self, joined: Tensor, cache: Any, turn: Callable[[Tensor], Tensor], end: int) -> Tensor:
        """Lets each new token look at those before it; (tokens, width) of all heads."""
        shape, count = self._model.shape, len(joined)
        heads = joined.view(count, -1, self._model.head_width).transpose(0, 1)[None]
        queries, keys, values = heads.split([shape.heads, shape.key_heads, shape.key_heads], dim=1)
        cache[0][:, :, end - count : end], cache[1][:, :, end - count : end] = turn(keys), values
        seen = self._functional.scaled_dot_product_attention(
            turn(queries), cache[0][:, :, :end], cache[1][:, :, :end], is_causal=count > 1, enable_gqa=True
        )
        return seen[0].transpose(0, 1).reshape(count, -1)
