"""A model from a GGUF file: Llama's architecture, with a byte-level BPE tokenizer, both from what the file says of itself."""

# pyright: reportMissingImports=false
# PyTorch and transformers are installed by pip, beside the locks.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.core.errors import DataError
from headrace.llm.local.gguf_file import GgufFile
from headrace.llm.local.llama import Llama, LlamaLayer, LlamaShape

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tokenizers import Tokenizer
    from torch import Tensor

CONTROL = 3  # GGUF's type of tokens that are no text
SPLITS = ("smollm", "gpt-2")  # how text is cut before it is encoded: the names that GGUF has for what is built here
SAVED = "Save it with transformers' save_pretrained and name that folder."


class GgufModel:
    """A model of one `.gguf` file.

    Args:
        path: of the file.

    Raises:
        DataError: it is no such file, or of an architecture or a tokenizer that is not known here.
    """

    def __init__(self, path: Path) -> None:
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        file = GgufFile(path)
        known = file.metadata
        self._refuse(path, "architecture", known.get("general.architecture"), ("llama",))
        self._refuse(path, "tokenizer", known.get("tokenizer.ggml.model"), ("gpt2",))
        self._refuse(path, "pre-tokenizer", known.get("tokenizer.ggml.pre"), SPLITS)
        self._refuse(path, "scaling of positions", known.get("llama.rope.scaling.type", "none"), ("none",))
        self._tokenizer = tokenizer(file)
        templates: Any = ImmutableSandboxedEnvironment(
            extensions=["jinja2.ext.loopcontrols"], trim_blocks=True, lstrip_blocks=True
        )
        templates.globals["raise_exception"] = _refuse_messages
        self._template = templates.from_string(known.get("tokenizer.chat_template", ""))
        words = file.need("tokenizer.ggml.tokens")
        begin, end = known.get("tokenizer.ggml.bos_token_id"), file.need("tokenizer.ggml.eos_token_id")
        self._names = {"bos_token": "" if begin is None else words[begin], "eos_token": words[end]}
        self.ends = frozenset({end})
        kinds = file.need("tokenizer.ggml.token_type")
        self.controls = frozenset(word for word, kind in zip(words, kinds, strict=True) if kind == CONTROL)
        self._llama = llama(file)
        self.context = self._llama.shape.context
        self.begin = self._llama.begin

    def render(self, messages: Sequence[dict[str, str]]) -> str:
        """A conversation as one text."""
        return self._template.render(messages=list(messages), add_generation_prompt=True, **self._names)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without those that are no text."""
        return self._tokenizer.decode(list(tokens), skip_special_tokens=True)

    @staticmethod
    def _refuse(path: Path, what: str, value: Any, known: Sequence[str]) -> None:
        if value not in known:
            possible = ", ".join(known)
            raise DataError(f"{path} has the {what} {value!r}; read are: {possible}.", hint=SAVED)


def _refuse_messages(why: str) -> None:
    raise DataError(why)


def tokenizer(file: GgufFile) -> Tokenizer:
    """The tokenizer that a file describes."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    words, kinds = file.need("tokenizer.ggml.tokens"), file.need("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in file.need("tokenizer.ggml.merges")]
    found = Tokenizer(models.BPE(vocab={word: place for place, word in enumerate(words)}, merges=merges))
    cut: Any = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if file.need("tokenizer.ggml.pre") == "smollm":
        cut = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), cut])
    found.pre_tokenizer, found.decoder = cut, decoders.ByteLevel()
    found.add_special_tokens(
        [
            AddedToken(word, special=True, normalized=False)
            for word, kind in zip(words, kinds, strict=True)
            if kind == CONTROL
        ]
    )
    return found


def llama(file: GgufFile) -> Llama:
    """The weights of a file."""
    import torch

    heads, key_heads = file.need("llama.attention.head_count"), file.need("llama.attention.head_count_kv")
    shape = LlamaShape(
        layers=file.need("llama.block_count"),
        heads=heads,
        key_heads=key_heads,
        epsilon=file.need("llama.attention.layer_norm_rms_epsilon"),
        rope_base=file.metadata.get("llama.rope.freq_base", 10_000.0),
        context=file.need("llama.context_length"),
    )

    def read(name: str) -> Tensor:
        return torch.from_numpy(file.tensor(f"{name}.weight"))

    def turned(name: str, count: int) -> Tensor:
        """Rows of queries or keys: in the file, the two halves of each head alternate."""
        rows = read(name)
        return rows.view(count, -1, 2, rows.shape[1]).transpose(1, 2).reshape(rows.shape)

    def layer(place: int) -> LlamaLayer:
        at = f"blk.{place}"
        attention = [turned(f"{at}.attn_q", heads), turned(f"{at}.attn_k", key_heads), read(f"{at}.attn_v")]
        return LlamaLayer(
            attention_norm=read(f"{at}.attn_norm"),
            queries_keys_values=torch.cat(attention),
            attention_output=read(f"{at}.attn_output"),
            ffn_norm=read(f"{at}.ffn_norm"),
            gate_up=torch.cat([read(f"{at}.ffn_gate"), read(f"{at}.ffn_up")]),
            down=read(f"{at}.ffn_down"),
        )

    embedding = read("token_embd")
    head = read("output") if "output.weight" in file.tensors else embedding
    return Llama(shape, embedding, [layer(place) for place in range(shape.layers)], read("output_norm"), head)
