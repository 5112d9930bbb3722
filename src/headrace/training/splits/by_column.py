"""The split `by_column`: a column of the spine marks the decisions that are held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.declaration import check_names, check_texts
from headrace.core.errors import DataError
from headrace.training.splits.base import Split

if TYPE_CHECKING:
    from headrace.training.splits.base import Flags, SplitRows


@dataclass(frozen=True)
class ByColumn(Split):
    """Decisions with a certain value in a column are held out."""

    column: str
    test: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)

    def held_out(self, rows: SplitRows) -> Flags:
        """Those whose value, as text, is the one that is declared.

        Raises:
            DataError: a value is missing, or none is the declared one.
        """
        values = rows.columns[self.column]
        if missing := int(values.isna().sum()):
            raise DataError(
                f"{missing} of {len(values)} labelled decisions have no value in {self.column!r}, which says what is tested.",
                hint="Fill it in the SQL of the spine: coalesce(…).",
            )
        held_out = (values.astype(str) == self.test).to_numpy()
        if not held_out.any():
            known = ", ".join(map(repr, sorted(values.astype(str).unique())[:10]))
            raise DataError(
                f"no labelled decision has {self.test!r} in {self.column!r}: there is {known}.",
                hint=f"hr.by_column({self.column!r}, test=…)",
            )
        return held_out


def by_column(column: str, *, test: str = "test") -> ByColumn:
    """Holds out the decisions that a column of the spine names, for a division that was made elsewhere.

    Args:
        column: of the spine; every labelled decision has a value.
        test: the value, as text, of those that are held out; defaults to `"test"`.

    Returns:
        The split, for `hr.Evaluate(test=…)`.

    Raises:
        DeclarationError: no name of a column, or no text.

    Example:
        `rows` are the decisions on ten orders; their column `part` is `train` for six of them, and `test` for four:

        >>> rows.columns["part"][hr.by_column("part").held_out(rows)].tolist()
        ['test', 'test', 'test', 'test']
        >>> hr.by_column("part", test="holdout").held_out(rows)
        Traceback (most recent call last):
        headrace.core.errors.DataError: no labelled decision has 'holdout' in 'part': there is 'test', 'train'.
        hr.by_column('part', test=…)
    """
    check_names("by_column", column=(column,))
    check_texts("by_column", 'Write the value of the column: hr.by_column("part", test="test").', test=test)
    return ByColumn(column, test)
