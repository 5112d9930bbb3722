"""The split `at_random`: a share of the decisions, by a hash of their keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.training.splits.base import Split
from headrace.training.splits.hashing import check_share, places

if TYPE_CHECKING:
    from headrace.training.splits.base import Flags, SplitRows


@dataclass(frozen=True)
class AtRandom(Split):
    """About a share of the decisions is held out, whatever they are."""

    share: float
    seed: int

    def held_out(self, rows: SplitRows) -> Flags:
        """Those whose key hashes to a place below the share: a decision stays where it is when others come."""
        return places(rows.keys, self.seed) < self.share


def at_random(share: float = 0.2, *, seed: int = 0) -> AtRandom:
    """Holds out about a share of the decisions, by a hash of their keys. For decisions without an order in time.

    Args:
        share: of the labelled decisions, between 0 and 1; defaults to 0.2.
        seed: another one holds out others; defaults to 0.

    Returns:
        The split, for `hr.Evaluate(test=…)`.

    Raises:
        DeclarationError: a share that is not between 0 and 1, or a seed that is no whole number.

    Example:
        `rows` are the decisions on ten orders, whose key is `order_id`:

        >>> rows.keys["order_id"][hr.at_random(0.2).held_out(rows)].tolist()
        [4, 10]
        >>> rows.keys["order_id"][hr.at_random(0.2, seed=2).held_out(rows)].tolist()
        [4, 5, 6]
    """
    check_share("at_random", share, seed)
    return AtRandom(float(share), seed)
