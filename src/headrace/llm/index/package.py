"""A version of an index as a folder that a model carries: it is searched anywhere, without the lakehouse and without LanceDB.

`index.json` has a digest of itself; `rows.arrow` and `words.arrow` have none of their own. A package of a model is hashed as a whole
(`artifact_hash` of its version), which covers them, and is checked before anything of it is opened.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.core.errors import DataError
from headrace.llm.index import rows as on_disk
from headrace.llm.index import words
from headrace.llm.index.exact import ExactStore
from headrace.llm.index.search import Index

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.llm.index.base import Embeds


def write_package(index: Index, folder: Path) -> None:
    """Writes the rows of an index, its words if they are searched, and its description: `rows.arrow`, `words.arrow`, `index.json`.

    Args:
        index: an open version.
        folder: is created, or is empty.

    Raises:
        DataError: there is something in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise DataError(f"{str(folder)!r} is not empty.", hint="An index is written into a folder of its own.")
    on_disk.write(folder, index.rows)
    if index.description.hybrid:
        store, texts = index.store, index.rows.table["text"]
        words.save(folder, store.words if isinstance(store, ExactStore) else words.build(texts.to_pylist()))
    on_disk.describe(folder, replace(index.description, store="exact", probes=0))


def read_package(folder: Path, *, embedder: Embeds | None = None) -> Index:
    """Opens what `write_package` wrote; every vector is compared with.

    Args:
        folder: of the package. Its file of rows is mapped, so it stays as long as the index is used.
        embedder: of questions that are texts; defaults to none.

    Raises:
        DataError: it holds no index.
        RefusedError: the embedder is another one than that of the index.
    """
    rows, description = on_disk.read(folder)
    return Index(rows, description, ExactStore(rows.table["text"], rows.vectors, folder), embedder)
