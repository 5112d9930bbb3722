"""A tuple of records that shows itself as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from headrace.session.markup import records

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from headrace.operations.record import Record

T = TypeVar("T", bound="Record")


class Listing(tuple[T, ...]):
    """Records of one kind: a tuple, which a notebook shows as a table."""

    __slots__ = ()

    def __new__(cls, several: Iterable[T]) -> Listing[T]:
        """From records, in their order."""
        return super().__new__(cls, several)

    def to_pandas(self) -> pd.DataFrame:
        """A data frame with a row a record and a column an attribute."""
        import pandas as pd

        return pd.DataFrame([vars(each) for each in self])

    def __repr__(self) -> str:
        """How many, of what."""
        kind = type(self[0]).__name__ if self else "record"
        return f"<{len(self)} {kind}>" if self else "<none>"

    def _repr_html_(self) -> str:
        """A table."""
        return records(self)
