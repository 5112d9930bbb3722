"""The rows of one version of an index: an Arrow file, which is mapped and not read, and its description."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from headrace.core.errors import DataError
from headrace.core.ids import digest

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.lakehouse.snapshot import Snapshot
    from headrace.llm.index.base import Vectors
    from headrace.llm.index.declarations import VectorIndex

ROWS, DESCRIPTION = "rows.arrow", "index.json"
FORMAT = 1
OWN = ("key", "chunk", "text", "content_hash", "vector")


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a folder of an index holds.

    Attributes:
        name: of the index.
        table_id: of its table; "" of an index without one.
        version: of the index.
        dimension: of its vectors.
        embedder: the digest of the embedder of all rows; "" of an index without rows.
        hybrid: whether a search ranks by words, too, unless it says otherwise.
        store: what is searched.
        probes: how many partitions a search of LanceDB looks into; 0 otherwise.
        format: of the folder.
    """

    name: str
    table_id: str
    version: int
    dimension: int
    embedder: str
    hybrid: bool
    store: str
    probes: int = 0
    format: int = FORMAT


class Rows:
    """The rows of a version, in the order of their keys.

    Args:
        table: with the columns `key`, `chunk`, `text`, `content_hash`, `vector` and those that are kept.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.dimension = int(table.schema.field("vector").type.list_size)
        column = table["vector"].chunk(0) if table["vector"].num_chunks == 1 else table["vector"].combine_chunks()
        self.vectors: Vectors = column.flatten().to_numpy().reshape(-1, self.dimension)
        """An array of shape (rows, dimension), float32; the pages of the file if there is one."""
        self.metadata = table.select([name for name in table.column_names if name not in OWN])
        """The columns that are kept."""

    def __len__(self) -> int:
        return self.table.num_rows


def from_table(snapshot: Snapshot, declaration: VectorIndex) -> tuple[Rows, str]:
    """The rows of a version of the table of an index, and the digest of their embedder.

    Raises:
        DataError: vectors of another dimension than declared, of several embedders, or without a length.
    """
    kept = [name for name in declaration.keep if name in snapshot.schema.names]
    found = snapshot.to_arrow(["key", "chunk", "text", "content_hash", "embedder", "vector", *kept])
    found = found.sort_by([("key", "ascending"), ("chunk", "ascending")]).combine_chunks()
    size, embedders = declaration.embed.size, sorted(set(found["embedder"].to_pylist()))
    if len(embedders) > 1:
        raise DataError(f"{declaration.name} version {snapshot.version} has vectors of {len(embedders)} embedders.")
    lists = found["vector"].combine_chunks()
    lists = pa.concat_arrays(lists.chunks) if isinstance(lists, pa.ChunkedArray) else lists
    lengths = {len(vector) for vector in lists}
    if lengths - {size}:
        raise DataError(
            f"{declaration.name} version {snapshot.version} has vectors of {max(lengths - {size})} numbers, and {size} are declared.",
            hint="headrace run refresh updates it: another embedder embeds every document anew.",
        )
    values = pa.array(lists.flatten().to_numpy(zero_copy_only=False), pa.float32())
    vectors = pa.FixedSizeListArray.from_arrays(values, size)
    position = found.schema.get_field_index("vector")
    table = found.set_column(position, pa.field("vector", vectors.type), vectors).drop_columns(["embedder"])
    rows = Rows(table)
    if bad := np.flatnonzero(np.abs(np.linalg.norm(rows.vectors, axis=1) - 1) > 1e-3).tolist():
        raise DataError(f"{declaration.name}: the vector of {table['key'][bad[0]].as_py()!r} is not of length 1.")
    return rows, embedders[0] if embedders else ""


def write(folder: Path, rows: Rows) -> None:
    """Writes the rows into a folder, and waits until they are on the disk."""
    with (folder / ROWS).open("wb") as file:
        with pa.ipc.new_file(file, rows.table.schema) as writer:
            for batch in rows.table.combine_chunks().to_batches() or [
                pa.RecordBatch.from_pylist([], schema=rows.table.schema)
            ]:
                writer.write_batch(batch)
        file.flush()
        os.fsync(file.fileno())


def describe(folder: Path, description: Description) -> None:
    """Writes the description: with it the folder is complete."""
    text = json.dumps(asdict(description), indent=2, sort_keys=True)
    (folder / DESCRIPTION).write_text(json.dumps({"digest": digest(text), "index": json.loads(text)}, indent=2) + "\n")


def read(folder: Path) -> tuple[Rows, Description]:
    """The rows of a folder and their description.

    Raises:
        DataError: it is no folder of an index, or of another format.
    """
    try:
        told = json.loads((folder / DESCRIPTION).read_text())
        if told["index"]["format"] != FORMAT:
            raise DataError(f"{str(folder)!r} has format {told['index']['format']}, and this Headrace reads {FORMAT}.")
        description = Description(**told["index"])
        if digest(json.dumps(asdict(description), indent=2, sort_keys=True)) != told["digest"]:
            raise DataError(f"the description of the index in {str(folder)!r} was changed.")
        rows = Rows(pa.ipc.open_file(pa.memory_map(str(folder / ROWS))).read_all())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{str(folder)!r} holds no index: {error}.", hint="Delete it; it is built again.") from None
    if rows.dimension != description.dimension:
        raise DataError(f"{str(folder)!r} has vectors of {rows.dimension} numbers, and says {description.dimension}.")
    return rows, description
