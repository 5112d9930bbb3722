"""`[env.<name>.llm]`: routes to endpoints of language models, and budgets of a day."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Literal, cast
from urllib.parse import urlsplit

from headrace.core.clock import duration
from headrace.core.errors import ConfigError
from headrace.core.money import NANO_PER_DOLLAR
from headrace.environments.keys import BUDGET_KEYS, ROUTE_KEYS
from headrace.environments.secret import BY_REFERENCE
from headrace.environments.section import ENV_NAME, Section
from headrace.environments.toml import suggest

if TYPE_CHECKING:
    from headrace.environments.secret import Secret

LlmProtocol = Literal["openai", "anthropic"]
PROTOCOLS = ("openai", "anthropic")
MOST_DOLLARS = 1_000_000
MOST_SECONDS = 3_600.0
EXAMPLE = '[env.dev.llm.routes.small]\nprotocol = "openai"\nurl = "http://127.0.0.1:8000/v1"\nmodel = "small"'


@dataclass(frozen=True, kw_only=True)
class LlmRoute:
    """A named way to a model at an endpoint: `[env.<name>.llm.routes.<route>]`.

    Attributes:
        name: the name of the route.
        protocol: what the endpoint speaks.
        url: its address, with the path that precedes `/chat/completions` or `/messages`.
        model: the model that is requested there.
        key: a reference to the secret that the endpoint asks for.
        timeout: the seconds that a call may take, all attempts and fallbacks together.
        attempt_timeout: the seconds that one attempt may take; None for as long as the route has.
        attempts: how often a call is tried here at most.
        fallback: the route that is tried next.
        concurrency: how many calls of one process may be open at a time; None for any number.
        requests_per_minute: of one process; None for any number.
        tokens_per_minute: of one process; None for any number.
        input_price: nano-dollars for a million tokens that are sent.
        output_price: nano-dollars for a million tokens that are answered.
        cache: the seconds for which an answer is used again; None for no cache.
        max_tokens: the most tokens of an answer; None leaves it to the endpoint.
    """

    name: str
    protocol: LlmProtocol
    url: str
    model: str
    key: Secret | None = field(default=None, repr=False)
    timeout: float = 60.0
    attempt_timeout: float | None = None
    attempts: int = 3
    fallback: str | None = None
    concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    input_price: int = 0
    output_price: int = 0
    cache: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class LlmBudgets:
    """What may be spent on a day (UTC) in nano-dollars: `[env.<name>.llm.budgets]`. None is no limit; 0 is nothing.

    Attributes:
        day: on everything.
        user: by one user.
        model: on one model.
    """

    day: int | None = None
    user: int | None = None
    model: int | None = None


@dataclass(frozen=True, kw_only=True)
class LlmConfig:
    """The language models of an environment.

    Attributes:
        routes: by their names.
        budgets: of a day.
    """

    routes: Mapping[str, LlmRoute] = field(default_factory=dict[str, LlmRoute])
    budgets: LlmBudgets = field(default_factory=LlmBudgets)


def read_llm(section: Section) -> LlmConfig:
    """Reads the routes and budgets of an environment.

    Args:
        section: the environment's section.

    Raises:
        ConfigError: a name, a key or a value is not possible, fallbacks form a circle, or a key would travel in clear.
    """
    llm = section.inner("llm", ("routes", "budgets"), example=EXAMPLE)
    tables = llm.inner("routes", None, example=EXAMPLE)
    routes = {name: _read_route(tables, name) for name in tables.table}
    for route in routes.values():
        _check_fallbacks(tables, route, routes)
    budgets = llm.inner("budgets", BUDGET_KEYS, example='[env.dev.llm.budgets]\nday = "5.00"')
    amounts = {name: _dollars(budgets, name, value) for name, value in budgets.table.items()}
    return LlmConfig(routes=routes, budgets=LlmBudgets(**amounts))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its very name, without asking a name server."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_route(tables: Section, name: str) -> LlmRoute:
    if not ENV_NAME.fullmatch(name):
        raise tables.error(name, "is not the name of a route.", hint="Small letters and digits, with - or _ between.")
    section = tables.inner(name, ROUTE_KEYS, example=EXAMPLE)
    for key in ("protocol", "url", "model"):
        if key not in section.table:
            raise tables.source.error(f"{name}: there is no {key!r}.", section=section.name, hint=EXAMPLE)
    key = _key(section)
    return LlmRoute(
        name=name,
        protocol=cast("LlmProtocol", section.one_of("protocol", PROTOCOLS, "openai")),
        url=_url(section, key),
        model=section.text("model", ""),
        key=key,
        timeout=_seconds(section, "timeout", MOST_SECONDS) or 60.0,
        attempt_timeout=_seconds(section, "attempt_timeout", MOST_SECONDS),
        attempts=_whole(section, "attempts", 20) or 3,
        fallback=section.text("fallback", "") if "fallback" in section.table else None,
        concurrency=_whole(section, "concurrency", 100_000),
        requests_per_minute=_whole(section, "requests_per_minute", 10**9),
        tokens_per_minute=_whole(section, "tokens_per_minute", 10**12),
        input_price=_dollars(section, "input_price", section.table.get("input_price", 0)),
        output_price=_dollars(section, "output_price", section.table.get("output_price", 0)),
        cache=_seconds(section, "cache", 366 * 86_400),
        max_tokens=_whole(section, "max_tokens", 10**8),
    )


def _key(section: Section) -> Secret | None:
    if "key" not in section.table:
        return None
    if not isinstance(value := section.table["key"], Mapping):
        raise section.error("key", "a secret does not belong in a file.", hint=BY_REFERENCE, excerpt=False)
    return section.secret("key", value)


def _url(section: Section, key: Secret | None) -> str:
    url = section.text("url", "")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.username:
        raise section.wrong("url", url, "is not the URL of an endpoint.", hint='url = "https://api.example.com/v1"')
    if parts.scheme == "http" and key is not None and not is_loopback(host):
        what = f"{url!r} is not encrypted, and the key would be sent in clear."
        raise section.error("url", what, hint="Use https://, or an endpoint on this machine.")
    return url.rstrip("/")


def _check_fallbacks(tables: Section, route: LlmRoute, routes: Mapping[str, LlmRoute]) -> None:
    seen = [route.name]
    while (following := routes[seen[-1]].fallback) is not None:
        if following not in routes:
            inner = tables.inner(seen[-1], None, example=EXAMPLE)
            raise inner.wrong("fallback", following, "is not the name of a route.", hint=suggest(following, routes))
        seen.append(following)
        if following in seen[:-1]:
            inner = tables.inner(route.name, None, example=EXAMPLE)
            hint = "The last of the fallbacks has none itself."
            raise inner.error("fallback", f"the fallbacks form a circle: {' → '.join(seen)}.", hint=hint)


def _seconds(section: Section, key: str, most: float) -> float | None:
    if key not in section.table:
        return None
    value = section.table[key]
    try:
        seconds = duration(value).total_seconds() if isinstance(value, str) else 0.0
    except ConfigError:
        seconds = 0.0
    if not 0 < seconds <= most:
        hint = f'A whole number and a unit, up to {most / 3600:,.0f}h: "60s", "15m", "2h".'
        raise section.wrong(key, value, "is not a duration.", hint=hint)
    return seconds


def _whole(section: Section, key: str, most: int) -> int | None:
    if key not in section.table:
        return None
    value = section.table[key]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise section.wrong(key, value, "is not possible.", hint=f"A whole number from 1 to {most:,}.")
    return value


def _dollars(section: Section, key: str, value: object) -> int:
    """An amount in nano-dollars: text or number, rounded up to a whole one."""
    amount = Decimal(-1)
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            amount = Decimal(str(value))
        except InvalidOperation:
            amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount <= MOST_DOLLARS:
        hint = f'Dollars from 0 to {MOST_DOLLARS:,}, as a text or a number: "5.00".'
        raise section.wrong(key, value, "is not an amount of money.", hint=hint)
    return int((amount * NANO_PER_DOLLAR).to_integral_value(ROUND_CEILING))
