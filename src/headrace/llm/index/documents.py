"""Rows of the source table as texts: each with the key of its document, the number of its chunk, and a hash."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.core.errors import DataError
from headrace.core.ids import canonical, digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from headrace.llm.index.declarations import VectorIndex

WORD = re.compile(r"\S+")
NAMED = 10  # documents that a report names


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A document, or a chunk of one.

    Attributes:
        key: of the document, as text.
        chunk: its number, from 0.
        text: what is embedded.
        content_hash: of the embedder and the text: two pieces with one hash have the same vector.
        metadata: the values of the columns to keep, in their order.
    """

    key: str
    chunk: int
    text: str
    content_hash: str
    metadata: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """The pieces of some documents, and the documents that have none.

    Attributes:
        pieces: by document, in the order of the rows.
        keys: of all documents that were read, those without text included.
        skipped: why documents have no piece → how many.
        named: the first of these, with the reason.
    """

    pieces: Sequence[Piece]
    keys: frozenset[str]
    skipped: Mapping[str, int]
    named: tuple[str, ...]


def key_texts(rows: pa.Table, identity: Sequence[str]) -> list[str]:
    """The key of each row as text: the value of a single column, or a JSON list.

    Raises:
        DataError: a key is null, as that of a row that can be found by nothing.
    """
    columns = [rows[name].to_pylist() for name in identity]
    for name, values in zip(identity, columns, strict=True):
        if None in values:
            raise DataError(f"the key {name!r} of a document is null, in row {values.index(None) + 1}.")
    if len(columns) == 1:
        return [value if isinstance(value, str) else _plain(value) for value in columns[0]]
    return [canonical(list(values)) for values in zip(*columns, strict=True)]


def pieces(rows: pa.Table, declaration: VectorIndex, embedder: str) -> Pieces:
    """The pieces of documents.

    Args:
        rows: of the source table, with the columns of the declaration.
        declaration: of the index.
        embedder: the digest of the embedder, which is part of each hash.

    Raises:
        DataError: a column of a type that cannot be embedded or kept; two documents of one key; a document without text, if the declaration
            refuses these.
    """
    _check_types(rows.schema, declaration)
    keys = key_texts(rows, declaration.table.identity)
    if twice := [key for key, count in Counter(keys).items() if count > 1]:
        raise DataError(
            f"{declaration.table.name}: {len(twice)} keys have more than one document. Nothing was indexed.",
            findings=[f"{', '.join(declaration.table.identity)}={key!r}" for key in twice],
        )
    metadata = zip(*(rows[name].to_pylist() for name in declaration.keep), strict=True) if declaration.keep else None
    found: list[Piece] = []
    skipped: Counter[str] = Counter()
    named: list[str] = []
    for key, value in zip(keys, rows[declaration.text].to_pylist(), strict=True):
        kept = next(metadata) if metadata is not None else ()
        text, reason = _text(value)
        if reason:
            skipped[reason] += 1
            named += [f"{key!r}: {reason}"] if len(named) < NAMED else []
            continue
        for number, part in enumerate(_chunks(text, declaration.chunk)):
            hashed = digest([embedder, part])
            found.append(Piece(key=key, chunk=number, text=part, content_hash=hashed, metadata=tuple(kept)))
    if skipped and declaration.otherwise == "fail":
        raise DataError(
            f"{declaration.name}: {skipped.total()} documents of {declaration.table.name} have no text in {declaration.text!r}. "
            "Nothing was indexed.",
            findings=named,
            hint='otherwise="skip" leaves them out.',
        )
    return Pieces(pieces=found, keys=frozenset(keys), skipped=dict(skipped), named=tuple(named))


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return canonical(value).strip('"')


def _text(value: str | bytes | None) -> tuple[str, str]:
    """The text of a document, and why it has none."""
    if value is None:
        return "", "null"
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return "", "binary"
    if "\0" in value:
        return "", "binary"
    return (value, "") if value.strip() else ("", "empty")


def _chunks(text: str, words: int | None) -> Iterable[str]:
    """A text in chunks of so many words each."""
    if words is None:
        return [text]
    spans = [match.span() for match in WORD.finditer(text)]
    return [text[part[0][0] : part[-1][1]] for part in (spans[i : i + words] for i in range(0, len(spans), words))]


def _check_types(schema: pa.Schema, declaration: VectorIndex) -> None:
    kind = schema.field(declaration.text).type
    textual = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    if not any(each(kind) for each in textual):
        raise DataError(
            f"{declaration.name}: the column {declaration.text!r} of {declaration.table.name} is {kind}, and no text.",
            hint="Name the column with the text of a document, or cast it in the SQL of the table.",
        )
    for name in declaration.keep:
        if pa.types.is_nested(schema.field(name).type):
            raise DataError(
                f"{declaration.name}: the column {name!r} of {declaration.table.name} is {schema.field(name).type}, which is not kept.",
                hint="Keep texts, numbers, dates and truth values.",
            )
