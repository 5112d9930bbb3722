"""What the gateway calls before and after a call: budgets, the record of usage and the cache of answers.

All methods are called in threads, several at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

CallOutcome = Literal["answered", "cached", "failed", "cancelled", "refused"]


@dataclass(frozen=True, kw_only=True)
class CallEnd:
    """A call that ended, however it did. There is exactly one for each call id. It holds no text and no secret.

    Attributes:
        call_id: names it among all workers.
        at: when it ended, in UTC.
        route: that answered, or was tried last.
        model: that answered, or was to answer.
        application: the registered model whose code called; empty for none.
        version: of that model.
        prompt: the name of the prompt; empty for none.
        prompt_version: what identifies the text of that prompt; empty for none.
        user: a pseudonym; empty for none.
        input_tokens: that were sent, over all attempts.
        output_tokens: that were answered, over all attempts.
        cost_nano: in nano-dollars.
        latency_ms: from the request to the end of the answer.
        outcome: `answered` by an endpoint or `cached`; `failed`; `cancelled` by the client; `refused` by a budget or limit.
        attempts: requests to endpoints.
    """

    call_id: str
    at: datetime
    route: str
    model: str
    application: str = ""
    version: int | None = None
    prompt: str = ""
    prompt_version: str = ""
    user: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0
    latency_ms: float = 0.0
    outcome: CallOutcome = "answered"
    attempts: int = 1


@dataclass(frozen=True, kw_only=True)
class ReservationRequest:
    """What an attempt may cost at most, to be reserved.

    Attributes:
        call_id: names the attempt among all workers.
        amount: in nano-dollars.
        user: whose call it is.
        model: that is called.
        ttl: how long the attempt may take. Afterwards the amount counts as spent.
    """

    call_id: str
    amount: int
    user: str
    model: str
    ttl: timedelta


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What an attempt did cost, in place of what it had reserved.

    Attributes:
        reservation: as `BudgetLedger.reserve_many` returned it.
        amount: in nano-dollars.
    """

    reservation: Any
    amount: int


@dataclass(frozen=True, kw_only=True)
class EndedCall:
    """A call that ended, and what is to be settled with its record.

    Attributes:
        record: of the call.
        settlements: of its attempts that are not settled yet.
    """

    record: CallEnd
    settlements: tuple[Settlement, ...] = ()


class BudgetLedger(Protocol):
    """Budgets that calls count in. What `reserve_many` returned goes to either `settle` or `release`."""

    def reserve_many(self, requests: Sequence[ReservationRequest]) -> Sequence[Any]:
        """Reserves for several attempts, each by itself. A repeated call id gets its reservation again.

        Returns:
            For each attempt its reservation, or a `HeadraceError`: a budget has less left, and nothing was reserved.
        """
        ...

    def settle(self, reservation: Any, amount: int) -> None:
        """Replaces what was reserved by what the call did cost. A second time it changes nothing."""
        ...

    def release(self, reservation: Any) -> None:
        """Gives back what was reserved, because the call cost nothing."""
        ...


class UsageRecorder(Protocol):
    """Where calls that ended are recorded."""

    def settle_and_record(self, budgets: Any, ended: Any) -> None:
        """Settles and stores several `EndedCall` in one transaction: all or none. A repeated call id changes nothing.

        Args:
            budgets: the `BudgetLedger`; None where there is none, and nothing to settle.
            ended: the calls.
        """
        ...


class CompletionCache(Protocol):
    """Answers that are used again for the same request."""

    def key(
        self, *, protocol: str, url: str, model: str, messages: Sequence[object], parameters: Mapping[str, object]
    ) -> str:
        """Returns what a request is cached by: a digest of all that its answer depends on."""
        ...

    def get(self, key: str) -> str | None:
        """Returns the answer as JSON text; None where there is none, or it is too old."""
        ...

    def put(self, key: str, value: str, ttl: timedelta) -> bool:
        """Stores an answer as JSON text for some time. Returns whether it did."""
        ...


@dataclass(frozen=True, kw_only=True)
class Metering:
    """What surrounds calls; each part may be absent.

    Attributes:
        budgets: what may be spent.
        usage: where calls are recorded.
        cache: answers that are used again.
    """

    budgets: BudgetLedger | None = field(default=None)
    usage: UsageRecorder | None = field(default=None)
    cache: CompletionCache | None = field(default=None)
