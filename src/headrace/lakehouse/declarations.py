"""What a user declares about tables: sources, tables, expectations, and the columns that others take from them."""

from __future__ import annotations

import json
import re
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from headrace.core.declaration import Declaration, caller
from headrace.core.errors import DeclarationError
from headrace.core.ids import digest
from headrace.environments.importing import program_file
from headrace.lakehouse.dialect import NULLS, Dialect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyarrow as pa

    from headrace.core.schema import Schema

LONGEST = 63  # characters of a schema or a table
NAME = re.compile(rf"[a-z_][a-z0-9_]{{0,{LONGEST - 1}}}\.[a-z_][a-z0-9_]{{0,{LONGEST - 1}}}")
KEY = "headrace.key"
ROW_ID, ARRIVED_AT = "row_id", "arrived_at"  # of an ArrivalTable
DUCKDBS = ("information_schema", "pg_catalog", "system", "temp")  # schemas in which no view can be made
RESERVED = ("arrivals", "quarantine", "metrics", "training", "inference", "main", *DUCKDBS)


def check_name(name: str, *, declared: bool = True) -> str:
    """Gives the name back if it is `schema.table` in lower case.

    Raises:
        DeclarationError: it is not, or a declaration uses a schema that Headrace writes itself.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise DeclarationError(
            f"{name!r} is not a table name.",
            hint="Write schema.table in lower case letters, digits and underscores: 'silver.orders'.",
        )
    if declared and name.split(".", maxsplit=1)[0] in RESERVED:
        raise DeclarationError(
            f"{name!r}: the schema {name.split('.', maxsplit=1)[0]!r} is written by Headrace itself.",
            hint=f"Reserved: {', '.join(RESERVED)}.",
        )
    return name


def quarantine_name(table: str) -> str:
    """Where the rows that a table does not want are kept; no two tables have the same place."""
    return f"quarantine.{_in_one(table)}"


def arrivals_name(source: str) -> str:
    """Where the rows of a source are kept with a key and the moment when each arrived; no two sources have the same place."""
    return f"arrivals.{_in_one(source)}"


def _in_one(table: str) -> str:
    """`schema.table` as the name of one table."""
    schema, _, name = table.partition(".")
    plain = f"{schema}_{name}"
    if "_" in schema or len(plain) > LONGEST:  # "a_b.c" and "a.b_c" would be one name
        plain = f"{plain[: LONGEST - 9]}_{digest(table)[:8]}"
    return plain


def key_text(keys: Sequence[str]) -> str:
    """Key columns as a table's property `KEY`: a list, for a name may hold anything."""
    return json.dumps(list(keys), ensure_ascii=False)


def key_of(properties: Mapping[str, str]) -> tuple[str, ...]:
    """The key columns, of a table's properties."""
    return tuple(json.loads(properties[KEY]))


def as_columns(columns: str | Sequence[str]) -> tuple[str, ...]:
    """One column name or several, as a tuple."""
    return (columns,) if isinstance(columns, str) else tuple(columns)


@dataclass(frozen=True)
class Sql:
    """The text of one SELECT, and the file it came from, so that an error can name its line."""

    text: str
    file: str


def sql_file(path: str) -> Sql:
    """A SELECT in a file beside the module that calls this, or elsewhere in the same version of the program.

    Args:
        path: relative to that module's folder.

    Returns:
        The SQL with the place where it is written, for `hr.Table(sql=…)`.

    Raises:
        DeclarationError: there is no such file, or it is no part of the program: SQL is code, and runs as it was committed.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("orders.sql").write_text("SELECT order_id, amount FROM bronze.orders")
        >>> hr.sql_file("orders.sql").text
        'SELECT order_id, amount FROM bronze.orders'
    """
    here = caller()
    file = program_file(here, path, "SQL file")
    try:
        return Sql(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{here}: the SQL file {str(file)!r} cannot be read: {error}.") from None


@dataclass(frozen=True)
class ColumnRepair:
    """Columns to replace, each by an SQL expression over the row, where an expectation does not hold."""

    columns: Mapping[str, str]


def repair(**columns: str) -> ColumnRepair:
    """Replaces values of a row that breaks an expectation: `hr.repair(amount="abs(amount)")`.

    Args:
        **columns: column → an SQL expression over the columns of the row, which replaces its value.

    Returns:
        The repair, for `hr.expect(otherwise=…)`.

    Raises:
        DeclarationError: no column.

    Example:
        A gauge that reports -1 is out of order:

        >>> hr.expect("rain_mm >= 0", otherwise=hr.repair(rain_mm="NULL"))
        Expectation(predicate='rain_mm >= 0', otherwise=ColumnRepair(columns={'rain_mm': 'NULL'}))
    """
    if not columns:
        raise DeclarationError(
            "repair() needs at least one column.", hint='For example: hr.repair(visib="least(visib, 10)").'
        )
    return ColumnRepair(columns)


Otherwise = Literal["fail", "quarantine", "warn"] | ColumnRepair


@dataclass(frozen=True)
class Expectation:
    """A predicate that must be true (null counts as broken) of each row, and what happens to a row where it is not."""

    predicate: str
    otherwise: Otherwise = "fail"


def expect(predicate: str, *, otherwise: Otherwise = "fail") -> Expectation:
    """Declares an SQL predicate over the columns of a table.

    Args:
        predicate: an SQL expression that is true or false, `"distance > 0"`. A row for which it is false *or null* breaks it.
            It is checked when the table is built.
        otherwise: what becomes of a row that breaks it; defaults to `"fail"`, which writes nothing and stops.
            `"quarantine"` moves the row with the reason to `quarantine.<schema>_<table>`; `"warn"` keeps and counts it;
            `hr.repair(column="expression")` replaces columns.

    Returns:
        The expectation, for `hr.Table(expect=[…])`.

    Raises:
        DeclarationError: an unknown `otherwise`.

    Example:
        >>> hr.expect("amount > 0", otherwise="quarantine")
        Expectation(predicate='amount > 0', otherwise='quarantine')
        >>> hr.expect("amount > 0", otherwise="drop")
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: otherwise='drop' is not known.
        Use 'fail', 'quarantine', 'warn' or hr.repair(column='expression').
    """
    if not isinstance(otherwise, ColumnRepair) and otherwise not in ("fail", "quarantine", "warn"):
        raise DeclarationError(
            f"otherwise={otherwise!r} is not known.",
            hint="Use 'fail', 'quarantine', 'warn' or hr.repair(column='expression').",
        )
    return Expectation(predicate, otherwise)


@dataclass(frozen=True)
class Source(Declaration):
    """Raw data from outside, loaded into a bronze table: new files once each, or what a function yields.

    `source["column"]` is a label, and `source.select("column", …)` are features, of a model whose rows have no key and no time.

    Args:
        name: the bronze table, `schema.table` in lower case: `"bronze.flights"`.
        files: paths or globs, relative to the project folder: `.csv`, `.tsv`, `.parquet`, `.jsonl`, `.json`, also `.gz`,
            `.zst` and `.zip`.
            A file is loaded once; one whose content changed replaces its rows; one that was only moved is recognised by
            its content.
        read: a function without arguments that yields Arrow record batches; the table becomes what it yields. Either `files`
            or `read` is needed.
        schema: types of columns that are not to be found from the data, as a zip code that is a text; defaults to none.
        nulls: the texts that mean null in CSV; defaults to the empty text, `NA`, `NULL` and `null`.
        separator: between two fields of a CSV file; defaults to None, found from the file.
        decimal: the decimal mark of CSV, `"."` or `","`; defaults to None, found from the file.
        encoding: of text files, `"cp1252"`; defaults to None: UTF-8, or UTF-16 and UTF-32 with their byte order mark.
        quote: the character around fields of a CSV file; defaults to `"`. `""` means that nothing is quoted.
        skip: how many lines of a CSV file are before the names of its columns; defaults to 0.
        description: what it is, for people; defaults to none. `hr.documented()` asks for it.
        owner: who is responsible, for people; defaults to nobody.

    Raises:
        DeclarationError: no name of a table, neither `files` nor `read` or both, or an option of CSV that is not possible.

    Example:
        >>> orders = hr.Source("bronze.orders", files=["orders/*.csv", "orders/*.parquet"], schema=hr.Schema(zip="string"))
        >>> orders.patterns
        ('orders/*.csv', 'orders/*.parquet')
        >>> hr.Source("orders", files="orders.csv")
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: 'orders' is not a table name.
        Write schema.table in lower case letters, digits and underscores: 'silver.orders'.
    """

    namespace: ClassVar[str] = "table"

    _: KW_ONLY
    files: str | Path | Sequence[str | Path] = ()
    read: Callable[[], Iterable[pa.RecordBatch]] | None = None
    schema: Schema | None = None
    nulls: Sequence[str] = NULLS
    separator: str | None = None
    decimal: Literal[".", ","] | None = None
    encoding: str | None = None
    quote: str = '"'
    skip: int = 0

    def __post_init__(self) -> None:
        check_name(self.name)
        try:
            _ = self.dialect
        except DeclarationError as error:
            raise error.at(self.where) from None
        if bool(self.files) == (self.read is not None):
            raise DeclarationError(f"{self.where}: source {self.name!r} needs either files= or read=.")

    @property
    def dialect(self) -> Dialect:
        """How its text files are written.

        Raises:
            DeclarationError: an option is none.
        """
        return Dialect(
            nulls=as_columns(self.nulls),
            separator=self.separator,
            decimal=self.decimal,
            encoding=self.encoding,
            quote=self.quote,
            skip=self.skip,
        )

    @property
    def patterns(self) -> tuple[str, ...]:
        """The declared paths and globs as text."""
        return (str(self.files),) if isinstance(self.files, str | Path) else tuple(str(file) for file in self.files)

    @cached_property
    def arrivals(self) -> ArrivalTable:
        """The rows with a generated key and the moment when each arrived: for rows that have neither."""
        return ArrivalTable(
            arrivals_name(self.name),
            key=ROW_ID,
            time=ARRIVED_AT,
            source=self,
            description=self.description,
            owner=self.owner,
            where=self.where,
        )

    def __getitem__(self, column: str) -> LabelColumn:
        """A column as a label: `hr.Binary(label=rows["target"])`."""
        return LabelColumn(self.arrivals, column)

    def select(self, *columns: str) -> Selection:
        """Columns of the rows themselves, as features of a model whose spine this source is.

        Args:
            *columns: names of columns of the source.
        """
        return self.arrivals.select(*columns)


@dataclass(frozen=True)
class Table(Declaration):
    """A table that a SELECT over other tables defines, kept up to date by `headrace run refresh`.

    `table.at("column")` is a spine, one decision a row at the moment in that column; `table["column"]` is a label, and
    `table.select("column", …)` are features from the spine.

    Args:
        name: `schema.table` in lower case: `"silver.orders"`.
        key: the column or columns that identify a row (together with `time`, where there is one).
        time: the column with the moment when the row became *known*, not when the event happened. Needed in a table
            with a label; defaults to none.
        sql: one SELECT, as a text or `hr.sql_file(…)`. Tables are named as declared; nothing else can be read. Defaults to
            None, for a table that something else creates and that is only declared here.
        schema: types to cast to at the write; columns that it does not name keep the type that the SELECT returns.
        expect: what must be true of each row, `[hr.expect("amount > 0")]`; defaults to nothing.
        change_feed: whether each version keeps which rows it changed (Delta's change data feed), for `hr.change_feed`. It begins
            with the version after the one that turns it on, and stays on. Defaults to no.
        description: what it is, for people; defaults to none. `hr.documented()` asks for it.
        owner: who is responsible, for people; defaults to nobody.

    Raises:
        DeclarationError: no name of a table, no key, or a column that is named twice in the key.

    Example:
        >>> orders = hr.Table("silver.orders", key="order_id", sql="SELECT order_id, ordered_at, amount FROM bronze.orders",
        ...                   expect=[hr.expect("amount > 0", otherwise="quarantine")])
        >>> returns = hr.Table("gold.returns", key="order_id", time="known_at", sql="SELECT * FROM bronze.returns")
        >>> returns.identity  # no two rows have the same values in these columns
        ('order_id', 'known_at')
        >>> orders.at("ordered_at").at, orders.select("amount").columns, returns["returned"].name  # spine, features, label
        ('ordered_at', ('amount',), 'returned')
    """

    namespace: ClassVar[str] = "table"

    _: KW_ONLY
    key: str | Sequence[str] = ()
    time: str | None = None
    sql: Sql | str | None = None
    schema: Schema | None = None
    expect: Sequence[Expectation] = ()
    change_feed: bool = False

    def __post_init__(self) -> None:
        check_name(self.name)
        if not self.keys:
            raise DeclarationError(
                f"{self.where}: table {self.name!r} needs a key.", hint='For example: key="order_id".'
            )
        if twice := [name for name in self.keys if self.keys.count(name) > 1]:
            raise DeclarationError(f"{self.where}: the key of table {self.name!r} names {twice[0]!r} twice.")
        if isinstance(self.sql, str):
            object.__setattr__(self, "sql", Sql(self.sql, self.where.file))

    @property
    def keys(self) -> tuple[str, ...]:
        """The key columns."""
        return as_columns(self.key)

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns in which no two rows agree: the key, and the time where there is one."""
        return tuple(dict.fromkeys(self.keys if self.time is None else (*self.keys, self.time)))

    def __getitem__(self, column: str) -> LabelColumn:
        return LabelColumn(self, column)

    def at(self, column: str) -> Spine:
        """This table as a spine: one row a decision, made at the instant in `column`."""
        return Spine(self, column)

    def select(self, *columns: str) -> Selection:
        """Columns of the spine itself, known when the decision is asked for.

        Args:
            *columns: names of columns of this table.
        """
        return Selection(self, as_columns(columns))


@dataclass(frozen=True)
class ArrivalTable(Table):
    """The rows of a source that say neither what identifies them nor when they became known.

    `row_id` is made from the content of a row, so that a row keeps it when its file is loaded again; equal rows are counted.
    `arrived_at` is the moment of the refresh that saw the row first. A source makes it, `source.arrivals`; `headrace run
    refresh` builds it after the source.

    Attributes:
        source: whose rows they are.
    """

    _: KW_ONLY
    source: Source

    def __post_init__(self) -> None:
        """Nothing of it is declared by a user."""


@dataclass(frozen=True)
class LabelColumn:
    """One column of a table, as a label is declared."""

    table: Table
    name: str


@dataclass(frozen=True)
class Spine:
    """The rows to predict for, and the column with the moment of each decision."""

    table: Table
    at: str


@dataclass(frozen=True)
class Selection:
    """Columns that a model takes from a table.

    Attributes:
        table: where they come from.
        columns: their names there.
        on: table key column → spine column, where the two differ.
        prefix: put before each name.
        optional: whether a column may be null on every training row.
        where: where the selection stands in the user's program.
    """

    table: Table
    columns: tuple[str, ...]
    on: Mapping[str, str] = field(default_factory=dict[str, str])
    prefix: str = ""
    optional: bool = False
    where: object = field(default_factory=caller, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.columns:
            raise DeclarationError(f"{self.where}: select() on {self.table.name!r} needs at least one column.")

    def having(self, table: Table) -> Selection:
        """The same selection from another declaration of the table: how a reference by name is resolved."""
        return replace(self, table=table)
