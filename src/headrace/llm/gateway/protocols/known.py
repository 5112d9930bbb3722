"""The protocols by their names in `headrace.toml`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.llm.gateway.protocols.anthropic import AnthropicProtocol
from headrace.llm.gateway.protocols.openai import OpenAIProtocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.llm.gateway.protocols.base import EndpointProtocol

OPENAI = OpenAIProtocol()
PROTOCOLS: Mapping[str, EndpointProtocol] = {"openai": OPENAI, "anthropic": AnthropicProtocol()}
