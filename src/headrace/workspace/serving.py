"""Where the servers of an environment look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.environments.config import Environment


def home(environment: Environment, model: str | None) -> Path:
    """The folder of a model's copies; of the only model when none is named.

    A model that was never deployed has none yet: its server waits for it.

    Raises:
        NotFoundError: no model is named, and there is not exactly one.
    """
    parent = environment.root / "serving"
    known = sorted(each.name for each in parent.iterdir() if each.is_dir()) if parent.is_dir() else []
    if model is None and len(known) == 1:
        return parent / known[0]
    if model is None or not model.isidentifier():
        raise NotFoundError(
            "model to serve", model or "", known, hint="headrace serve MODEL; deployed: headrace model list"
        )
    return parent / model
