"""Brings the table of an index up to date with its documents: exactly once, in one version."""

# pyarrow.compute makes its functions when it is imported
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.core.errors import ConflictError, DataError, MovedError, NotFoundError
from headrace.core.failpoints import reach
from headrace.core.ids import digest
from headrace.lakehouse.writes import Overwrite, Upsert
from headrace.llm.index.base import identity
from headrace.llm.index.plan import plan
from headrace.llm.index.vector_cache import VectorCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.writes import Change
    from headrace.llm.index.base import Embeds, Vector
    from headrace.llm.index.declarations import VectorIndex
    from headrace.llm.index.documents import Piece
    from headrace.llm.index.plan import Plan

BATCH = 64  # texts that are embedded at once, and kept together
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("chunk", pa.int32()),
        ("text", pa.string()),
        ("content_hash", pa.string()),
        ("embedder", pa.string()),
        ("recipe", pa.string()),
        ("vector", pa.list_(pa.float32())),
    ]
)
MOST_RACES = 20  # updates of others that may come first


@dataclass(frozen=True, kw_only=True)
class IndexUpdate:
    """What an update did.

    Attributes:
        version: of the index that holds the documents: a new one, or the latest if nothing was to be written.
        source_id, source_version: of the documents' table that was read.
        rows: documents or chunks that the index has now.
        added, changed, removed: how many of them are new, replaced and gone.
        embedded: how many vectors were computed; the others were known.
        read: documents that were read: all, or those that the change feed named.
        skipped: why documents were left out → how many of those that were read.
        named: the first of these, with the reason.
    """

    version: int
    source_id: str
    source_version: int
    rows: int
    added: int = 0
    changed: int = 0
    removed: int = 0
    embedded: int = 0
    read: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict[str, int])
    named: tuple[str, ...] = ()


def update(
    lakehouse: Lakehouse,
    declaration: VectorIndex,
    embedder: Embeds,
    *,
    id: str,  # noqa: A002 - the id of the commit
    cache: Path,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> IndexUpdate:
    """Embeds documents that are new or changed, and writes one version of the index; none if nothing differs.

    An update that dies is run again: vectors that it computed are in `cache`, and whatever it wrote is not written again. If it died
    after it had written, the next call finds nothing to do and reports 0 added, 0 changed and 0 removed, with the version that
    holds the documents: a report counts what its own call wrote. Several updates may run at once: the one that comes second compares again.

    Args:
        lakehouse: where the documents are, and the index.
        declaration: of the index.
        embedder: of the declared dimension. Another one than before embeds every document anew.
        id: what the version is called in the log of the table.
        cache: the folder of vectors that are not in the table yet; each index has a folder of its own in it.
        progress: is told how many texts are embedded, and how many there are to embed.

    Returns:
        What this call did.

    Raises:
        NotFoundError: there is no table of the documents, or no such column.
        DataError: documents that cannot be indexed, or vectors of another dimension. Nothing was written.
        ConflictError: other updates kept coming first. Nothing was written.
    """
    if embedder.dimension != declaration.embed.size:
        raise DataError(
            f"{declaration.name} is declared with {declaration.embed.size} numbers a vector, "
            f"and the embedder has {embedder.dimension}."
        )
    who = identity(embedder)
    vectors = VectorCache(cache, declaration.name, who, embedder.dimension)
    embedded = 0
    for _ in range(MOST_RACES):
        source, index = lakehouse.snapshot(declaration.table.name), _latest(lakehouse, declaration.name)
        recipe = digest([source.env, source.id, declaration.content, who])
        start = None if index is None else lakehouse.reached(declaration.name, [recipe])[recipe]
        same = index is not None and _recipes(index) <= {recipe}
        if index is not None and same and start == source.data_version:
            vectors.clear()  # of an update that died after it had written
            return IndexUpdate(
                version=index.version,
                source_id=source.id,
                source_version=source.version,
                rows=index.rows(),
                embedded=embedded,
            )
        since = start if same else None
        todo = plan(lakehouse, declaration, source, index, embedder=who, since=since, renew=not same)
        if todo.empty:
            assert index is not None
            vectors.clear()
            return _report(todo, index.version, source, embedded)
        reach(f"index.planned:{declaration.name}")
        known = _known(todo, index, vectors)
        embedded += _embed(declaration.name, todo, known, embedder, vectors, progress)
        change = _change(todo, known, embedder, recipe, _properties(declaration, source))
        base = -1 if index is None else index.version

        def write(current: Snapshot | None, base: int = base, change: Change = change) -> Change:
            if (-1 if current is None else current.version) != base:
                raise MovedError(f"{declaration.name} has another version than the one that was compared with.")
            return change

        try:
            done = lakehouse.advance(declaration.name, id, write, {recipe: (start, source.data_version)})
        except MovedError:
            continue
        vectors.clear()
        return _report(todo, done.version, source, embedded)
    raise ConflictError(
        f"{declaration.name}: {MOST_RACES} other updates came first. Nothing was written.", hint="Run it again."
    )


def _latest(lakehouse: Lakehouse, name: str) -> Snapshot | None:
    """The environment's own table of an index."""
    try:
        found = lakehouse.snapshot(name)
    except NotFoundError:
        return None
    return found if found.env == lakehouse.env else None


def _recipes(index: Snapshot) -> set[str]:
    """What the rows of an index were made by: the table of documents, the declaration and the embedder."""
    if "recipe" not in index.schema.names:
        return {""}
    return set(pc.unique(index.to_arrow(["recipe"])["recipe"]).to_pylist())


def _known(todo: Plan, index: Snapshot | None, cache: VectorCache) -> dict[str, Vector]:
    """Vectors of pieces to write that need not be computed: from the index, and from updates that died."""
    needed = {piece.content_hash for piece in _written(todo)}
    found = {content_hash: vector for content_hash, vector in cache.load().items() if content_hash in needed}
    if index is None or "content_hash" not in index.schema.names or not needed - found.keys():
        return found
    hashes = index.to_arrow(["content_hash"])["content_hash"].to_pylist()
    if needed.isdisjoint(hashes):
        return found
    rows = index.to_arrow(["content_hash", "vector"])
    chosen = rows.filter(pc.is_in(rows["content_hash"], pa.array(sorted(needed), pa.string())))
    for content_hash, vector in zip(chosen["content_hash"].to_pylist(), chosen["vector"], strict=True):
        found[content_hash] = np.asarray(vector.values, np.float32)
    return found


def _written(todo: Plan) -> Iterable[Piece]:
    return (*todo.unchanged, *todo.added, *todo.changed)


def _embed(
    name: str,
    todo: Plan,
    known: dict[str, Vector],
    embedder: Embeds,
    cache: VectorCache,
    progress: Callable[[int, int], None],
) -> int:
    """Computes the vectors that are missing, and keeps each batch. Texts that are the same are computed once."""
    missing = {piece.content_hash: piece for piece in _written(todo) if piece.content_hash not in known}
    order = sorted(missing.values(), key=lambda piece: (len(piece.text), piece.content_hash))  # like lengths together
    for start in range(0, len(order), BATCH):
        progress(start, len(order))
        batch = order[start : start + BATCH]
        made = _vectors(name, embedder, batch)
        cache.add(made)
        known.update(made)
        reach(f"index.embedded:{name}")
    if order:
        progress(len(order), len(order))
    return len(order)


def _vectors(name: str, embedder: Embeds, batch: Sequence[Piece]) -> dict[str, Vector]:
    values = np.asarray(embedder.embed([piece.text for piece in batch]))
    if values.shape != (len(batch), embedder.dimension):
        raise DataError(
            f"{name}: the embedder returned an array of shape {values.shape} for {len(batch)} texts of {embedder.dimension} numbers."
        )
    if bad := np.flatnonzero(~np.isfinite(values).all(axis=1)).tolist():
        raise DataError(f"{name}: the vector of document {batch[bad[0]].key!r} has a number that is not finite.")
    return {piece.content_hash: vector for piece, vector in zip(batch, values.astype(np.float32), strict=True)}


def _properties(declaration: VectorIndex, source: Snapshot) -> dict[str, str]:
    """What is kept with the table: what it is, and of which table it is made. None of it differs from update to update."""
    said = {
        "headrace.kind": "vector index",
        "headrace.source": source.name,
        "headrace.description": declaration.description,
        "headrace.owner": declaration.owner,
    }
    return {name: value for name, value in said.items() if value}


def _change(
    todo: Plan, known: Mapping[str, Vector], embedder: Embeds, recipe: str, properties: Mapping[str, str]
) -> Change:
    written = [*_written(todo)]
    written.sort(key=lambda piece: (piece.key, piece.chunk))
    rows = _table(written, known, embedder, recipe, todo.types)
    if todo.whole:
        return Overwrite(rows, properties=properties)
    gone = pa.table(
        {
            "key": pa.array([key for key, _ in todo.removed], pa.string()),
            "chunk": pa.array([chunk for _, chunk in todo.removed], pa.int32()),
        }
    )
    return Upsert(rows, ["key", "chunk"], delete=gone, properties=properties)


def _table(
    pieces: Sequence[Piece],
    known: Mapping[str, Vector],
    embedder: Embeds,
    recipe: str,
    types: Mapping[str, pa.DataType],
) -> pa.Table:
    values = np.concatenate([known[piece.content_hash] for piece in pieces]) if pieces else np.empty(0, np.float32)
    offsets = np.arange(len(pieces) + 1, dtype=np.int32) * embedder.dimension
    kept = {
        name: pa.array([piece.metadata[number] for piece in pieces], kind)
        for number, (name, kind) in enumerate(types.items())
    }
    own = pa.table(
        {
            "key": [piece.key for piece in pieces],
            "chunk": [piece.chunk for piece in pieces],
            "text": [piece.text for piece in pieces],
            "content_hash": [piece.content_hash for piece in pieces],
            "embedder": [identity(embedder)] * len(pieces),
            "recipe": [recipe] * len(pieces),
            "vector": pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, pa.float32())),
        },
        schema=SCHEMA,
    )
    return pa.table({**dict(zip(own.column_names, own.columns, strict=True)), **kept})


def _report(todo: Plan, version: int, source: Snapshot, embedded: int) -> IndexUpdate:
    return IndexUpdate(
        version=version,
        source_id=source.id,
        source_version=source.version,
        rows=todo.kept + len(todo.added) + len(todo.changed),
        added=len(todo.added),
        changed=len(todo.changed),
        removed=len(todo.removed),
        embedded=embedded,
        read=todo.read,
        skipped=dict(Counter(todo.skipped)),
        named=todo.named,
    )
