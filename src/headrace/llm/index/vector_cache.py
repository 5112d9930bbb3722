"""Vectors that were computed and are not in the index's table yet, so that an update that was killed does not compute them again.

One file for each batch, named by its content and put in its place in one step. Several updates of an index may share its folder.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from headrace.core.ids import digest, new_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from headrace.llm.index.base import Vector

SUFFIX = ".arrow"
ABANDONED = 3600  # seconds after which a file that was begun was left by a process that died


class VectorCache:
    """The vectors of one index and embedder, in a folder that no other index uses.

    Args:
        folder: of all indexes; created where there is none.
        index: its name.
        embedder: its identity.
        dimension: of its vectors; a file with others does not count.
    """

    def __init__(self, folder: Path, index: str, embedder: str, dimension: int) -> None:
        self._folder = folder / index / "vectors" / embedder
        self._dimension = dimension
        self._seen = set(self._folder.glob(f"*{SUFFIX}"))

    def load(self) -> dict[str, Vector]:
        """Every vector that is kept, by its content hash. A file that cannot be read is left out."""
        found: dict[str, Vector] = {}
        for file in sorted(self._folder.glob(f"*{SUFFIX}")):
            self._seen.add(file)
            try:
                with pa.OSFile(str(file)) as source:
                    rows = pa.ipc.open_file(source).read_all()
            except (OSError, pa.ArrowInvalid):  # removed by another update that is done, or torn by a loss of power
                continue
            values = rows["vector"].combine_chunks().flatten().to_numpy()
            if len(values) == rows.num_rows * self._dimension:
                found.update(zip(rows["content_hash"].to_pylist(), values.reshape(-1, self._dimension), strict=True))
        return found

    def add(self, vectors: Mapping[str, Vector]) -> None:
        """Keeps vectors: all of them, or none if the process dies."""
        self._folder.mkdir(parents=True, exist_ok=True)
        values = pa.array(np.concatenate(list(vectors.values())), pa.float32())
        rows = pa.table(
            {"content_hash": list(vectors), "vector": pa.FixedSizeListArray.from_arrays(values, self._dimension)}
        )
        name = digest(sorted(vectors))
        begun, file = self._folder / f".{name}-{new_id()}", self._folder / f"{name}{SUFFIX}"
        with pa.OSFile(str(begun), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
        begun.replace(file)
        self._seen.add(file)

    def clear(self) -> None:
        """Forgets what this update found or added: the index's table has it.

        The folder stays, and so does what another update of the index added meanwhile; that one removes it.
        """
        for file in self._seen:
            file.unlink(missing_ok=True)
        self._seen.clear()
        for begun in self._folder.glob(".*"):
            with suppress(FileNotFoundError):  # removed by another update
                if time.time() - begun.stat().st_mtime > ABANDONED:
                    begun.unlink()
