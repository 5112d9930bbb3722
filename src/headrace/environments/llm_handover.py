"""The language models of an environment as JSON, for a process that does not read `headrace.toml`: keys stay references."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from headrace.environments.llm import LlmBudgets, LlmConfig, LlmRoute
from headrace.environments.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping


def to_json(config: LlmConfig) -> dict[str, Any]:
    """Routes and budgets; of a key the name of its variable."""
    routes = {
        name: {**asdict(route), "key": None if route.key is None else route.key.variable}
        for name, route in config.routes.items()
    }
    return {"routes": routes, "budgets": asdict(config.budgets)}


def from_json(stored: Mapping[str, Any]) -> LlmConfig:
    """What `to_json` made. The variables of keys are taken out of the environment."""
    routes = cast("dict[str, dict[str, Any]]", stored["routes"])
    return LlmConfig(
        routes={name: _route(route) for name, route in routes.items()}, budgets=LlmBudgets(**stored["budgets"])
    )


def _route(stored: dict[str, Any]) -> LlmRoute:
    key = stored.pop("key")
    return LlmRoute(**stored, key=None if key is None else Secret(key))
