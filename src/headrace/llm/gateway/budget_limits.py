"""Declared budgets of a day, how they stand, and the error of a call that does not fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal

from headrace.core.declaration import check_whole
from headrace.core.errors import LimitError
from headrace.llm.gateway.prices import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

Scope = Literal["day", "user", "model"]

MOST_OF_A_BUDGET = 10**18  # nano-dollars: a billion dollars; sums stay below what 64 bits take


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The budgets of a day in nano-dollars; None and names that are not listed have no limit. 0 allows free calls alone.

    Attributes:
        day: of everything together.
        per_user: of each user that is not in `users`.
        per_model: of each model that is not in `models`.
        users: user → its own budget, which replaces `per_user`; None for no limit.
        models: model → its own budget, which replaces `per_model`; None for no limit.

    Raises:
        DeclarationError: a budget is not a whole number from 0 to a billion dollars.
    """

    day: int | None = None
    per_user: int | None = None
    per_model: int | None = None
    users: Mapping[str, int | None] = field(default_factory=dict[str, "int | None"])
    models: Mapping[str, int | None] = field(default_factory=dict[str, "int | None"])

    def __post_init__(self) -> None:
        given = {"day": self.day, "per_user": self.per_user, "per_model": self.per_model}
        for values in (given, dict(self.users), dict(self.models)):
            for name, value in values.items():
                if value is not None:
                    check_whole("Limits", 0, MOST_OF_A_BUDGET, **{name: value})

    def of(self, scope: Scope, key: str) -> int | None:
        """The limit of a budget; None where there is none."""
        if scope == "day":
            return self.day
        named, others = (self.users, self.per_user) if scope == "user" else (self.models, self.per_model)
        return named.get(key, others)


@dataclass(frozen=True, kw_only=True)
class BudgetStatus:
    """One budget of one day; amounts are nano-dollars.

    Attributes:
        scope: `day`, `user` or `model`.
        key: the user or model; empty for `day`.
        day: UTC.
        limit: as declared now; None where none is any more.
        spent: settled calls, and what ended without being settled; may exceed the limit where a call cost more than it reserved.
        reserved: calls that have not ended.
    """

    scope: Scope
    key: str
    day: date
    limit: int | None
    spent: int
    reserved: int

    @property
    def left(self) -> int | None:
        """What may still be reserved, at least 0; None without a limit."""
        return None if self.limit is None else max(0, self.limit - self.spent - self.reserved)


class BudgetExceededError(LimitError):
    """A call may cost more than a budget has left; nothing was reserved in any budget.

    Attributes:
        budget: as it stood.
        amount: that was to be reserved, in nano-dollars.
        resets: when the next day's budget begins.
    """

    def __init__(self, budget: BudgetStatus, amount: int) -> None:
        resets = datetime.combine(budget.day + timedelta(days=1), time(), UTC)
        of = "the budget" if budget.scope == "day" else f"the budget of {budget.scope} {budget.key!r}"
        super().__init__(
            f"{of} for {budget.day} (UTC) is {shown(budget.limit or 0)}: {shown(budget.spent)} is spent, "
            f"{shown(budget.reserved)} is reserved, and this call may cost {shown(amount)}.",
            hint=f"It resets at {resets:%Y-%m-%dT%H:%M:%SZ}. A cheaper route or a smaller max_tokens may fit before.",
        )
        self.budget, self.amount, self.resets = budget, amount, resets

    @property
    def for_caller(self) -> str:
        """What its caller may read: figures of the caller's own budget, and none of what all spend together."""
        if self.budget.scope == "user":
            return str(self)
        return f"a budget of today is spent; it resets at {self.resets:%Y-%m-%dT%H:%M:%SZ}."

    @property
    def retry_after(self) -> float:
        """The seconds until the next day's budget begins."""
        return max(0.0, (self.resets - datetime.now(UTC)).total_seconds())
