"""Which columns of some rows may be the key, the time and the label; a column that cannot be is told with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.core.ids import Json

Kind = Literal["number", "truth", "text", "moment", "other"]
Task = Literal["binary", "multiclass", "regression"]
LABELS = ("label", "target", "y", "class", "outcome", "result", "churn", "churned")  # names that say it
MOST_TEXTS, MOST_NUMBERS = 50, 20  # different values of a label that are classes


@dataclass(frozen=True)
class Column:
    """A column of a file, in the type that a refresh gives it."""

    name: str
    values: pa.ChunkedArray

    @property
    def kind(self) -> Kind:
        """What it may be used as."""
        found = self.values.type
        if pa.types.is_boolean(found):
            return "truth"
        if pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_decimal(found):
            return "number"
        if pa.types.is_string(found) or pa.types.is_large_string(found):
            return "text"
        return "moment" if pa.types.is_timestamp(found) or pa.types.is_date(found) else "other"

    @property
    def is_whole(self) -> bool:
        """Whole numbers."""
        return pa.types.is_integer(self.values.type)

    @property
    def rows(self) -> int:
        """How many values there are, nulls included."""
        return len(self.values)

    @property
    def nulls(self) -> int:
        """How many of them are null."""
        return self.values.null_count

    @cached_property
    def distinct(self) -> int:
        """How many different values there are, without null."""
        return len(self._values)

    @cached_property
    def _values(self) -> pa.Array:
        return self.values.drop_null().unique()

    @property
    def is_unique(self) -> bool:
        """No value is there twice, and none is null."""
        return self.nulls == 0 and self.distinct == self.rows

    def most(self, count: int) -> list[Json]:
        """Up to so many of its different values, sorted."""
        return sorted(self._values.to_pylist())[:count]


def key_of(columns: Iterable[Column]) -> Column | None:
    """The first column that tells rows apart and is called so: `id`, `order_id`, `OrderId`, `key`, `uuid`."""
    return next((each for each in columns if _is_called_key(each.name) and not why_no_key(each)), None)


def _is_called_key(name: str) -> bool:
    plain = name.lower()
    return (
        plain in {"id", "key", "uuid", "guid"} or plain.endswith(("_id", " id", "_key", "_uuid")) or name.endswith("Id")
    )


def why_no_key(column: Column) -> str:
    """Why it cannot be the key; empty where it can."""
    if column.nulls:
        return f"{column.nulls:,} of {column.rows:,} rows have none"
    if column.kind == "other" or pa.types.is_floating(column.values.type):
        return "a key is a text, a whole number or a time"
    if not column.is_unique:
        return f"{column.rows:,} rows have {column.distinct:,} different values"
    return ""


def time_of(columns: Iterable[Column]) -> Column | None:
    """The first column of moments that each row has."""
    return next((each for each in columns if not why_no_time(each)), None)


def why_no_time(column: Column) -> str:
    """Why it cannot be the time of the decisions; empty where it can."""
    if column.kind != "moment":
        return f"its values are no moments: {', '.join(map(str, column.most(2)))}"
    return f"{column.nulls:,} of {column.rows:,} rows have none" if column.nulls else ""


def label_of(columns: list[Column]) -> Column | None:
    """The column that is called like a label, else the last one that can be one."""
    possible = [each for each in columns if not why_no_label(each)]
    named = [each for name in LABELS for each in possible if each.name.lower() == name]
    return next(iter(named), possible[-1] if possible else None)


def why_no_label(column: Column) -> str:
    """Why it cannot be the label; empty where it can."""
    if column.kind in ("moment", "other") and column.distinct:
        return "a label is a truth value, a number or a text"
    if column.distinct < 2:
        shown = column.most(1)
        return f"its only value is {shown[0]!r}" if shown else "it has no value"
    if column.distinct == column.rows - column.nulls and (column.kind == "text" or column.is_whole):
        return f"each of its {column.distinct:,} values is another one, as in a key"
    if column.kind == "text" and column.distinct > MOST_TEXTS:
        return f"it has {column.distinct:,} different texts; at most {MOST_TEXTS} are classes"
    return ""


def task_of(column: Column) -> Task:
    """What is predicted: two values, a few, or a number."""
    if column.distinct == 2:
        return "binary"
    few = column.is_whole and column.distinct <= MOST_NUMBERS
    return "multiclass" if column.kind == "text" or few else "regression"
