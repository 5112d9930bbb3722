"""What an update has to write: the pieces of the source table against the rows of the index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.core.errors import RefusedError, UnavailableError
from headrace.lakehouse import changes, log
from headrace.lakehouse.identifiers import column, quoted
from headrace.llm.index.declarations import OWN
from headrace.llm.index.documents import key_texts, pieces

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.llm.index.declarations import VectorIndex
    from headrace.llm.index.documents import Piece

MOST_VERSIONS = 50  # of the change feed that are read; after more, all documents are compared


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What has to be written.

    Attributes:
        added, changed: pieces that are new, and that replace a row.
        removed: the key and chunk of rows whose piece is gone.
        kept: how many rows stay as they are.
        whole: whether the table is written anew.
        unchanged: the pieces of the rows that stay; only if the table is written anew.
        read: how many documents were read.
        skipped: why documents have no piece → how many of those that were read.
        named: the first of these.
        types: of the columns that are kept.
    """

    added: Sequence[Piece]
    changed: Sequence[Piece]
    removed: Sequence[tuple[str, int]]
    kept: int
    whole: bool
    unchanged: Sequence[Piece]
    read: int
    skipped: Mapping[str, int]
    named: tuple[str, ...]
    types: Mapping[str, pa.DataType]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.added or self.changed or self.removed or self.whole)


def plan(
    lakehouse: Lakehouse,
    declaration: VectorIndex,
    source: Snapshot,
    index: Snapshot | None,
    *,
    embedder: str,
    since: int | None,
    renew: bool,
) -> Plan:
    """Compares the documents with the index.

    Args:
        lakehouse: where both are.
        declaration: of the index.
        source: the documents.
        index: the table of the index; None before its first version.
        embedder: the identity of the embedder.
        since: the version of the source that the index holds; None if it is not known.
        renew: whether its rows are by another declaration, embedder or table of documents, and are all written anew.

    Raises:
        DataError: documents that cannot be indexed; see `documents.pieces`.
    """
    touched = None if index is None or since is None else _touched(source, since, declaration.table.identity)
    rows = (
        source.to_arrow(list(declaration.columns))
        if touched is None
        else _rows(lakehouse, declaration, source, touched)
    )
    made = pieces(rows, declaration, embedder)
    types = {name: source.schema.field(name).type for name in declaration.keep}
    there = _there(index, declaration)
    wanted = {(piece.key, piece.chunk): piece for piece in made.pieces}
    known = there or {}
    added = [piece for place, piece in wanted.items() if place not in known]
    changed = [piece for place, piece in wanted.items() if place in known and known[place] != _print(piece)]
    keys = (
        None
        if touched is None
        else frozenset(key_texts(source.to_arrow(list(declaration.table.identity)), declaration.table.identity))
    )
    removed = [
        place
        for place in known
        if place not in wanted and (keys is None or place[0] in made.keys or place[0] not in keys)
    ]
    whole = there is None or renew or (keys is None and len(changed) > len(known) / 2)
    moved = {(piece.key, piece.chunk) for piece in (*added, *changed)} if whole else set[tuple[str, int]]()
    return Plan(
        added=added,
        changed=changed,
        removed=removed,
        kept=len(known) - len(changed) - len(removed),
        whole=whole,
        unchanged=[piece for place, piece in wanted.items() if place not in moved] if whole else (),
        read=len(made.keys),
        skipped=made.skipped,
        named=made.named,
        types=types,
    )


def _there(index: Snapshot | None, declaration: VectorIndex) -> dict[tuple[str, int], str] | None:
    """The rows of the index by their place; None if it has other columns, and is written anew."""
    if index is None or set(index.schema.names) != {*OWN, *declaration.keep}:
        return None
    rows = index.to_arrow(["key", "chunk", "content_hash", *declaration.keep])
    kept = zip(*(rows[name].to_pylist() for name in declaration.keep), strict=True) if declaration.keep else None
    found: dict[tuple[str, int], str] = {}
    for key, chunk, content_hash in zip(*(rows[name].to_pylist() for name in rows.column_names[:3]), strict=True):
        found[key, chunk] = f"{content_hash} {next(kept) if kept is not None else ()!r}"
    return found


def _print(piece: Piece) -> str:
    """What a row is compared by; the text of NaN is equal to itself."""
    return f"{piece.content_hash} {piece.metadata!r}"


def _touched(source: Snapshot, since: int, identity: Sequence[str]) -> pa.Table | None:
    """The identities of rows that were added or changed since a version; None if the change feed does not tell."""
    try:
        changes.check(source)
    except RefusedError:  # it has no change feed
        return None
    if not 0 <= source.version - since <= MOST_VERSIONS or changes.first(source) > since + 1:
        return None
    found = [source.to_arrow(list(identity), where="false")]
    for version in range(since + 1, source.version + 1):
        made = log.entry(source.place, version)
        if made is None or changes.went_back(source, version):
            return None
        if made.changes_data:
            try:
                found.append(changes.added(source, version).select(list(identity)).cast(found[0].schema))
            except (UnavailableError, KeyError, pa.ArrowInvalid):
                return None
    return pa.concat_tables(found)


def _rows(lakehouse: Lakehouse, declaration: VectorIndex, source: Snapshot, touched: pa.Table) -> pa.Table:
    """The rows of the source with these identities."""
    chosen = ", ".join(f"docs.{column(name)}" for name in declaration.columns)
    same = " AND ".join(
        f"docs.{column(name)} IS NOT DISTINCT FROM touched.{column(name)}" for name in declaration.table.identity
    )
    statement = f"SELECT {chosen} FROM {quoted(source.name)} AS docs SEMI JOIN touched ON {same}"
    with lakehouse.connect({source.name: source.version}, arrow={"touched": touched}) as connection:
        rows = connection.sql(statement).to_arrow_table()
    return rows.cast(pa.schema([source.schema.field(name) for name in declaration.columns]))
