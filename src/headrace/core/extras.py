"""Optional libraries, which a small installation lacks."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from headrace.core.errors import MissingExtraError


def need(module: str, extra: str, reason: str) -> Any:
    """The module.

    Raises:
        MissingExtraError: it is not installed; says which extra has it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise MissingExtraError(module.partition(".")[0], extra, reason) from None
