"""A GGUF file: its metadata, and its tensors as float arrays.

The package `gguf` has a reader too, which makes several arrays of each word of a vocabulary: 4.5 seconds of CPU time for SmolLM2's
49,152 words and 48,900 merges, where this one takes 0.1. The packed formats of tensors are left to that package.
"""

# pyright: reportMissingImports=false
# PyTorch and transformers are installed by pip, beside the locks.

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, ARRAY = 8, 9
VERSIONS = (2, 3)


@dataclass(frozen=True, kw_only=True)
class PackedTensor:
    """Where a tensor is in its file.

    Attributes:
        shape: rows first, as numpy has it.
        kind: GGUF's number of the packed format.
        start: its first byte, counted from the first byte of all tensors.
    """

    shape: tuple[int, ...]
    kind: int
    start: int


class GgufFile:
    """A file that is read: the metadata at once, each tensor when it is asked for.

    Args:
        path: of the file.

    Attributes:
        metadata: by name, as `llama.block_count`.
        tensors: by name, as `blk.0.attn_q.weight`.

    Raises:
        DataError: it is no GGUF file, or is not complete.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                self._read(_Cursor(view))
        except (struct.error, KeyError, ValueError) as error:
            raise DataError(f"{path} is no complete GGUF file: {error}.") from None

    def need(self, name: str) -> Any:
        """A value of the metadata.

        Raises:
            DataError: there is none of that name.
        """
        if name not in self.metadata:
            raise DataError(f"{self.path} does not say its {name}.")
        return self.metadata[name]

    def tensor(self, name: str) -> np.ndarray[Any, Any]:
        """A tensor as float32.

        Raises:
            DataError: there is none of that name, or its format is not known.
        """
        import numpy as np
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

        if (found := self.tensors.get(name)) is None:
            raise DataError(f"{self.path} has no tensor {name!r}.")
        try:
            kind = GGMLQuantizationType(found.kind)
            block, size = GGML_QUANT_SIZES[kind]
            start, length = self._start + found.start, math.prod(found.shape) // block * size
            packed = np.fromfile(self.path, np.uint8, length, offset=start).reshape(*found.shape[:-1], -1)
            floats = dequantize(packed, kind).reshape(found.shape)
            return np.require(floats, np.float32, "W")  # what was not packed is copied
        except (ValueError, NotImplementedError) as error:
            raise DataError(f"tensor {name!r} of {self.path} cannot be read: {error}.") from None

    def _read(self, cursor: _Cursor) -> None:
        if cursor.take(4) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        if (version := cursor.number("I")) not in VERSIONS:
            raise ValueError(f"its version is {version}")
        tensors, values = cursor.number("Q"), cursor.number("Q")
        self.metadata: Mapping[str, Any] = {cursor.text(): cursor.value(cursor.number("I")) for _ in range(values)}
        self.tensors: Mapping[str, PackedTensor] = {cursor.text(): cursor.tensor() for _ in range(tensors)}
        step = self.metadata.get("general.alignment", 32)
        self._start = -(-cursor.place // step) * step


class _Cursor:
    """Reads values one after the other."""

    def __init__(self, view: mmap.mmap) -> None:
        self._view, self.place = view, 0

    def take(self, length: int) -> bytes:
        start, self.place = self.place, self.place + length
        if self.place > len(self._view):
            raise ValueError("it ends too early")
        return self._view[start : self.place]

    def number(self, form: str) -> Any:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))[0]

    def text(self) -> str:
        return str(self.take(self.number("Q")), "utf-8")

    def value(self, kind: int) -> Any:
        if kind == TEXT:
            return self.text()
        if kind == ARRAY:
            return self._array(self.number("I"), self.number("Q"))
        return self.number(NUMBERS[kind])

    def tensor(self) -> PackedTensor:
        shape = [self.number("Q") for _ in range(self.number("I"))]
        return PackedTensor(shape=tuple(reversed(shape)), kind=self.number("I"), start=self.number("Q"))

    def _array(self, kind: int, length: int) -> list[Any]:
        if kind not in NUMBERS:
            return [self.value(kind) for _ in range(length)]
        form = f"<{length}{NUMBERS[kind]}"
        return list(struct.unpack(form, self.take(struct.calcsize(form))))
