"""The split `by_group`: whole groups, such as customers; no group is both fitted on and tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.declaration import check_names
from headrace.core.errors import DeclarationError
from headrace.training.splits.base import Split
from headrace.training.splits.hashing import check_share, places

if TYPE_CHECKING:
    from headrace.training.splits.base import Flags, SplitRows


@dataclass(frozen=True)
class ByGroup(Split):
    """About a share of the groups is held out, each with all of its decisions."""

    group: tuple[str, ...]
    share: float
    seed: int

    @property
    def columns(self) -> tuple[str, ...]:
        """Those that name the group."""
        return self.group

    @property
    def units(self) -> tuple[str, ...]:
        """Those that name the group."""
        return self.group

    def held_out(self, rows: SplitRows) -> Flags:
        """Those of the groups that hash to a place below the share. Rows without a group are one group."""
        return places(rows.columns[list(self.group)], self.seed) < self.share


def by_group(*columns: str, share: float = 0.2, seed: int = 0) -> ByGroup:
    """Holds out whole groups: `hr.by_group("customer")`. For models that are to predict for groups that they have not seen.

    Args:
        *columns: of the spine, which name the group.
        share: of the groups, between 0 and 1; defaults to 0.2. Groups of different sizes give another share of the rows.
        seed: another one holds out others; defaults to 0.

    Returns:
        The split, for `hr.Evaluate(test=…)`.

    Raises:
        DeclarationError: no column, a share that is not between 0 and 1, or a seed that is no whole number.

    Example:
        `rows` are the decisions on ten orders of the customers ann, bob, cem and dee:

        >>> rows.columns["customer"].tolist()
        ['ann', 'bob', 'cem', 'dee', 'ann', 'bob', 'cem', 'dee', 'ann', 'bob']
        >>> rows.columns["customer"][hr.by_group("customer", share=0.3).held_out(rows)].tolist()
        ['cem', 'cem']
    """
    if not columns:
        raise DeclarationError("by_group() names no column.", hint='hr.by_group("customer")')
    check_names("by_group", columns=columns)
    check_share("by_group", share, seed)
    return ByGroup(columns, float(share), seed)
