"""Column types as a user declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from headrace.core.errors import DeclarationError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

Type = Literal[
    "bool", "int8", "int16", "int32", "int64", "float32", "float64", "string", "date", "timestamp", "timestamp_utc"
]
TYPES: tuple[str, ...] = get_args(Type)


class Schema:
    """Column names and types, in order: `Schema(hour="int32", origin="string")`.

    Args:
        **columns: name → type: `bool`, `int8`, `int16`, `int32`, `int64`, `float32`, `float64`, `string`, `date`, `timestamp`
            (a local wall-clock time without a zone) or `timestamp_utc` (an instant). The last two hold microseconds.

    Raises:
        DeclarationError: no column.
        NotFoundError: an unknown type; the nearest one is suggested.

    Example:
        >>> hr.Schema(order_id="string", amount="float64", paid_at="timestamp_utc")
        Schema(order_id='string', amount='float64', paid_at='timestamp_utc')
        >>> hr.Schema(amount="float46")
        Traceback (most recent call last):
        headrace.core.errors.NotFoundError: no type 'float46': did you mean 'float64'?
    """

    def __init__(self, **columns: Type) -> None:
        if not columns:
            raise DeclarationError("a Schema needs at least one column.", hint='For example: hr.Schema(hour="int32").')
        for declared in columns.values():
            if declared not in TYPES:
                raise NotFoundError("type", str(declared), TYPES)
        self.columns: dict[str, str] = dict(columns)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and list(self.columns.items()) == list(other.columns.items())

    def __hash__(self) -> int:
        return hash(tuple(self.columns.items()))

    def __repr__(self) -> str:
        return f"Schema({', '.join(f'{name}={declared!r}' for name, declared in self.columns.items())})"
