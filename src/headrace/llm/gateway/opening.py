"""From what is configured to a gateway with its budgets, its record of usage and its cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headrace.environments.llm import read_llm
from headrace.environments.section import Section
from headrace.environments.toml import TomlFile
from headrace.llm.gateway.budget_limits import Limits
from headrace.llm.gateway.budgets import Budgets
from headrace.llm.gateway.cache import AnswerCache
from headrace.llm.gateway.gateway import Gateway
from headrace.llm.gateway.metering import Metering
from headrace.llm.gateway.usage import Usage

if TYPE_CHECKING:
    from headrace.core.state import State
    from headrace.environments.llm import LlmConfig


def open_gateway(config: LlmConfig, state: State | None = None) -> Gateway:
    """The gateway of an environment.

    Args:
        config: its routes and budgets.
        state: its state database, which all workers share: budgets, usage and cached answers are there. Without one, calls
            are neither limited by budgets nor recorded.
    """
    return Gateway(config) if state is None else Gateway(config, metering=metering(config, state))


def metering(config: LlmConfig, state: State) -> Metering:
    """Budgets, usage and cached answers of an environment, in its state database.

    Args:
        config: its routes and budgets.
        state: its state database.
    """
    return Metering(budgets=Budgets(state, limits(config)), usage=Usage(state), cache=AnswerCache(state))


def limits(config: LlmConfig) -> Limits:
    """The budgets of a day, as they are declared."""
    budgets = config.budgets
    return Limits(day=budgets.day, per_user=budgets.user, per_model=budgets.model)


def open_file(file: str) -> Gateway:
    """The gateway of a TOML file with `[routes.NAME]`, for a model that answers outside of a project.

    Raises:
        ConfigError: it cannot be read, or something in it is not possible.
    """
    path = Path(file)
    source = TomlFile.read(path)
    return open_gateway(read_llm(Section(source=source, folder=path.parent, name="", table={"llm": source.table})))
