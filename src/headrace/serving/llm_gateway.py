"""The gateway to language models of a server: routes as they were handed over, budgets and usage where the state database is there.

A server starts without the state database, and answers on when it goes. Budgets cannot be counted then: calls that count in
one are refused. Other calls are made, and what they used is left out of the record, which is counted.
"""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from headrace.chains import gateways
from headrace.core import vault
from headrace.core.errors import HeadraceError, LimitError
from headrace.environments.llm import read_llm
from headrace.environments.llm_handover import from_json, to_json
from headrace.environments.section import Section
from headrace.environments.toml import TomlFile

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from datetime import timedelta

    from headrace.core.state import State
    from headrace.environments.llm import LlmConfig
    from headrace.llm.gateway.budget_limits import Limits
    from headrace.llm.gateway.budgets import Budgets
    from headrace.llm.gateway.cache import AnswerCache
    from headrace.llm.gateway.gateway import Gateway
    from headrace.llm.gateway.metering import EndedCall, ReservationRequest
    from headrace.llm.gateway.usage import Usage
    from headrace.serving.metrics import Counters

LOG = logging.getLogger(__name__)

HANDED = "HEADRACE_LLM_GATEWAY"  # what who starts a server hands over; see `handed`
PATIENT = 1.0  # seconds for which an answer waits for a state database that was there before
AWAY = 5.0  # seconds in which a state database that could not be reached is not tried again


class BudgetsUnreachableError(LimitError):
    """A call counts in a budget, and the budgets cannot be read now: it was not made."""


def handed(config: LlmConfig, state_url: str) -> str:
    """What a server needs to know of an environment's language models, for its secrets: the address may hold a password."""
    return json.dumps({"llm": to_json(config), "state": state_url})


def prepare(counters: Counters) -> None:
    """Says how chains of this process reach language models. To be called before code of a model is loaded.

    Raises:
        ConfigError: the file that `HEADRACE_LLM_ROUTES` names cannot be read.
    """
    text = vault.read(HANDED)
    if text is not None:
        stored = json.loads(text)
        _use(from_json(stored["llm"]), stored["state"], counters)
    elif file := os.environ.get(gateways.ROUTES):
        source = TomlFile.read(Path(file))
        folder = source.path.parent
        _use(read_llm(Section(source=source, folder=folder, name="", table={"llm": source.table})), None, counters)


def _use(config: LlmConfig, state_url: str | None, counters: Counters) -> None:
    lock, opened = Lock(), list["Gateway"]()

    def gateway() -> Gateway | None:
        if not config.routes:
            return None
        with lock:
            if not opened:
                opened.append(_open(config, state_url, counters))
            return opened[0]

    gateways.use(gateway)


def _open(config: LlmConfig, state_url: str | None, counters: Counters) -> Gateway:
    from headrace.llm.gateway.budget_limits import Limits
    from headrace.llm.gateway.gateway import Gateway
    from headrace.llm.gateway.metering import Metering
    from headrace.llm.gateway.opening import limits as declared

    limits = declared(config)
    link = StateLink(state_url, limits) if state_url is not None else None
    metering = Metering(
        budgets=ServedBudgets(link, limits) if limits != Limits() else None,
        usage=None if link is None else ServedUsage(link, counters),
        cache=None if link is None else ServedCache(link),
    )
    return Gateway(config, metering=metering)


@dataclass(frozen=True, kw_only=True)
class _Opened:
    state: State
    budgets: Budgets
    usage: Usage
    cache: AnswerCache


class StateLink:
    """A state database that may be away: it is opened when it is needed, and after a failure left alone for a while.

    Args:
        url: of SQLAlchemy.
        limits: the declared budgets.
    """

    def __init__(self, url: str, limits: Limits) -> None:
        self._url, self._limits = url, limits
        self._lock = Lock()
        self._opened: _Opened | None = None
        self._away_until = 0.0

    @contextmanager
    def opened(self) -> Generator[_Opened]:
        """What is in it.

        Raises:
            HeadraceError: it cannot be reached.
        """
        from sqlalchemy.exc import SQLAlchemyError

        if time.monotonic() < self._away_until:
            raise HeadraceError("the state database could not be reached a moment ago.")
        try:
            yield self._open()
        except LimitError:
            raise
        except (HeadraceError, SQLAlchemyError, OSError) as error:
            self._lost()
            raise HeadraceError(f"the state database cannot be reached ({type(error).__name__}).") from error

    def _open(self) -> _Opened:
        from headrace.core.state import State
        from headrace.llm.gateway.budgets import Budgets
        from headrace.llm.gateway.cache import AnswerCache
        from headrace.llm.gateway.usage import Usage

        with self._lock:
            if self._opened is None:
                state = State(self._url, waits=PATIENT)
                self._opened = _Opened(
                    state=state, budgets=Budgets(state, self._limits), usage=Usage(state), cache=AnswerCache(state)
                )
            return self._opened

    def _lost(self) -> None:
        """A connection that is made anew fails at once where the database is away; one that was there would wait for it."""
        with self._lock:
            lost, self._opened = self._opened, None
            self._away_until = time.monotonic() + AWAY
        if lost is not None:
            with suppress(Exception):
                lost.state.close()


class ServedBudgets:
    """See BudgetLedger.

    Args:
        link: to the state database; None where there is none.
        limits: the declared budgets.
    """

    def __init__(self, link: StateLink | None, limits: Limits) -> None:
        self._link, self._limits = link, limits

    def reserve_many(self, requests: Sequence[ReservationRequest]) -> list[Any]:
        """See BudgetLedger. A call that costs nothing, or counts in no budget, needs no database."""
        results: list[Any] = [None] * len(requests)
        counted = [place for place, each in enumerate(requests) if self._counts(each)]
        if counted:
            reserved = self._reserved([requests[place] for place in counted])
            for place, result in zip(counted, reserved, strict=True):
                results[place] = result
        return results

    def _counts(self, request: ReservationRequest) -> bool:
        limits = self._limits
        counted = (limits.day, limits.of("user", request.user), limits.of("model", request.model))
        return bool(request.amount) and counted != (None, None, None)

    def _reserved(self, requests: Sequence[ReservationRequest]) -> Sequence[Any]:
        if self._link is None:
            raise BudgetsUnreachableError(
                "budgets are declared, and there is no state database here to count them in.",
                hint="Leave [budgets] out of the file that HEADRACE_LLM_ROUTES names, or serve within the project.",
            )
        try:
            with self._link.opened() as there:
                return there.budgets.reserve_many(requests)
        except HeadraceError as error:
            LOG.warning("a call was refused, because its budget cannot be counted: %s", error)
            raise BudgetsUnreachableError("budgets cannot be counted now: the state database is away.") from error

    def settle(self, reservation: Any, amount: int) -> None:
        """See BudgetLedger."""
        if reservation is not None and self._link is not None:
            with self._link.opened() as there:
                there.budgets.settle(reservation, amount)

    def release(self, reservation: Any) -> None:
        """See BudgetLedger."""
        if reservation is not None and self._link is not None:
            with self._link.opened() as there:
                there.budgets.release(reservation)


class ServedCache:
    """See CompletionCache. Without the database there is no stored answer."""

    def __init__(self, link: StateLink) -> None:
        self._link = link

    def key(self, *, protocol: str, url: str, model: str, messages: Any, parameters: Mapping[str, object]) -> str:
        """See CompletionCache."""
        from headrace.llm.gateway.cache import AnswerCache

        return AnswerCache.key(protocol=protocol, url=url, model=model, messages=messages, parameters=parameters)

    def get(self, key: str) -> str | None:
        """See CompletionCache."""
        with suppress(HeadraceError), self._link.opened() as there:
            return there.cache.get(key)
        return None

    def put(self, key: str, value: str, ttl: timedelta) -> bool:
        """See CompletionCache."""
        with suppress(HeadraceError), self._link.opened() as there:
            return there.cache.put(key, value, ttl)
        return False


class ServedUsage:
    """See UsageRecorder. An answer is given also where its record cannot be written, which is counted.

    Args:
        link: to the state database.
        counters: in which calls are counted that could not be recorded.
    """

    def __init__(self, link: StateLink, counters: Counters) -> None:
        self._link, self._counters = link, counters
        self._lock = Lock()

    def settle_and_record(self, budgets: ServedBudgets | None, ended: Sequence[EndedCall]) -> None:
        """See UsageRecorder. What was reserved and cannot be settled counts as spent in full later."""
        counted = [
            replace(each, settlements=tuple(one for one in each.settlements if one.reservation is not None))
            for each in ended
        ]
        try:
            with self._link.opened() as there:
                there.usage.settle_and_record(None if budgets is None else there.budgets, counted)
        except HeadraceError as error:
            with self._lock:
                self._counters.llm_calls_unrecorded += len(ended)
            LOG.warning("%d calls of language models were not recorded: %s", len(ended), error)
