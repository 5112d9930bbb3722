"""What a user declares about vector indexes."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, get_args, runtime_checkable

from headrace.core.declaration import Declaration, check_flags, check_names, check_whole
from headrace.core.errors import DeclarationError
from headrace.core.ids import digest
from headrace.jobs.schedule import Cron, OnChange
from headrace.lakehouse.declarations import Table, check_name

if TYPE_CHECKING:
    from collections.abc import Sequence

OWN = ("key", "chunk", "text", "content_hash", "embedder", "recipe", "vector")  # columns of the index's table
StoreKind = Literal["auto", "exact", "lancedb"]
EXACT_BELOW = 50_000  # rows up to which "auto" compares with every vector


@runtime_checkable
class EmbeddingDeclaration(Protocol):
    """What `hr.Embedding` has: the dimension of its vectors, and the identity of what is declared."""

    @property
    def size(self) -> int:
        """How many numbers a vector has."""
        ...

    @property
    def identity(self) -> str:
        """A digest of what is declared."""
        ...


@dataclass(frozen=True)
class VectorIndex(Declaration):
    """Documents of a table, searched by meaning and by words.

    The index is a table itself, one row for each document or chunk; its version is what a model cites. Only documents that are new or
    changed are embedded.

    Args:
        name: of the index and its table, `schema.table` in lower case: `"features.docs_index"`.
        table: the table of the documents; its key is theirs.
        text: the column that is embedded and searched.
        embed: how a text becomes a vector: `hr.Embedding("minilm")`.
        refresh: when `headrace up` brings it up to date: `hr.on_change_of(table)`, whenever rows of its table have changed, or
            `hr.cron(…)`. Every `headrace run refresh` does so, too. Defaults to None: only then.
        keep: columns of the table that a search returns and can filter by; defaults to none.
        chunk: how many words a chunk has, from 10 to 10,000; defaults to None: a document is one text. MiniLM reads 256 tokens,
            which are about 180 words.
        store: what is searched: `"exact"` compares with every vector, `"lancedb"` (in `headrace[llm]`) with those that are near. Defaults to
            `"auto"`: exact below 50,000 rows.
        hybrid: whether a search ranks by words, too, and merges both rankings; defaults to yes.
        otherwise: what happens to a document without text (null, empty, or not text but bytes): `"skip"` leaves it out and reports
            it, `"fail"` refuses the update. Defaults to `"skip"`.
        description: what it is, for people; defaults to none.
        owner: who is responsible, for people; defaults to nobody.

    Raises:
        DeclarationError: no name of a table, no table, a column that is kept twice or has a name that the index uses itself, or
            another value that is not possible.

    Example:
        >>> docs = hr.Table("silver.docs", key="id", sql="SELECT id, title, body FROM bronze.docs", change_feed=True)
        >>> index = hr.VectorIndex("features.docs_index", table=docs, text="body", keep=["title"],
        ...                        embed=hr.Embedding("minilm"), refresh=hr.on_change_of(docs))
        >>> index.columns  # what is read of the table
        ('id', 'body', 'title')
        >>> hr.VectorIndex("features.docs_index", table=docs, text="body", keep=["vector"], embed=hr.Embedding("minilm"))
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: 'features.docs_index' cannot keep the column 'vector': its table has one of that name.
        Give it another name in the table: SELECT vector AS document_vector.
    """

    namespace: ClassVar[str] = "table"

    _: KW_ONLY
    table: Table
    text: str
    embed: EmbeddingDeclaration
    refresh: OnChange | Cron | None = None
    keep: Sequence[str] = ()
    chunk: int | None = None
    store: StoreKind = "auto"
    hybrid: bool = True
    otherwise: Literal["skip", "fail"] = "skip"

    def __post_init__(self) -> None:
        check_name(self.name)
        here = f"{self.where}: index {self.name!r}"
        if not isinstance(self.table, Table):
            raise DeclarationError(f"{here}: table={self.table!r} is no table.", hint="Give what hr.Table(…) returned.")
        if self.table.name == self.name:
            raise DeclarationError(f"{here} would read the table that it writes.", hint="Give it another name.")
        if not isinstance(self.text, str) or not self.text:
            raise DeclarationError(f"{here}: text={self.text!r} is no column.", hint='For example: text="body".')
        if not isinstance(self.embed, EmbeddingDeclaration):
            raise DeclarationError(f"{here}: embed={self.embed!r} is no embedding.", hint='hr.Embedding("minilm")')
        if self.refresh is not None and not isinstance(self.refresh, OnChange | Cron):
            raise DeclarationError(
                f"{here}: refresh={self.refresh!r} is no schedule.",
                hint='hr.on_change_of(table) or hr.cron("0 4 * * *")',
            )
        if isinstance(self.refresh, OnChange) and self.refresh.table != self.table.name:
            raise DeclarationError(
                f"{here}: refresh=hr.on_change_of({self.refresh.table!r}) is of another table than {self.table.name!r}, which it reads.",
                hint=f"refresh=hr.on_change_of({self.table.name!r})",
            )
        check_names("VectorIndex", keep=self.keep)
        for column in self.keep:
            if list(self.keep).count(column) > 1:
                raise DeclarationError(f"{self.name!r} keeps the column {column!r} twice.")
            if column.lower() in OWN:
                raise DeclarationError(
                    f"{self.name!r} cannot keep the column {column!r}: its table has one of that name.",
                    hint=f"Give it another name in the table: SELECT {column} AS document_{column}.",
                )
        if self.chunk is not None:
            check_whole("VectorIndex", 10, 10_000, chunk=self.chunk)
        if self.store not in get_args(StoreKind):
            raise DeclarationError(
                f"VectorIndex(store={self.store!r}) is not possible.", hint="'auto', 'exact' or 'lancedb'."
            )
        if self.otherwise not in ("skip", "fail"):
            raise DeclarationError(
                f"VectorIndex(otherwise={self.otherwise!r}) is not possible.", hint="'skip' or 'fail'."
            )
        check_flags("VectorIndex", hybrid=self.hybrid)

    @property
    def columns(self) -> tuple[str, ...]:
        """What is read of the table: its identity, the text, and the columns to keep."""
        return tuple(dict.fromkeys((*self.table.identity, self.text, *self.keep)))

    @property
    def content(self) -> str:
        """A digest of what decides about the rows of the index, apart from the embedder."""
        return digest([self.table.name, list(self.table.identity), self.text, sorted(self.keep), self.chunk or 0])

    def kind(self, rows: int) -> Literal["exact", "lancedb"]:
        """Which store an index of so many rows is searched in."""
        if self.store == "auto":
            return "exact" if rows < EXACT_BELOW else "lancedb"
        return self.store
