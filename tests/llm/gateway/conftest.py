import threading
from datetime import UTC, datetime, timedelta

import pytest

from headrace.core.errors import LimitError
from headrace.core.state import State
from headrace.environments.llm import LlmConfig, LlmRoute
from headrace.environments.secret import Secret
from headrace.llm.gateway.gateway import Gateway
from headrace.llm.gateway.metering import Metering
from headrace.llm.gateway.requests import ChatRequest
from headrace.testing.llm_endpoint import Endpoint


class Clock:
    """A clock that tests move."""

    def __init__(self):
        self.at = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self):
        return self.at

    def advance(self, **duration):
        self.at += timedelta(**duration)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def state(state_url):
    opened = State(state_url)
    yield opened
    opened.close()


KEY = "sk-Zq7+very/secret=key"


class Ledger:
    """Budgets, usage and cache in memory: what was called, in order."""

    def __init__(self, left=10**18):
        self.left, self.open, self.settled, self.records, self.answers = left, {}, {}, [], {}
        self.lock = threading.Lock()

    def reserve_many(self, requests):
        with self.lock:
            return [self.reserve(each.call_id, each.amount) for each in requests]

    def reserve(self, call_id, amount):
        assert call_id not in self.open
        if amount > self.left:
            return LimitError(f"the budget has {self.left} left, not {amount}.")
        self.left -= amount
        self.open[call_id] = amount
        return call_id

    def settle(self, reservation, amount):
        with self.lock:
            self.left += self.open.pop(reservation) - amount
            self.settled[reservation] = amount

    def release(self, reservation):
        self.settle(reservation, 0)

    def settle_and_record(self, budgets, ended):
        for each in ended:
            for settlement in each.settlements:
                budgets.settle(settlement.reservation, settlement.amount)
        with self.lock:
            self.records += [each.record for each in ended]

    def key(self, **parts):
        return repr(parts)

    def get(self, key):
        return self.answers.get(key)

    def put(self, key, value, ttl):
        self.answers[key] = value
        return True


def ask(text="hello there", **more):
    return ChatRequest([{"role": "system", "content": "Be kind."}, {"role": "user", "content": text}], **more)


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def endpoint():
    with Endpoint(lambda messages: f"echo of {messages[-1]['content']}") as endpoint:
        yield endpoint


@pytest.fixture
def backup():
    with Endpoint(lambda _messages: "from the backup") as endpoint:
        yield endpoint


def route(endpoint, name="small", **settings):
    protocol = settings.pop("protocol", "openai")
    settings = {"timeout": 10.0, "model": name, **settings}
    return LlmRoute(name=name, protocol=protocol, url=endpoint.url, **settings)


@pytest.fixture
def gateway(ledger):
    opened = []

    def gateway(*routes, metering=None, **settings):
        config = LlmConfig(routes={each.name: each for each in routes})
        metering = metering or Metering(budgets=ledger, usage=ledger, cache=ledger)
        opened.append(Gateway(config, metering=metering, **settings))
        return opened[-1]

    yield gateway
    for each in opened:
        each.close()


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("LLM_KEY", KEY)
    return Secret("LLM_KEY")
